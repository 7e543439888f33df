"""What any emission-absorption renderer must obey, checked on whole renderings rather than on kernels."""

import math
from dataclasses import dataclass

import pytest
import torch

from volkit.geometry import Cameras, Domain, Points, Rays, RaySamples, Similarity, morton_cells
from volkit.ops.march import Stride
from volkit.rendering import VolumeRenderer, integrate, render_rays, renderer_for
from volkit.representations import Composed, Field, FieldSample, Placed
from volkit.sampling import (
    ImportanceSampler,
    OccupancyGrid,
    OccupancySampler,
    UniformSampler,
    copy_occupancy,
    fill_occupancy,
    stride_for,
    visible_cells,
)
from volkit.sampling.occupancy_grid import unpack_bits


@dataclass(frozen=True)
class Shape:
    """Density `strength * falloff(x)` of a slab, a ball, a part of the box or a smooth lump; colour (0.2, 0.5, 0.8)."""

    name: str
    strength: float

    def density(self, positions):
        if self.name == "slab":
            return self.strength * torch.ones_like(positions[:, 0])
        if self.name == "ball":
            return self.strength * (positions.norm(dim=-1) < 0.5)
        if self.name == "half":
            return self.strength * (positions[:, 0] > 0.5)
        return self.strength * torch.exp(-4.0 * positions.square().sum(-1))


class Formula(Field):
    """A field that is a formula, inside a box."""

    def __init__(self, shape: Shape, domain: Domain) -> None:
        super().__init__(domain)
        self.config, self.shape = None, shape

    def density(self, positions):
        return self.shape.density(positions) * self.domain.contains(positions)

    def query(self, points: Points) -> FieldSample:
        colour = points.positions.new_tensor([0.2, 0.5, 0.8]).expand(len(points), 3)
        return FieldSample(self.density(points.positions), {"rgb": colour, "axis": points.positions[:, :1]})

    def param_groups(self):
        return []


CUBE = Domain.cube(1.0)
SLAB, BALL, LUMP = (
    Formula(Shape(name, strength), CUBE) for name, strength in (("slab", 0.7), ("ball", 40.0), ("lump", 3.0))
)


def along_x(count: int = 1, dtype=torch.float64) -> Rays:
    origins = torch.tensor([[-3.0, 0.1, -0.2]], dtype=dtype).repeat(count, 1)
    return Rays(origins, torch.tensor([[1.0, 0.0, 0.0]], dtype=dtype).repeat(count, 1))


def camera(size: int = 24, distance: float = 3.0) -> Cameras:
    centre = torch.tensor([[distance, 0.4, 0.6]])
    return Cameras.looking_at(centre, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]), 1.2 * size, (size, size))


@pytest.mark.parametrize("count", [1, 7, 64])
def test_a_homogeneous_slab_absorbs_as_beer_and_lambert_say(count):
    picture = render_rays(SLAB, along_x(), UniformSampler(CUBE, count)(along_x()))
    expected = 1.0 - math.exp(-0.7 * 2.0)
    assert picture.opacity.item() == pytest.approx(expected, abs=1e-12)  # float64; exact for constant density
    assert picture.rgb[0].tolist() == pytest.approx([expected * c for c in (0.2, 0.5, 0.8)], abs=1e-12)


def test_splitting_intervals_changes_nothing():
    whole = UniformSampler(CUBE, 5)(along_x())
    middle = torch.lerp(whole.t0, whole.t1, 0.3)
    t0, t1 = torch.stack([whole.t0, middle], 1).flatten(), torch.stack([middle, whole.t1], 1).flatten()
    split = RaySamples(t0, t1, whole.ray.repeat_interleave(2), 2 * whole.offsets)
    for one, other in zip(
        (p := render_rays(SLAB, along_x(), whole)).rgb, render_rays(SLAB, along_x(), split).rgb, strict=True
    ):
        assert torch.allclose(one, other, atol=1e-12)  # float64 sums in another order
    assert p.opacity.item() == pytest.approx(render_rays(SLAB, along_x(), split).opacity.item(), abs=1e-12)


def test_quadrature_converges_with_order_two():
    exact = render_rays(LUMP, along_x(), UniformSampler(CUBE, 4096)(along_x())).rgb[0, 0].item()
    errors = [
        abs(render_rays(LUMP, along_x(), UniformSampler(CUBE, n)(along_x())).rgb[0, 0].item() - exact) for n in (16, 32)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.2)  # the next term is of order four


def test_a_larger_copy_is_thinner_by_its_scale():
    frame = Similarity(((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)), (0.3, -0.2, 0.1), 2.5)
    placed = Placed(LUMP, frame)
    rays = Rays(frame.points(along_x().origins), frame.vectors(along_x().directions))
    near = render_rays(LUMP, along_x(), UniformSampler(CUBE, 64)(along_x()))
    there = UniformSampler(CUBE, 64)(along_x())
    far = render_rays(placed, rays, RaySamples(2.5 * there.t0, 2.5 * there.t1, there.ray, there.offsets))
    assert torch.allclose(near.rgb, far.rgb, atol=1e-10)  # float64; the rotation is exact, the scale rounds once
    assert far.depth.item() == pytest.approx(2.5 * near.depth.item(), rel=1e-10)  # as above


