"""Cameras that show the whole of an object from its front, whatever it is made of and however its file turns it."""

import pytest
import torch
from engines.assets import ball
from engines.cloud import cloud

from volkit.geometry import Camera, Similarity
from volkit.geometry.frames import ZUP_FROM
from volkit.io.fields.analytic_scene import bundled
from volkit.io.opening import open_scene
from volkit.rendering.orbits import FRAMED_SHARE, Viewpoint, cameras_around, orbit_path
from volkit.rendering.renderer import renderer_for
from volkit.rendering.viewpoints import visible_box, visible_corners
from volkit.representations import Mesh, Placement


def rod(frame: str = "zup") -> Mesh:
    """A thin wedge, ten times as high as wide, in a frame of its own."""
    upright = torch.tensor([[0.0, 0.0, 0.0], [0.4, 0.0, 0.0], [0.2, 0.3, 0.0], [0.2, 0.1, 4.0]])
    faces = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    mesh = Mesh.of(ZUP_FROM[frame].inverse().points(upright), faces)
    return mesh.with_(placement=Placement(frame=frame))


def test_a_camera_looks_where_it_is_told():
    camera = Camera.look_at(eye=(2, 0, 1), target=(0, 0, 0), fov=40, size=(256, 128))
    pixels, _ = camera.project(0, torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.1]]))
    torch.testing.assert_close(pixels[0], torch.tensor([128.0, 64.0]), rtol=0, atol=1e-3)  # float32 of 256 pixels
    assert pixels[1, 1] < 64.0 and abs(float(pixels[1, 0]) - 128.0) < 1e-3  # what is above is above: float32
    edge = camera.rays(torch.tensor([0]), torch.tensor([[128.0, 0.0]])).directions[0]
    angle = torch.rad2deg(torch.acos(edge @ camera.forward[0]))
    assert float(angle) == pytest.approx(20.0, abs=1e-3)  # half of fov, upright; acos of float32


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"fov": 0.0}, "between 0 and 180"),
        ({"target": (2, 0, 1)}, "the same point"),
        ({"size": (0, 4)}, "at least one"),
    ],
)
def test_a_camera_that_cannot_be_is_refused(changed, said):
    with pytest.raises(ValueError, match=said):
        Camera.look_at(**({"eye": (2, 0, 1)} | changed))


def test_a_camera_is_differentiable_in_its_eye():
    eye = torch.tensor([2.0, 0.3, 1.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda e: Camera.look_at(e).world_from_camera, (eye,))


@pytest.mark.parametrize("frame", ["zup", "yup", "ydown"])
@pytest.mark.parametrize("size", [(64, 64), (160, 40), (30, 120)])
def test_the_whole_object_is_in_every_picture(frame, size):
    cameras = cameras_around(rod(frame), (0, 90, 180, 270), Viewpoint(elevation=35.0), size)
    corners = visible_corners(rod(frame))
    most = 0.0
    for index in range(4):
        pixels, depth = cameras.project(index, corners)
        assert (depth > 0).all()
        aside = (2.0 * pixels / torch.tensor(size) - 1.0).abs()
        most = max(most, float(aside.max()))
    assert most == pytest.approx(FRAMED_SHARE, abs=1e-3)  # the widest view just fits: float32


@pytest.mark.parametrize("frame", ["zup", "yup", "ydown"])
def test_the_first_camera_stands_before_the_front_and_90_at_plus_x(frame):
    first, second = ZUP_FROM[frame].points(cameras_around(rod(frame), (0, 90), Viewpoint(), (64, 64)).centres)
    middle = ZUP_FROM[frame].points(visible_corners(rod(frame))).mean(0)
    assert (first - middle)[1] < -3.0 and abs(float((first - middle)[0])) < 1e-4  # float32
    assert (second - middle)[0] > 3.0 and abs(float((second - middle)[1])) < 1e-4  # float32


def test_a_distance_counts_object_sizes():
    centres = cameras_around(rod(), (0,), Viewpoint(distance=2.0), (8, 8)).centres
    assert float((centres[0] - visible_corners(rod()).mean(0)).norm()) == pytest.approx(
        8.0, rel=1e-3
    )  # a mesh's box is 1e-4 wider on each side


def test_strays_do_not_make_an_object_small():
    splats = cloud(2000)
    before = visible_box(splats)
    with torch.no_grad():
        splats.means[0] = 1000.0
    after = visible_box(splats)
    assert torch.allclose(torch.tensor(before.extent), torch.tensor(after.extent), rtol=0.1)  # 1 of 2000 moved


@pytest.mark.parametrize("name", ["field", "splats", "mesh"])
def test_nothing_reaches_the_edge_of_the_picture(name, tmp_path):
    scene = {"field": lambda: open_scene(bundled("lantern")), "splats": lambda: cloud(400), "mesh": lambda: ball(2)}
    place = Similarity(((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)), (4.0, 5.0, -3.0), 0.002)
    scene = scene[name]().with_(capture=None, placement=place)
    picture = renderer_for(scene)(scene, orbit_path(scene, 2, 32))
    inner = picture.opacity[:, 4:-4, 4:-4].sum()
    assert inner > 20.0 and picture.opacity.sum() - inner < 0.1 * inner  # a cloud of splats has a soft rim
