"""Splats as a representation: drawn in any frame, trained, densified, converted both ways, looked into."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from volkit.distillation.splat_start import SurfacePoints, flatten_to_surfels, initialise_on_surface
from volkit.distillation.strategies import MCMCStrategy, add_noise, relocate
from volkit.editing.decimate import thin_splats
from volkit.geometry import Cameras, Domain, Similarity, rotate_sh, rotations_of, sh_basis, sh_count
from volkit.geometry.lens import FISHEYE, OPENCV, PINHOLE
from volkit.rendering import renderer_for
from volkit.rendering.splatting import SplatRenderer
from volkit.representations import ParamGroup, Splats, SplatsConfig, splat_extent
from volkit.representations.splats import PARAMETERS
from volkit.training.loop import Budget, ParameterChange, StepLosses, TrainingLoop

BOX = Domain.cube(1.0)


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _splats(count: int = 50, **settings) -> Splats:
    splats = SplatsConfig(count, 1, **settings).build(BOX, _seeded())
    with torch.no_grad():
        splats.sh_dc.add_(torch.randn(splats.sh_dc.shape, generator=_seeded(1)))
        splats.quaternions.add_(torch.randn(splats.quaternions.shape, generator=_seeded(2)))
        splats.logits.add_(3.0)
    return splats


def _cameras(count: int = 1, size: tuple[int, int] = (40, 32)) -> Cameras:
    centres = torch.tensor([[4.0, 0.5, 1.0], [0.3, -4.0, 0.5], [-3.0, 2.0, 2.0]])[:count]
    return Cameras.looking_at(centres, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]), 50.0, size)


def test_some_rows_are_those_of_all():
    splats = _splats()
    splats = splats.view(
        placement=Similarity(((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)), (1.0, 2.0, 3.0), 2.0)
    )
    whole, some = splats.columns_in(), splats.columns_in(rows=slice(7, 19))
    for name in PARAMETERS:
        torch.testing.assert_close(some[name], whole[name][7:19], rtol=0, atol=1e-6)  # products round by their shapes


def test_a_solid_splat_is_where_it_is():
    splats = SplatsConfig(1, 0).build(BOX, _seeded())
    with torch.no_grad():
        splats.means.copy_(torch.tensor([[0.3, -0.2, 0.1]]))
        splats.log_scales.fill_(math.log(0.3))
        splats.logits.fill_(10.0)
        picture = SplatRenderer(normals=True)(splats, _cameras())
    y, x = divmod(int(picture.opacity[0].argmax()), 40)
    pixel, along = _cameras().project(0, splats.means.detach())
    assert abs(x + 0.5 - pixel[0, 0]) <= 0.5 and abs(y + 0.5 - pixel[0, 1]) <= 0.5
    distance = (splats.means[0] - _cameras().centres[0]).norm().item()
    # the pixel's ray passes within half a pixel of the centre
    assert picture.median is not None and picture.median[0, y, x].item() == pytest.approx(distance, rel=1e-3)
    assert picture.depth[0, y, x].item() == pytest.approx(distance, rel=1e-3)
    assert along.item() < distance
    assert picture.rgb[0, y, x].tolist() == pytest.approx([0.5 * 0.99] * 3, abs=5e-3)  # alpha is held at 0.99


def test_moving_scene_and_cameras_together_changes_nothing():
    splats, cameras = _splats(), _cameras(3)
    c, s = math.cos(0.5), math.sin(0.5)
    change = Similarity(((c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0)), (1.0, 2.0, -0.5), 2.5)
    with torch.no_grad():
        here = renderer_for(splats)(splats, cameras)
        splats = splats.view(placement=change)
        there = renderer_for(splats)(splats, cameras.transform(change))
    # float32 poses; an alpha of 1/255 may fall on either side
    assert (here.rgb - there.rgb).abs().max() < 5e-3 and (here.rgb - there.rgb).abs().mean() < 1e-5
    seen = here.opacity > 0.5
    torch.testing.assert_close(there.depth[seen], 2.5 * here.depth[seen], rtol=1e-3, atol=0)  # the same


def test_a_lens_shows_each_splat_where_its_ray_goes():
    splats = SplatsConfig(1, 0).build(BOX, _seeded())
    with torch.no_grad():
        splats.means.copy_(torch.tensor([[0.4, -0.9, 0.4]]))
        splats.log_scales.fill_(math.log(0.05))
        splats.logits.fill_(10.0)
    coefficients = torch.tensor([[0.2, 0.0, 0.1, 0.1, 0.0, 0.0, 0.0, 0.0]])
    cameras = replace(_cameras(size=(160, 128)), lens=OPENCV, coefficients=coefficients)
    cameras = replace(cameras, intrinsics=cameras.intrinsics * torch.tensor([3.0, 3.0, 1.0, 1.0]))
    with torch.no_grad():
        picture = renderer_for(splats)(splats, cameras)
    y, x = divmod(int(picture.opacity[0].argmax()), 160)
    pixel, _ = cameras.project(0, splats.means.detach())
    straight, _ = replace(cameras, lens=PINHOLE, coefficients=None).project(0, splats.means.detach())
    assert (pixel - straight).abs().max() > 1.0  # the lens matters here
    assert abs(x + 0.5 - pixel[0, 0]) <= 1.0 and abs(y + 0.5 - pixel[0, 1]) <= 1.0


def test_a_lens_that_sees_sideways_is_refused():
    cameras = replace(_cameras(), lens=FISHEYE, coefficients=torch.zeros(1, 4))
    cameras = replace(cameras, intrinsics=cameras.intrinsics * torch.tensor([0.2, 0.2, 1.0, 1.0]))
    with pytest.raises(ValueError, match="too far to the side"):
        renderer_for(_splats())(_splats(), cameras)


def test_half_turns_of_harmonics_are_signs():
    """The table of nianticlabs/spz, splat-types.h, for axes y and z the other way: exact."""
    flips = [1, -1, -1, 1, -1, 1, 1, -1, 1, -1, 1, -1, -1, 1, -1, 1]  # 1; y z x; xy yz 1 xz 1; y xyz y z x z x
    before = torch.randn(4, 16, 3, generator=_seeded())
    assert torch.equal(
        rotate_sh(before, torch.diag(torch.tensor([1.0, -1, -1]))), before * torch.tensor(flips)[:, None]
    )


def test_a_large_scene_is_placed_by_some_of_its_splats(monkeypatch):
    splats = SplatsConfig(200_000, 0).build(BOX, _seeded())
    some = splat_extent.core_box(splats)
    monkeypatch.setattr(splat_extent, "MAX_QUANTILE_SPLATS", 1 << 30)
    whole = splat_extent.core_box(splats)
    # quantiles of 0.5 per cent of 33 000 evenly spread: off by sqrt(p / n) = 4e-4 of the edge, five times that is rare
    assert np.allclose(some.lower + some.upper, whole.lower + whole.upper, atol=2 * 5 * 4e-4)


@pytest.mark.parametrize("factor", [1e-6, 1e-3, 1e6])
def test_a_scene_of_any_size_is_framed_alike(factor):
    splats = _splats()
    small = splats.with_()
    with torch.no_grad():
        small.means.mul_(factor)
        small.log_scales.add_(math.log(factor))
    ours, theirs = (np.array([box.lower, box.upper]) for box in map(splat_extent.core_box, (splats, small)))
    np.testing.assert_allclose(theirs / factor, ours, rtol=1e-4)  # float32, and a logarithm


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
def test_harmonics_turn_with_the_scene(degree):
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=_seeded(5), dtype=torch.float64)).Q
    rotation = rotation * rotation.det()
    before = torch.randn(4, sh_count(degree), 3, generator=_seeded(6), dtype=torch.float64)
    after = rotate_sh(before, rotation)
    directions = torch.nn.functional.normalize(torch.randn(9, 3, generator=_seeded(7), dtype=torch.float64), dim=-1)
    seen = torch.einsum("db,nbc->dnc", sh_basis(directions, degree), before)
    turned = torch.einsum("db,nbc->dnc", sh_basis(directions @ rotation.T, degree), after)
    torch.testing.assert_close(turned, seen, atol=1e-12, rtol=0)  # float64, a least-squares solution


@pytest.mark.parametrize("copies", [1, 2, 5, 51])
@pytest.mark.parametrize("opacity", [0.1, 0.6, 0.95])
def test_copies_look_like_the_one_that_they_stand_for(copies, opacity):
    each, factor = relocate(torch.tensor([opacity]), torch.tensor([copies]))
    left = (1.0 - each.double()) ** copies
    if each.item() > 0.005:  # where it is not held above what is dead
        assert 1.0 - left.item() == pytest.approx(opacity, rel=1e-5)
    assert 0.0 < factor.item() <= 1.0 and (copies > 1) == (factor.item() < 1.0)


def test_relocation_against_the_sums_of_the_paper():
    o, n = 0.7, 6
    each = 1.0 - (1.0 - o) ** (1.0 / n)
    total = sum(
        math.comb(i - 1, k) * (-1) ** k / math.sqrt(k + 1) * each ** (k + 1) for i in range(1, n + 1) for k in range(i)
    )
    _, factor = relocate(torch.tensor([o]), torch.tensor([n]))
    assert factor.item() == pytest.approx(o / total, rel=1e-5)


@pytest.mark.parametrize("surfels", [False, True])
def test_the_dead_move_and_more_are_added(surfels):
    splats = _splats(100, surfels=surfels)
    with torch.no_grad():
        splats.logits[:30] = -12.0
    known = {"rounds": 0, "shares": torch.ones(100)}
    _, change = MCMCStrategy(max_splats=110, growth=1.5).relocate_dead(splats, known, _seeded())
    assert len(splats) == 110 == splats.config.count and (splats.opacities > 0.005 * 0.99).all()
    assert change is not None and change.rows is not None and len(change.rows) == 110
    assert splats.config.surfels is surfels and splats.log_scales.shape == (110, 2 if surfels else 3)
    kept = change.rows >= 0
    assert (change.rows[kept] == torch.arange(110)[kept]).all() and 0 < kept.sum() < 100


def test_surfels_are_shaken_within_their_planes():
    splats = _splats(60, surfels=True)
    with torch.no_grad():
        splats.logits.fill_(-6.0)
        before, normals = splats.means.clone(), rotations_of(splats.quaternions)[:, :, 2]
        add_noise(splats, 40.0, _seeded())
    moved = splats.means.detach() - before
    assert (moved.norm(dim=-1) > 1e-4).all()
    assert ((moved * normals).sum(-1).abs() < 1e-5 * moved.norm(dim=-1) + 1e-6).all()  # float32


def test_a_surfel_shows_its_plane():
    splats = SplatsConfig(1, 0, surfels=True).build(BOX, _seeded())
    with torch.no_grad():
        splats.means.zero_()
        splats.log_scales.fill_(math.log(0.5))
        splats.logits.fill_(4.0)
        cameras = _cameras(3)
        picture = SplatRenderer(normals=True)(splats, cameras)
    assert picture.median is not None and picture.normal is not None
    for index in range(3):
        rays = cameras.picture_rays(index)
        hit = -rays.origins[:, 2] / rays.directions[:, 2]  # with the plane z = 0
        near = (rays.origins + hit[:, None] * rays.directions).norm(dim=-1) < 0.4  # so near that the filter is not seen
        assert near.sum() > 5
        for depth in (picture.depth[index], picture.median[index]):
            torch.testing.assert_close(depth.flatten()[near], hit[near], rtol=1e-4, atol=0)  # float32
        torch.testing.assert_close(picture.normal[index].view(-1, 3)[near], torch.tensor([0.0, 0.0, 1.0]).expand(
            int(near.sum()), 3), rtol=0, atol=1e-5)  # fmt: skip


def test_flat_splats_look_alike_when_flattened():
    splats = _splats(200)
    with torch.no_grad():
        splats.log_scales.add_(0.3 * torch.randn(200, 3, generator=_seeded(3)))
        thinnest = torch.randint(3, (200, 1), generator=_seeded(4))
        splats.log_scales.scatter_(1, thinnest, -9.0)
        thick = renderer_for(splats)(splats, _cameras(3))
        splats.replace_columns(flatten_to_surfels({name: getattr(splats, name) for name in PARAMETERS}))
        flat = renderer_for(splats)(splats, _cameras(3))
    assert splats.config.surfels and splats.log_scales.amin() > -9.0
    # what is left is perspective within a splat and the filters, 0.3 and 0.5 pixel^2; other axes give 0.2
    assert (flat.rgb - thick.rgb).abs().mean() < 0.03


class _Growing:
    """One row more at step 2, the second row new."""

    def __init__(self) -> None:
        self.x = torch.nn.Parameter(torch.tensor([[1.0], [2.0]]))

    def losses(self, info):
        return StepLosses({"x": self.x.square().sum()})

    def groups(self):
        return [ParamGroup("x", (self.x,), 1e-2)]

    def after_step(self, info, record):
        if info.step != 2:
            return []
        self.x = torch.nn.Parameter(self.x.detach()[torch.tensor([0, 1, 1])])
        return [ParameterChange(torch.tensor([0, -1, 1]))]

    def state(self):
        return {}

    def load_state(self, state) -> None: ...


def test_moments_go_where_their_rows_go():
    fit = TrainingLoop(_Growing(), Budget(steps=2))
    fit.run()
    first, second = fit._moments["x.0"]
    assert first.shape == (3, 1) and first[1] == 0 and second[1] == 0
    assert first[0] != 0 and first[2] != 0 and first[0] != first[2]


def test_splats_lie_flat_on_what_was_seen():
    grid = torch.stack(torch.meshgrid(torch.linspace(-1, 1, 20), torch.linspace(-1, 1, 20), indexing="ij"), -1)
    flat = torch.cat([grid.view(-1, 2), torch.zeros(400, 1)], 1)
    normals = torch.nn.functional.normalize(torch.tensor([0.0, 1.0, 1.0]), dim=0).expand(400, 3)
    splats = SplatsConfig(300, 1).build(BOX, _seeded())
    initialise_on_surface(splats, SurfacePoints(flat, torch.full((400, 3), 0.25), normals), _seeded())
    assert len(splats) == 300
    shortest = rotations_of(splats.quaternions)[:, :, 2]
    torch.testing.assert_close(shortest, normals[:300], atol=1e-5, rtol=0)  # float32
    assert (splats.scales[:, 2] < 0.5 * splats.scales[:, 0]).all()
    assert (0.5 + 0.28209479177387814 * splats.sh_dc).mean().item() == pytest.approx(0.25, abs=1e-5)


@pytest.mark.parametrize("surfels", [False, True])
def test_equal_splats_are_joined_into_one_like_them(surfels):
    """Two halves of a Gaussian give it back: mean, covariance with the spread of the halves, opacity by area."""
    splats = SplatsConfig(count=2, surfels=surfels).build(Domain.cube(1.0), torch.Generator()).requires_grad_(False)
    splats.means.copy_(torch.tensor([[0.3, 0.0, 0.0], [0.3, 0.2, 0.0]]))
    splats.log_scales.copy_(torch.tensor([0.3, 0.1, 0.02][: splats.log_scales.shape[1]]).log().expand(2, -1))
    splats.logits.fill_(0.0)
    thin_splats(splats, torch.tensor([1.0, 3.0]), 1, torch.Generator().manual_seed(0))
    torch.testing.assert_close(splats.means, torch.tensor([[0.3, 0.15, 0.0]]))
    third = 0.0 if surfels else 0.02
    # the spread of means 0.2 apart with shares 1/4 and 3/4 is 3/16 of its square
    expected = torch.diag(torch.tensor([0.3, (0.01 + 0.04 * 3 / 16) ** 0.5, third]).square())
    torch.testing.assert_close((splats.axes @ splats.axes.mT)[0], expected, atol=1e-6, rtol=1e-4)
    power = 1.0 if surfels else 2 / 3
    area = (0.1 / (0.01 + 0.04 * 3 / 16) ** 0.5) ** power
    torch.testing.assert_close(splats.opacities, torch.tensor([min(2 * 0.5 * area, 0.99)]))


def test_what_shows_nothing_goes_first():
    splats = SplatsConfig(count=50).build(Domain.cube(1.0), torch.Generator().manual_seed(1)).requires_grad_(False)
    light = torch.zeros(50)
    light[:8] = 1.0
    kept = splats.means[:8].clone()
    thin_splats(splats, light, 8, torch.Generator().manual_seed(0))
    assert len(splats) == 8
    assert torch.cdist(kept, splats.means).amin(1).max() < 1e-6  # joining with what shows nothing changes nothing