def test_densities_of_a_composition_add():
    points = Points(torch.rand(50, 3) - 0.5, torch.tensor([[0.0, 0.0, 1.0]]).repeat(50, 1))
    both = Composed([SLAB, LUMP]).query(points)
    torch.testing.assert_close(both.density, SLAB.density(points.positions) + LUMP.density(points.positions))
    torch.testing.assert_close(both.rgb, SLAB.query(points).rgb)  # one colour mixed with itself
    empty = Composed([SLAB]).query(points.at(points.positions + 5.0))
    assert (empty.density == 0).all() and torch.isfinite(empty.rgb).all()


def test_the_renderer_shows_what_the_integral_says():
    renderer = VolumeRenderer(step_scale=4.0, normals=True, chunk=100)
    picture = renderer(BALL, camera())
    rays = camera().picture_rays(0)
    samples = OccupancySampler(BALL, stride_for(CUBE, 4.0))(rays)
    flat = integrate(BALL, rays, samples, normals=True).picture
    assert set(picture.channels) == {"rgb", "axis"} and picture.rgb.shape == (1, 24, 24, 3)
    # The renderer leaves rays at transmittance 1e-4 and adds up in another order.
    assert torch.allclose(picture.rgb.flatten(0, 2), flat.rgb, atol=2e-4)
    assert torch.allclose(picture.opacity.flatten(), flat.opacity, atol=2e-4)


def test_depth_and_median_find_a_solid_ball():
    solid = Formula(Shape("ball", 1e4), CUBE)
    picture = VolumeRenderer(step_scale=1.0)(solid, camera(25))
    distance = torch.tensor([3.0, 0.4, 0.6]).norm().item() - 0.5
    step = stride_for(CUBE).step
    assert picture.opacity[0, 12, 12].item() == pytest.approx(1.0, abs=1e-4)  # opaque within one step
    assert picture.depth[0, 12, 12].item() == pytest.approx(distance, abs=2 * step)  # quadrature: one step
    assert picture.median is not None and picture.median[0, 12, 12].item() == pytest.approx(distance, abs=2 * step)
    assert torch.isinf(picture.median[0, 0, 0]) and picture.opacity[0, 0, 0] == 0


def test_normals_face_the_camera_in_the_world_frame():
    turned = Formula(Shape("lump", 200.0), CUBE)
    turned = turned.view(
        placement=Similarity(((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)), (0.0, 0.0, 0.0), 2.0)
    )
    cameras = camera(9, distance=6.0)
    picture = VolumeRenderer(step_scale=2.0, normals=True)(turned, cameras)
    assert picture.normal is not None
    # A ball-shaped lump seen head on: its normal points back along the viewing axis.
    assert torch.allclose(picture.normal[0, 4, 4], -cameras.forward[0], atol=0.02)
    assert picture.depth[0, 4, 4] > 4.0  # world units: 2 times the local distance


def test_occupancy_changes_no_picture():
    free = VolumeRenderer(step_scale=2.0)(LUMP, camera()).rgb
    fill_occupancy(LUMP, stride_for(CUBE, 2.0), torch.Generator().manual_seed(0), samples=2)
    assert 0.02 < unpack_bits(LUMP.occupancy).float().mean() < 0.9
    assert torch.allclose(VolumeRenderer(step_scale=2.0)(LUMP, camera()).rgb, free, atol=0.01)  # what counts as empty
    LUMP.occupancy.fill_(255)


def test_an_occupancy_grid_finds_the_ball_and_forgets_it():
    ball, generator = Formula(Shape("ball", 40.0), CUBE), torch.Generator().manual_seed(0)
    grid = OccupancyGrid(ball, stride_for(CUBE), decay=0.5)
    assert (ball.occupancy == 255).all()  # nothing is known yet
    grid.refresh(ball, 16, generator)
    share = unpack_bits(ball.occupancy).float().mean().item()
    assert share == pytest.approx(math.pi / 6 / 8, rel=0.05)  # volume of the ball in the cube, up to border cells
    grid.refresh(ball, 17, generator)
    again = OccupancyGrid(ball, stride_for(CUBE))
    again.load_state(grid.state())
    again.write(ball)
    assert unpack_bits(ball.occupancy).float().mean().item() == share
    ball.shape = Shape("half", 40.0)
    for step in range(16, 400, 16):
        grid.refresh(ball, step, generator)
    assert unpack_bits(ball.occupancy).float().mean().item() == pytest.approx(
        0.25, rel=0.01
    )  # a quarter of the empty is asked at a time: (3/4)^16 = 1 % is still unknown


def test_even_fog_stays_occupied():
    fog = Formula(Shape("slab", 0.1), CUBE)
    OccupancyGrid(fog, stride_for(CUBE)).refresh(fog, 16, torch.Generator().manual_seed(0))
    assert (fog.occupancy == 255).all()


