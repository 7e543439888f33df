"""What captions mean: where solids stand, and that exact pictures of them are those of volkit's own renderer."""

import math
import random

import pytest
import torch
from toy.grammar import draw, parse, plain_captions
from toy.rendering import render
from toy.scenes import REACH, exact_scene
from toy.solids import MEETINGS
from toy.views import cameras_at, even_views, web_views

from volkit.geometry import Domain
from volkit.rendering.renderer import renderer_for
from volkit.representations.analytic.shapes import signed_distance

SIZES = {
    "sphere": (0.4,),
    "box": (0.4, 0.3, 0.2, 0.0),
    "cylinder": (0.3, 0.4, 0.0),
    "cone": (0.35, 0.4),
    "torus": (0.4, 0.15),
    "capsule": (0.2, 0.3),
}
VARIED = (
    "a large red torus",
    "a shiny blue cone",
    "a small green capsule on a large pink cube",
    "a striped cyan cylinder beside an orange sphere",
    "a yellow cube with a blue nose",
)


def field_of(text):
    return exact_scene(parse(text)).build(Domain.cube(1.0))


def where(text):
    return [solid.placed.translation for solid in exact_scene(parse(text)).primitives]


def test_relations_are_places():
    above, below = where("a blue cube on a green cylinder")
    assert above[2] > 0 > below[2] and above[:2] == below[:2] == (0.0, 0.0)
    left, right = where("a blue cube beside a green cylinder")
    assert left[0] < 0 < right[0]
    body, nose = where("a blue cube with a green nose")
    assert body == (0.0, 0.0, 0.0) and nose[1] < -0.4 and nose[0] == nose[2] == 0.0
    small, medium, large = (exact_scene(parse(f"a {s}red sphere")).primitives[0].size for s in ("small ", "", "large "))
    assert small < medium < large


def some_captions():
    chance = random.Random(3)
    return [*plain_captions()[::7], *(draw(chance, ())[0] for _ in range(300))]


def test_every_scene_is_in_its_cube():
    """No surface beyond half an edge of 1: signed distances are positive on the cube's faces."""
    edge = torch.linspace(-1.0, 1.0, 33)
    u, v = (plane.flatten() for plane in torch.meshgrid(edge, edge, indexing="ij"))
    faces = [torch.stack([u, v, torch.full_like(u, s)], -1).roll(axis, 1) for s in (-1.0, 1.0) for axis in range(3)]
    at = torch.cat(faces)
    for caption in some_captions():
        for solid in exact_scene(caption).primitives:
            local = (at - torch.tensor(solid.placed.translation)).unbind(-1)
            assert signed_distance(solid.shape, solid.size, local).min() > 0.9 * (1.0 - REACH) - 1e-6, str(caption)


def test_two_solids_touch():
    """On the way from one middle to the other there is no gap wider than a pixel of 32 is (2.7 / 32)."""
    share = torch.linspace(0.0, 1.0, 400)[:, None]
    for caption in some_captions():
        solids = exact_scene(caption).primitives
        if len(solids) < 2 or caption.relation == "beside" or "torus" in str(caption):
            continue  # neighbours of unlike height touch off that way, and a torus has no middle
        a, b = (torch.tensor(s.placed.translation) for s in solids)
        way = a + share * (b - a)
        gap = torch.stack(
            [signed_distance(s.shape, s.size, (way - p).unbind(-1)) for s, p in zip(solids, (a, b), strict=True)]
        )
        assert gap.amin(0).max() < 0.5 * 2.7 / 32, str(caption)


