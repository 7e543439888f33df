"""Analytic scenes drawn by exact hits: equal to marching in fine steps, and to closed forms."""

import math

import pytest
import torch

from volkit.geometry import Camera, Domain, Rays, Similarity
from volkit.io.fields.analytic_scene import bundled
from volkit.io.opening import open_scene
from volkit.rendering import VolumeRenderer, renderer_for
from volkit.rendering.analytic import AnalyticRenderer
from volkit.representations.analytic import AnalyticConfig, AnalyticField, Finish, Primitive, trace
from volkit.representations.analytic.shapes import SHAPES, hull_span, signed_distance

TURNED = Similarity(((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)), (4.0, 5.0, -3.0), 2.0)
SIZES = {"sphere": (0.4,), "ellipsoid": (0.5, 0.2, 0.3), "box": (0.4, 0.3, 0.2, 0.05), "cylinder": (0.3, 0.4, 0.05),
         "cone": (0.3, 0.4), "torus": (0.35, 0.1), "capsule": (0.15, 0.3)}  # fmt: skip


def scene(*primitives: Primitive, density: float = 400.0, softness: float = 0.01) -> AnalyticField:
    return AnalyticConfig(primitives, density, softness).build(Domain.cube(1.0))


def through(field: AnalyticField, offsets: list[float]) -> Rays:
    """Rays along +Y beside the origin by these offsets in x."""
    x = torch.tensor(offsets)
    return Rays(
        torch.stack([x, torch.full_like(x, -3.0), torch.zeros_like(x)], -1),
        torch.tensor([0.0, 1.0, 0.0]).expand(len(x), 3),
    )


def decibels(a: torch.Tensor, b: torch.Tensor) -> float:
    return -10.0 * math.log10(float((a - b).square().mean()))


@pytest.mark.parametrize("name", ["still_life", "primitives"])
def test_a_bundled_scene_is_as_marched_in_fine_steps(name):
    field = open_scene(bundled(name))
    cameras = field.capture.cameras[[3]].resize(40)
    exact, marched = (
        renderer_for(field, normals=True)(field, cameras),
        VolumeRenderer(0.25, normals=True)(field, cameras),
    )
    assert isinstance(renderer_for(field), AnalyticRenderer)
    # Marching takes the colour of every sample, the exact picture one a stretch: outlines of checks differ, no more.
    assert decibels(exact.rgb, marched.rgb) > 42.0
    assert (exact.opacity - marched.opacity).abs().mean() < 1e-3  # steps of a quarter of the usual
    solid = marched.opacity > 0.99
    assert (exact.depth - marched.depth)[solid].abs().median() < 2e-4  # a tenth of a step
    assert (exact.median - marched.median)[solid].abs().median() < 2e-3  # a marched median is within one step
    assert (exact.normal * marched.normal).sum(-1)[solid].median() > 0.999  # both are of the same surface


def test_placed_scenes_have_depths_of_the_world():
    field = scene(Primitive("sphere", (0.5,))).with_(placement=TURNED)
    eye, target = TURNED.points(torch.tensor([[0.0, -3.0, 0.0], [0.0, 0.0, 0.0]]))
    picture = AnalyticRenderer(normals=True)(field, Camera.look_at(eye, target, fov=10.0, size=(5, 5)))
    # Of a ball at 400 a unit half the light is gone where its depth in matter is ln 2 / 400, behind half a ramp.
    assert float(picture.depth[0, 2, 2]) == pytest.approx(2.0 * 2.5, abs=0.01)
    toward = torch.nn.functional.normalize(eye - target, dim=0)
    assert float(picture.normal[0, 2, 2] @ toward) == pytest.approx(1.0, abs=1e-4)  # float32, head on


def test_rays_that_miss_see_nothing():
    field = scene(Primitive("sphere", (0.3,)), Primitive("torus", (0.3, 0.1)))
    picture = AnalyticRenderer(normals=True).rays(field, through(field, [0.9, 2.0]))
    assert not picture.opacity.any() and not picture.rgb.any() and not picture.normal.any()
    assert bool(picture.median.isinf().all())


