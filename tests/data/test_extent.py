"""Domain, near, up and unit, found or given."""

import math

import pytest
import torch
from scenery import CENTRE, ball, nerfstudio, ring

from volkit.data import load_photographs
from volkit.data.extent import parse_domain, visual_hull_box
from volkit.data.world import parse_up, rotation_to_z
from volkit.geometry import Cameras, Domain
from volkit.io import FormatError

UP = torch.tensor([0.0, 0.0, 1.0])


def test_focus_of_axes_that_meet():
    focus, share = ring(9).focus()
    assert torch.allclose(focus, CENTRE, atol=1e-5)  # float32 poses
    assert share == pytest.approx(2 / 3, abs=0.2)  # axes from all around


def test_focus_of_parallel_axes_is_not_determined():
    centres = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    _, share = Cameras.looking_at(centres, centres + torch.tensor([0.0, 1.0, 0.0]), UP, 50.0, (9, 9)).focus()
    assert share < 1e-6  # exactly 0 but for rounding


def test_hull_of_nothing_is_none():
    cameras = ring(6)
    images = [torch.zeros(40, 48, 4, dtype=torch.uint8)] * 6
    assert visual_hull_box(cameras, images, Domain.cube(2.0)) is None


def test_hull_does_not_lose_thin_things():
    """One opaque pixel in every picture keeps its cell."""
    cameras = ring(10)
    images = []
    for i in range(10):
        image = torch.zeros(40, 48, 4, dtype=torch.uint8)
        x, y = cameras.project(i, torch.tensor([[0.4, 0.1, 0.2]]))[0][0].long().tolist()
        image[y, x] = 255
        images.append(image)
    box = visual_hull_box(cameras, images, Domain.cube(2.0))
    assert box is not None and bool(box.contains(torch.tensor([[0.4, 0.1, 0.2]])))
    assert max(box.extent) < 0.5  # a pixel is 0.06 wide there, a first cell 0.06, both passes grow by one


def test_opaque_captures_are_contracted_around_the_focus(tmp_path):
    nerfstudio(tmp_path, ring(9), alpha=False)
    seen = load_photographs(tmp_path)
    assert seen.domain.contracted
    assert torch.allclose(torch.tensor(seen.domain.centre), CENTRE, atol=1e-4)  # float32 poses
    assert max(seen.domain.extent) < 2 * 3.0 + 1e-3 and seen.near == pytest.approx(0.3, rel=1e-3)


def test_one_camera_is_enough(tmp_path):
    nerfstudio(tmp_path, ring(1), alpha=False)
    seen = load_photographs(tmp_path)
    assert len(seen) == 1 and all(math.isfinite(v) for v in (*seen.domain.lower, *seen.domain.upper, seen.near))


def test_domain_up_and_unit_overrule(tmp_path):
    nerfstudio(tmp_path, ring(6))
    plain = load_photographs(tmp_path)
    seen = load_photographs(tmp_path, up="-y", unit_scale=2.5, domain="-1,-2,-3,1,2,3:contracted")
    assert seen.domain == Domain((-1.0, -2.0, -3.0), (1.0, 2.0, 3.0), True)
    wanted = seen.world_from_file.points(plain.cameras.centres)
    assert torch.allclose(seen.cameras.centres, wanted, atol=1e-5)  # float32
    assert seen.world_from_file.scale == 2.5
    assert torch.allclose(seen.world_from_file.vectors(torch.tensor([0.0, -1.0, 0.0])), UP, atol=1e-6)
    # The picture stays the same: world points project to the same pixels.
    before, _ = plain.cameras.project(2, CENTRE[None])
    after, _ = seen.cameras.project(2, seen.world_from_file.points(CENTRE[None]))
    assert torch.allclose(before, after, atol=1e-3)  # pixels, float32


def test_scenes_far_from_the_origin_are_moved_there(tmp_path):
    cameras = ring(6)
    document = nerfstudio(tmp_path, cameras)
    for frame in document["frames"]:
        for axis, shift in enumerate((4.5e5, 5.6e6, 120.0)):
            frame["transform_matrix"][axis][3] += shift
    from scenery import rewrite

    rewrite(tmp_path, document)
    seen = load_photographs(tmp_path)
    assert seen.cameras.centres.norm(dim=-1).max() < 4.0
    back = seen.world_from_file.inverse().points(seen.cameras.centres.double())
    assert torch.allclose(back[:, 1] - 5.6e6, cameras.centres[:, 1].double(), atol=1e-5)  # float32 near the origin


@pytest.mark.parametrize("text", ["1,2,3", "a,b,c,d,e,f", "0,0,0,1,1,1:open", "1,1,1,0,0,0", ""])
def test_domains_that_are_none(text):
    with pytest.raises(ValueError, match="domain"):
        parse_domain(text)


@pytest.mark.parametrize("text", ["w", "", "1,2", "0,0,0", "nan,0,1"])
def test_ups_that_are_none(text):
    with pytest.raises(ValueError, match="up"):
        parse_up(text)


@pytest.mark.parametrize("text", ["x", "-x", "y", "-y", "z", "-z", "0.3,-0.4,0.2", "0,1e-7,-1"])
def test_up_turns_to_z(text):
    up = parse_up(text)
    rotation = rotation_to_z(up)
    assert torch.allclose(rotation @ up, UP.double(), atol=1e-6)  # 1e-7 off the axis counts as on it
    assert torch.allclose(rotation @ rotation.T, torch.eye(3, dtype=torch.float64), atol=1e-6)  # same
    assert torch.linalg.det(rotation) > 0


def test_bad_unit(tmp_path):
    nerfstudio(tmp_path, ring(3))
    with pytest.raises(ValueError, match="unit scale"):
        load_photographs(tmp_path, unit_scale=-1.0)


def test_missing_mask_is_named(tmp_path):
    from scenery import rewrite

    document = nerfstudio(tmp_path, ring(3))
    document["frames"][0]["mask_path"] = "nowhere.png"
    rewrite(tmp_path, document)
    with pytest.raises(FormatError, match=r"nowhere\.png"):
        load_photographs(tmp_path)
    assert ball(ring(3), 0).shape == (40, 48, 4)