def test_only_seen_cells_may_be_occupied():
    seen = visible_cells(SLAB, camera())
    assert 0.1 < seen.float().mean() < 1.0
    behind = visible_cells(SLAB, Cameras.looking_at(
        torch.tensor([[3.0, 0.0, 0.0]]), torch.tensor([6.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0]), 20.0, (16, 16)
    ))  # fmt: skip
    assert not behind.any()
    fog = Formula(Shape("slab", 0.1), CUBE)
    OccupancyGrid(fog, stride_for(CUBE), visible=seen)
    assert torch.equal(unpack_bits(fog.occupancy), seen)


def test_transparent_pixels_carve_the_visual_hull():
    angles = torch.linspace(0.0, 2.0 * math.pi, 9)[:-1]
    centres = 4.0 * torch.stack([angles.cos(), angles.sin(), 0.5 * (3 * angles).sin()], -1)
    cameras = Cameras.looking_at(centres, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]), 80.0, (64, 64))
    ball = Formula(Shape("ball", 1e4), CUBE)
    opacity = VolumeRenderer(step_scale=2.0)(ball, cameras).opacity
    hull = visible_cells(ball, cameras, opacities=tuple((opacity * 255).to(torch.uint8)))
    solid = ((morton_cells(torch.arange(128**3)) + 0.5) / 64 - 1.0).norm(dim=-1) < 0.5
    assert hull[solid].all()
    # Of the ball's hull from eight sides; pixels are as wide as three cells here, which adds a shell.
    assert solid.sum() < hull.sum() < 2.5 * solid.sum()


def test_copied_occupancy_covers_the_original():
    ball = Formula(Shape("ball", 40.0), CUBE)
    fill_occupancy(ball, stride_for(CUBE), torch.Generator().manual_seed(0), samples=1)
    larger = Formula(Shape("ball", 40.0), Domain((-1.3, -1.1, -1.2), (1.1, 1.4, 1.2)))
    copy_occupancy(ball, larger)
    picture = VolumeRenderer(step_scale=2.0)(larger, camera()).opacity
    larger.occupancy.fill_(255)
    assert torch.allclose(VolumeRenderer(step_scale=2.0)(larger, camera()).opacity, picture, atol=1e-5)  # float32 sums


def test_jitter_needs_a_generator_and_repeats_with_its_seed():
    rays = camera().picture_rays(0)
    draw = lambda seed: OccupancySampler(SLAB, Stride(0.05), 0.0, torch.Generator().manual_seed(seed))(rays).t0  # noqa: E731
    assert torch.equal(draw(1), draw(1)) and not torch.equal(draw(1)[:100], draw(2)[:100])
    plain = OccupancySampler(SLAB, Stride(0.05))(rays)
    assert torch.equal(plain.t0, OccupancySampler(SLAB, Stride(0.05))(rays).t0)


@pytest.mark.parametrize("contracted", [False, True])
@pytest.mark.parametrize("jittered", [False, True])
def test_uniform_samples_tile_their_rays(contracted, jittered):
    domain = Domain(CUBE.lower, CUBE.upper, contracted)
    rays = camera().picture_rays(0)
    generator = torch.Generator().manual_seed(0) if jittered else None
    samples = UniformSampler(domain, 16, 0.1, generator)(rays)
    enter, leave = domain.span(rays.origins, rays.directions, 0.1)
    hit = leave > enter
    assert torch.equal(samples.offsets.diff(), torch.where(hit, 16, 0))
    assert (samples.lengths > 0).all()
    t0, t1 = samples.t0.view(-1, 16), samples.t1.view(-1, 16)
    assert torch.equal(t0[:, 1:], t1[:, :-1])
    torch.testing.assert_close(t0[:, 0], enter[hit])
    torch.testing.assert_close(t1[:, -1], leave[hit], rtol=1e-3, atol=1e-4)  # float32 at 1000 half extents


def test_importance_samples_gather_where_the_weight_is():
    rays = camera().picture_rays(0)
    coarse = UniformSampler(CUBE, 32)(rays)
    dense = Formula(Shape("lump", 80.0), CUBE)
    weights = integrate(dense, rays, coarse).weights
    fine = ImportanceSampler(coarse, weights, 32)(rays)
    assert (fine.lengths > 0).all() and (fine.offsets.diff() <= 64).all()
    rays_hit = coarse.offsets.diff() > 0
    assert torch.equal(fine.offsets.diff() > 0, rays_hit)
    assert torch.equal(fine.t0[fine.offsets[:-1][rays_hit]], coarse.t0[coarse.offsets[:-1][rays_hit]])
    exact, rough, better = (
        render_rays(dense, rays, samples).depth for samples in (UniformSampler(CUBE, 1024)(rays), coarse, fine)
    )
    solid = render_rays(dense, rays, coarse).opacity > 0.99
    assert (better - exact)[solid].abs().mean() < 0.5 * (rough - exact)[solid].abs().mean()


def test_there_is_one_renderer_for_fields():
    assert isinstance(renderer_for(SLAB), VolumeRenderer)