@pytest.mark.parametrize("shape", MEETINGS)
def test_rays_meet_solids_where_their_distance_is_zero(shape):
    generator = torch.Generator().manual_seed(2)
    outward = torch.nn.functional.normalize(torch.randn(20_000, 3, generator=generator), dim=-1)
    target = 0.4 * (2.0 * torch.rand(20_000, 3, generator=generator) - 1.0)
    d = torch.nn.functional.normalize(target - 1.5 * outward, dim=-1)
    o = 1.5 * outward
    size = tuple(torch.full((len(o),), edge) for edge in SIZES[shape])
    way, normal = MEETINGS[shape](o.t().contiguous().unbind(0), d.t().contiguous().unbind(0), size)
    hit = torch.isfinite(way)
    assert 0.2 < hit.float().mean() < 0.95
    distance = lambda at: signed_distance(shape, SIZES[shape], at.unbind(-1))  # noqa: E731
    at = (o + way[:, None] * d)[hit].requires_grad_()
    there = distance(at)
    assert there.abs().max() < 1.1e-3  # a torus counts as met from a thousandth on; the others are met to rounding
    (gradient,) = torch.autograd.grad(there.sum(), at)
    smooth = (gradient.norm(dim=-1) - 1.0).abs() < 1e-3
    agree = (gradient * torch.stack(normal, -1)[hit]).sum(-1)[smooth]
    assert (agree > 0.99).float().mean() > 0.995  # but at edges, where a distance has two normals
    # Nothing is met later than it could be, or missed: no ray was inside a solid before, by more than rounding.
    share = torch.linspace(0.0, 1.0, 200)[:, None]
    until = torch.where(hit, way, torch.full_like(way, 3.0))
    inside = torch.stack([distance(o + s * until[:, None] * d) for s in share]).amin(0)
    assert inside.min() > -2e-3


@pytest.mark.parametrize("text", VARIED)
def test_pictures_are_those_of_the_renderer(text):
    """The field's surface is a hundredth wide, a ninth of a pixel, and is asked once in the middle of a pixel."""
    field, cameras = field_of(text), even_views(2, 32)
    theirs = renderer_for(field)(field, cameras)
    ours = render([exact_scene(parse(text))] * 2, cameras, 1)
    # Once here too, so that both see the same: silhouettes differ where a ray comes within a hundredth of one, ...
    assert (theirs.opacity - ours.opacity).abs().mean() < 0.01
    both = (ours.opacity == 1.0) & (theirs.opacity > 0.99)
    # ... and colours where it is that near to an edge of two faces or stripes; the median pixel to one grey level.
    assert (theirs.rgb - ours.rgb).abs()[both].mean() < 0.01
    assert (theirs.rgb - ours.rgb).abs()[both].median() < 1 / 255


def test_opacity_is_area():
    """A ball of radius r from the distance D covers a disc of radius `f r / sqrt(D² - r²)` pixels."""
    cameras = cameras_at(torch.tensor([30.0]), torch.tensor([20.0]), torch.tensor([3.7]), 64)
    scene = exact_scene(parse("a red sphere"))
    (radius,) = scene.primitives[0].size
    seen = float(cameras.intrinsics[0, 0]) * radius / math.sqrt(3.7**2 - radius**2)
    # 0.2 %: 8 x 8 rays a pixel resolve an edge of 100 pixels to a hundredth of a pixel each, at random
    assert float(render([scene], cameras, 8).opacity.sum()) == pytest.approx(math.pi * seen**2, rel=2e-3)


def test_pictures_do_not_depend_on_their_company():
    scenes = [exact_scene(parse(text)) for text in VARIED]
    cameras = web_views(len(scenes), 32, torch.Generator().manual_seed(1))
    together = render(scenes, cameras)
    for i, scene in enumerate(scenes):
        alone = render([scene], cameras[slice(i, i + 1)])
        torch.testing.assert_close(alone.rgb[0], together.rgb[i], rtol=0, atol=1e-6)  # rounding of other block sizes
    ground = torch.rand(len(scenes), 3, generator=torch.Generator().manual_seed(2))
    corner = together.over(ground)[:, 0, 0]
    torch.testing.assert_close(corner, ground)


def test_views_are_those_of_the_web():
    cameras = web_views(4000, 32, torch.Generator().manual_seed(0))
    x, y, _ = cameras.centres.unbind(-1)
    front = torch.atan2(x, -y).rad2deg().abs() < 45.0
    assert 0.75 < front.float().mean() < 0.80  # 70 % on purpose and a quarter of the rest; three deviations are 2 %
    assert bool((cameras.forward * cameras.centres < 0).any(-1).all())
