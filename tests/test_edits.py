"""Edits on the way: what is cut is empty, what is moved is moved, and a student of it all is really so."""

import pytest
import torch

from volkit.commands.convert import ConvertJob
from volkit.commands.edits import apply_edits
from volkit.geometry import Cameras, Domain
from volkit.io import load, save
from volkit.progress import Progress
from volkit.representations import Capture, VoxelsConfig
from volkit.representations.occupancy_bits import occupied_at
from volkit.representations.voxels import Voxels

SMALL = VoxelsConfig(resolution=24, start=24, doublings=())


def solid(centre: float = 0.0) -> Voxels:
    """A cube of even fog with a capture, placed along x."""
    domain = Domain((centre - 1.0, -1.0, -1.0), (centre + 1.0, 1.0, 1.0))
    field = SMALL.build(domain, torch.Generator().manual_seed(0))
    with torch.no_grad():
        field.density_data.fill_(20.0)
        field.sh_data.zero_()
    eyes = torch.tensor([[centre, -4.0, 0.5], [centre, 4.0, 0.5], [centre, 0.5, 4.0], [centre - 4.0, 0.0, 0.5]])
    target = torch.tensor([centre, 0.0, 0.0])
    cameras = Cameras.looking_at(eyes, target, torch.tensor([0.0, 0.0, 1.0]), 40.0, (24, 24))
    field = field.view(capture=Capture(cameras, tuple(f"view{i}" for i in range(4))))
    return field


def density(field, *positions) -> list[float]:
    world = torch.tensor(positions)
    local = field.world_from_local.inverse()
    return (field.density(local.points(world)) * local.scale).tolist()


def test_crops_and_erasures_leave_nothing():
    field = apply_edits(solid(), ("crop:box:-1,-1,-1,0.5,1,1", "erase:sphere:-0.5,0,0,0.2"))
    kept, cropped, erased = density(field, (0.2, 0.0, 0.0), (0.7, 0.0, 0.0), (-0.5, 0.0, 0.0))
    assert kept > 10 and cropped == 0 and erased == 0


def test_edits_act_in_their_order():
    field = apply_edits(solid(), ("scale:2", "crop:box:-2,-2,-2,0,2,2", "translate:10,0,0", "rotate:z:90"))
    # after scaling the solid reaches 2; its half x < 0 is kept, then moved to x in [8, 10], then turned onto y
    kept, cropped = density(field, (0.0, 9.0, 0.0), (0.0, 10.5, 0.0))
    assert kept == pytest.approx(20.0 / 2.0, rel=1e-4)  # density is per world unit: half as dense at twice the size
    assert cropped == 0
    assert field.capture.cameras.centres[0].tolist() == pytest.approx([8.0, 10.0, 1.0], abs=1e-4)  # float32


@pytest.mark.parametrize("text", ["melt", "crop:cone:1", "scale:x", "rotate:w:3", "erase:box:1,2,3", "scale:nan"])
def test_edits_that_cannot_be_read_say_what_can(text):
    with pytest.raises(ValueError, match="forms: crop:box"):
        apply_edits(solid(), (text,))


def test_a_student_is_empty_where_its_teacher_was_erased(tmp_path):
    source, target = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save(solid(), source)
    ConvertJob(
        (source, target), to="voxels", budget="5", edit=("erase:box:-1.1,-1.1,-1.1,0,1.1,1.1",), config=SMALL
    ).run(Progress())
    student = load(target)
    unit = torch.tensor([[0.2, 0.5, 0.5], [0.8, 0.5, 0.5]])
    assert occupied_at(student.occupancy, unit).tolist() == [False, True]


def test_several_sources_become_one(tmp_path):
    parts = [tmp_path / "left.safetensors", tmp_path / "right.safetensors"]
    for path, centre in zip(parts, (-1.5, 1.5), strict=True):
        save(solid(centre), path)
    target = tmp_path / "both.safetensors"
    ConvertJob((*parts, target), to="voxels", budget="5", compose=True, config=SMALL).run(Progress())
    left, middle, right = density(load(target), (-1.5, 0.0, 0.0), (0.0, 0.0, 0.0), (1.5, 0.0, 0.0))
    assert left > 5 and right > 5 and middle < 1
