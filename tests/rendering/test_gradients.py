"""`render` is differentiable for every kind: its gradients against finite differences, in float64."""

from dataclasses import replace

import pytest
import torch
from engines.cloud import cloud
from torch import nn

from volkit.geometry import OPENCV, Camera, Cameras, Domain, Points, Similarity
from volkit.rendering import render
from volkit.rendering import volume as volume_module
from volkit.rendering.surface import MeshRenderer
from volkit.rendering.volume import VolumeRenderer
from volkit.representations import Field, FieldSample, HashGridConfig, Mesh

PLACE = Similarity(((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)), (4.0, 5.0, -3.0), 2.0)


class Lump(Field):
    """A user's own field: a lump whose density and colour are small networks."""

    def __init__(self) -> None:
        super().__init__(Domain.cube(1.0))
        torch.manual_seed(1)
        self.net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 4))

    def density(self, positions):
        return 4.0 * self.net(positions)[:, 0].exp() * torch.exp(-9.0 * positions.square().sum(-1))

    def query(self, points: Points) -> FieldSample:
        found = self.net(points.positions)
        glow = found[:, 1:].sigmoid() * (1.0 + 0.3 * points.directions)
        return FieldSample(self.density(points.positions), {"rgb": glow, "label": found[:, :1]})

    def param_groups(self):
        return []


class Closed(Lump):
    """Its answers depend on a tensor that is no parameter of its own."""

    def __init__(self, gain: torch.Tensor) -> None:
        super().__init__()
        self.gain = [gain]
        self.requires_grad_(False)

    def density(self, positions):
        return self.gain[0] * super().density(positions)


def camera(dtype=torch.float64, size: tuple[int, int] = (9, 7)) -> Cameras:
    eye = PLACE.points(torch.tensor([[1.1, -2.6, 0.9]], dtype=dtype))[0]
    return Camera.look_at(eye, PLACE.points(torch.zeros(1, 3, dtype=dtype))[0], fov=35.0, size=size)


def moved(cameras: Cameras, change: torch.Tensor) -> Cameras:
    """Turned by small angles and shifted, differentiable in the six numbers."""
    x, y, z = change[:3].unbind()
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).view(3, 3)
    pose = cameras.world_from_camera
    rotation = pose[:, :, :3] @ torch.linalg.matrix_exp(skew)
    return replace(cameras, world_from_camera=torch.cat([rotation, pose[:, :, 3:] + change[3:, None]], -1))


def total(picture) -> torch.Tensor:
    """One number of colour, opacity and depth that no symmetry makes zero."""
    height, width = picture.opacity.shape[1:]
    rows = torch.linspace(0.5, 1.5, height, dtype=torch.float64)[:, None]
    weight = rows * torch.linspace(1.2, 0.3, width, dtype=torch.float64)
    colour = (picture.rgb * picture.rgb.new_tensor([1.0, 0.7, 0.4])).sum(-1)
    return (weight * (colour + 0.5 * picture.opacity + 0.1 * picture.opacity * picture.depth)).sum()


def slope(function, value: torch.Tensor, direction: torch.Tensor, step: float) -> float:
    """The central difference of a function along a direction."""
    with torch.no_grad():
        return float((function(value + step * direction) - function(value - step * direction)) / (2.0 * step))


def field() -> Lump:
    return Lump().double().with_(placement=PLACE)


def splats(surfels: bool = False):
    scene = cloud(60, degree=1, surfels=surfels).double()
    scene.log_scales.data.add_(0.7)
    return scene.with_(placement=PLACE)


def mesh(*, glass: bool = True) -> Mesh:
    """A low pyramid, its texture a slope of colours, seen from above one side, and its inner side through that."""
    vertices = torch.tensor([[-0.8, -0.7, 0.0], [0.9, -0.6, 0.1], [0.7, 0.8, 0.0], [-0.6, 0.7, 0.2], [0.1, 0.0, 0.6]])
    faces = torch.tensor([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]])
    uv = 0.5 + 0.4 * vertices[faces][..., :2]  # without seams, whose jump of colour has no gradient
    texture = torch.rand(6, 5, 4, generator=torch.Generator().manual_seed(1))
    texture[..., 3] = 0.5 + 0.5 * texture[..., 3] if glass else 1.0
    scene = Mesh.of(vertices, faces, corner_uv=uv, texture=texture)
    return scene.double().with_(placement=PLACE)