def test_haze_is_beers_law():
    """A ball of low density: opacity is `1 - exp(-density chord)`, and what stands in it is seen through it."""
    haze = Primitive("sphere", (0.5,), texture=Finish((0.2, 0.9, 0.2)), density=2.0)
    field = scene(haze, softness=0.002)
    picture = AnalyticRenderer().rays(field, through(field, [0.0, 0.3, 0.45, 0.6]))
    chords = [2.0 * math.sqrt(max(0.25 - x * x, 0.0)) for x in (0.0, 0.3, 0.45, 0.6)]
    expected = torch.tensor([1.0 - math.exp(-2.0 * chord) for chord in chords])
    torch.testing.assert_close(picture.opacity, expected, rtol=0, atol=2e-3)  # a soft surface 0.002 wide, grazed
    inner = scene(haze, Primitive("sphere", (0.1,), texture=Finish((0.9, 0.1, 0.1))), softness=0.002)
    seen, marched = (r.rays(inner, through(inner, [0.0, 0.05])) for r in (AnalyticRenderer(), VolumeRenderer(0.25)))
    torch.testing.assert_close(seen.rgb, marched.rgb, rtol=0, atol=0.02)  # haze is shaded in pieces of four softnesses
    assert (seen.opacity > 0.999).all()


def test_a_ring_is_met_twice():
    """Past the front of a ring of haze lies its back: each has its own place and colour."""
    ring = Primitive(
        "torus", (0.35, 0.1), texture=Finish((0.9, 0.1, 0.1), (0.1, 0.1, 0.9), "gradient", 1.0, (0, 1, 0)), density=3.0
    )
    field = scene(ring, softness=0.004)
    seen, marched = (r.rays(field, through(field, [0.0, 0.1])) for r in (AnalyticRenderer(), VolumeRenderer(0.25)))
    torch.testing.assert_close(seen.opacity, torch.tensor([1.0 - math.exp(-3.0 * 0.4)] * 2), rtol=0, atol=0.02)  # chord
    torch.testing.assert_close(seen.rgb, marched.rgb, rtol=0, atol=0.02)  # haze is shaded in pieces of four softnesses


def test_depth_is_that_of_the_traced_surface():
    field = open_scene(bundled("primitives"))
    cameras = field.capture.cameras[[0]].resize(32)
    picture, hits = AnalyticRenderer()(field, cameras), trace(field, cameras.picture_rays(0))
    solid = (picture.opacity.flatten() > 0.999) & hits.hit
    assert solid.sum() > 100
    behind = picture.median.flatten()[solid] - hits.distance[solid]
    assert behind.abs().median() < 0.5 * field.config.softness  # half of the light goes within the soft surface


def test_colours_are_asked_once_a_pixel(monkeypatch):
    field = open_scene(bundled("still_life"))
    asked = []
    colours = AnalyticField.surface_colours
    counted = lambda self, at, *rest: asked.append(len(at)) or colours(self, at, *rest)  # noqa: E731
    monkeypatch.setattr(AnalyticField, "surface_colours", counted)
    picture = renderer_for(field)(field, field.capture.cameras[[0]].resize(64))
    assert sum(asked) < 1.6 * int((picture.opacity > 0.01).sum())  # outlines see two surfaces; marching asks 7.5


def test_cameras_that_learn_are_marched():
    field = scene(Primitive("sphere", (0.5,)), density=20.0)
    eye = torch.tensor([0.0, -3.0, 0.2], requires_grad=True)
    picture = renderer_for(field, step_scale=4.0)(field, Camera.look_at(eye, fov=30.0, size=(6, 6)))
    picture.depth.mean().backward()
    assert eye.grad is not None and eye.grad.abs().sum() > 0


@pytest.mark.parametrize("shape", SHAPES)
def test_a_hull_holds_all_that_is_near(shape):
    generator = torch.Generator().manual_seed(0)
    origins, towards = torch.randn(2, 3, 400, generator=generator)
    directions = torch.nn.functional.normalize(0.3 * towards - origins, dim=0)
    enter, leave = hull_span(shape, SIZES[shape], 0.02, origins, directions)
    t = torch.linspace(0.0, 4.0, 801)[:, None]
    x, y, z = origins[:, None] + t * directions[:, None]
    near = signed_distance(shape, SIZES[shape], (x, y, z)) <= 0.02
    assert near.any()
    outside = near & ((t < enter - 1e-4) | (t > leave + 1e-4))  # float32 of a few units
    assert not outside.any()
    assert (enter > leave)[~near.any(0)].any()  # and not all of space