SCENES = {"field": field, "splats": splats, "surfels": lambda: splats(True),
          "mesh": lambda: mesh(glass=False)}  # fmt: skip


@pytest.mark.parametrize("kind", ["field", "splats", "surfels"])
def test_parameters_have_the_gradients_of_finite_differences(kind):
    scene = SCENES[kind]()
    total(render(scene, camera(), step_scale=4.0)).backward()
    generator = torch.Generator().manual_seed(3)
    for name, parameter in scene.named_parameters():
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        assert parameter.grad is not None, name

        def drawn(value, parameter=parameter):
            before = parameter.data.clone()
            parameter.data.copy_(value)
            found = total(render(scene, camera(), step_scale=4.0))
            parameter.data.copy_(before)
            return found

        theirs = slope(drawn, parameter.data, direction, 1e-6)
        # A splat's alpha is cut at 1/255 and a field's ray at 1e-4 of its light, which steps over: 0.2 %
        assert float((parameter.grad * direction).sum()) == pytest.approx(theirs, rel=2e-3, abs=1e-4), name


@pytest.mark.parametrize("name", ["vertices", "image_0", "corner_uv"])
def test_meshes_have_the_gradients_of_finite_differences(name):
    scene, seen = mesh(glass=name != "vertices"), camera(size=(40, 32))  # outlines behind glass have no gradient
    learning = getattr(scene, name).clone().requires_grad_()
    setattr(scene, name, learning)
    total(render(scene, seen)).backward()
    direction = torch.randn(learning.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def drawn(value):
        setattr(scene, name, value)
        with torch.enable_grad():  # the same road, which its own leaf asks for
            setattr(scene, name, value.clone().requires_grad_())
            return total(render(scene, seen)).detach()

    step, allowed = (2e-3, 0.05) if name == "vertices" else (1e-6, 1e-5)  # outlines are met at single pixels: 5 %
    theirs = slope(drawn, learning.detach(), direction, step)
    assert float((learning.grad * direction).sum()) == pytest.approx(theirs, rel=allowed)


@pytest.mark.parametrize("kind", SCENES)
def test_poses_have_the_gradients_of_finite_differences(kind):
    scene, seen = SCENES[kind](), camera(size=(9, 7) if kind == "field" else (24, 20))
    change = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(total(render(scene, moved(seen, change))), change)

    def drawn(value):
        with torch.enable_grad():  # a mesh is rasterised only where a gradient is asked for
            return total(render(scene, moved(seen, value.clone().requires_grad_()))).detach()

    step, allowed = {"mesh": (2e-3, 0.05), "field": (1e-5, 5e-3)}.get(kind, (1e-7, 1e-5))
    for axis in range(6):
        direction = torch.eye(6, dtype=torch.float64)[axis]
        theirs = slope(drawn, torch.zeros(6, dtype=torch.float64), direction, step)
        # Outlines of meshes are met at single pixels: 5 %. Samples of fields stay where they are: half a percent.
        # Splats come and go at 1/255, which a step of 1e-7 does not meet.
        assert float(found[axis]) == pytest.approx(theirs, rel=allowed, abs=allowed * float(found.abs().max())), axis


def test_a_tensor_behind_the_answers_gets_its_gradient():
    gain = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    scene = Closed(gain).double()
    seen = Camera.look_at(torch.tensor((1.1, -2.6, 0.9), dtype=torch.float64), fov=35.0, size=(9, 7))
    (found,) = torch.autograd.grad(total(render(scene, seen)), gain)

    def drawn(value):
        return total(render(Closed(value).double(), seen))

    assert float(found) == pytest.approx(slope(drawn, gain.detach(), torch.tensor(1.0), 1e-5), rel=1e-3)  # rays are cut


def test_pictures_are_the_same_with_and_without_gradients():
    scene, seen = field(), camera()
    with torch.no_grad():
        plain = VolumeRenderer(normals=True)(scene, seen)
    graph = VolumeRenderer(normals=True, graph_chunk=10)(scene, seen)
    assert graph.rgb.requires_grad and not plain.rgb.requires_grad
    for name in ("rgb", "opacity", "depth", "median", "normal"):
        torch.testing.assert_close(getattr(graph, name).detach(), getattr(plain, name), rtol=1e-9, atol=1e-9)
    assert not scene.requires_grad_(False).density(torch.zeros(1, 3).double()).requires_grad
    assert not render(scene, seen).rgb.requires_grad  # nothing asks for a gradient


def test_a_rasterised_mesh_is_the_traced_one():
    seen = camera(torch.float32, (48, 40))
    inside = MeshRenderer()(mesh(glass=False).float(), seen).opacity > 0.999
    scene = mesh().float()
    traced = MeshRenderer()(scene, seen)
    scene.vertices.requires_grad_()
    raster = MeshRenderer()(scene, seen)
    assert raster.rgb.requires_grad and not traced.rgb.requires_grad
    difference = (raster.rgb - traced.rgb).abs().amax(-1)
    assert difference.max() < 1 / 9  # outlines are blended by parts of a ninth of a pixel
    assert difference[inside].quantile(0.95) < 1e-4  # float32; a few samples fall on the other side of an edge
    assert (raster.depth - traced.depth)[inside].abs().median() < 1e-4  # float32 depths of 6 units
    assert (raster.normal - traced.normal)[inside].abs().median() < 1e-4  # float32


def test_a_lens_has_gradients_too():
    seen = replace(camera(), lens=OPENCV, coefficients=torch.tensor([[-0.1, 0.02, 0, 0, 0, 0, 0, 0]]).double())
    for kind in ("field", "splats"):
        scene = SCENES[kind]()
        render(scene, seen).rgb.sum().backward()
        assert any(float(p.grad.abs().sum()) > 0 for p in scene.parameters())


def test_memory_is_that_of_one_piece(monkeypatch):
    """No more than one piece's rays are asked with a graph at once, and all of them are asked again on the way back."""
    asked = []
    integrate = volume_module.integrate

    def counted(field, rays, samples, **options):
        asked.append(len(rays))
        return integrate(field, rays, samples, **options)

    monkeypatch.setattr(volume_module, "integrate", counted)
    picture = VolumeRenderer(graph_chunk=16)(field(), camera())
    assert asked == [16, 16, 16, 15]
    picture.rgb.sum().backward()
    assert sorted(asked) == sorted([16, 16, 16, 15] * 2)


def test_a_hash_grid_learns_through_render():
    grid = HashGridConfig(levels=4, log2_table=10).build(Domain.cube(1.0), torch.Generator().manual_seed(0))
    seen = Camera.look_at((0, -3, 1), size=(24, 24))
    optimiser = torch.optim.Adam(grid.parameters(), 1e-2)
    losses = []
    for _ in range(8):
        loss = (render(grid, seen, step_scale=8.0).over(torch.ones(3)) - torch.tensor([0.9, 0.2, 0.1])).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]  # a fifth of the error in eight steps


def test_channels_are_chosen_by_name():
    picture = render(field(), camera(), channels=["label"])
    assert list(picture.channels) == ["label"] and picture.channels["label"].shape == (1, 7, 9, 1)
    with pytest.raises(ValueError, match="no channel 'albedo': it has rgb, label"):
        render(field(), camera(), channels=["albedo"])


def test_small_scenes_are_drawn():
    """A scene of 4 mm is drawn as one of 4 m: what is near is measured by the scene."""
    large = cloud(300)
    small = cloud(300)
    with torch.no_grad():
        small.means.mul_(1e-3)
        small.log_scales.sub_(6.907755)
    small = small.with_(domain=Domain.cube(1e-3))
    near, far = (
        render(s, Camera.look_at((0, -k * 3.0, 0), size=(32, 32))).opacity for s, k in ((small, 1e-3), (large, 1))
    )
    torch.testing.assert_close(near, far, rtol=0, atol=1e-2)  # float32: 1e-3 is no power of two
    assert far.max() > 0.9
