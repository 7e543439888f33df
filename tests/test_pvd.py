"""PVD and PVD-AL: schedule, losses and pools against values worked out by hand, and a tiny conversion."""

import math
from typing import Any

import pytest
import torch

from volkit.distill.plan import Ladder
from volkit.distill.pvd import METHODS, PvdRung, PvdSettings
from volkit.distill.pvd_active import CameraPool, RayPool, rotated, surface_samples
from volkit.distill.pvd_start import pvd_groups, pvd_schedule, pvd_student, share_heads, start_density
from volkit.distill.views import orbit_cameras
from volkit.fit import Budget, Fit, Moment
from volkit.geometry import Domain, Points, Rays, RaySamples
from volkit.ops.composite import composite
from volkit.representations import HashGridConfig, MlpConfig, PlanesConfig, TensorCPConfig, TensorVMConfig, VoxelsConfig
from volkit.representations.field import Field, FieldSample
from volkit.representations.representation import ParamGroup
from volkit.sampling.occupancy import OccupancySampler, stride_for
from volkit.sampling.occupancy_grid import fill_occupancy

DOMAIN = Domain.cube(1.0)
SMALL = {
    "hash_grid": HashGridConfig(levels=4, log2_table=12, base_resolution=8, per_level_scale=2.0, products="float32"),
    "planes": PlanesConfig(resolution=16, scales=(1, 2), channels=16, products="float32"),
    "tensor_vm": TensorVMConfig(resolution=32, start=16),
    "tensor_cp": TensorCPConfig(resolution=32, start=16, density_components=24, appearance_components=32),
    "voxels": VoxelsConfig(resolution=48, start=16),
    "mlp": MlpConfig(layers=3, width=32, skip=0, position_bands=4, products="float32"),
}
STEP = stride_for(DOMAIN, 16.0)  # coarse: about 37 samples along an edge


class _Ball(Field):
    """A ball of radius 0.5 with density 20 inside, coloured by position; with instant-ngp's features if asked."""

    def __init__(self, featured: bool = False, level: float = 20.0) -> None:
        super().__init__(DOMAIN)
        self.config, self.featured = SMALL["hash_grid"], featured
        self.level = torch.nn.Parameter(torch.tensor(level))
        self.colour = torch.nn.Parameter(torch.tensor(0.5))
        self.feature = torch.nn.Parameter(torch.zeros(16))

    def density(self, positions):
        return self.level * torch.sigmoid((0.5 - positions.norm(dim=-1)) * 40.0)

    def query(self, points: Points) -> FieldSample:
        return FieldSample(self.density(points.positions), {"rgb": 0.5 + self.colour * points.positions})

    def query_hidden(self, points: Points, *, colour: bool = True):
        answer, _ = super().query_hidden(points, colour=colour)
        return answer, self.feature.expand(len(points), -1) if self.featured else None

    def param_groups(self) -> list[ParamGroup]:
        return [ParamGroup("all", tuple(self.parameters()), 1e-2)]


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def teacher() -> Field:
    ball = _Ball(featured=True).requires_grad_(False)
    fill_occupancy(ball, STEP, _generator(), samples=2)
    return ball


def _rung(teacher: Field, settings: PvdSettings, seed: int = 0) -> PvdRung:
    generator = _generator(seed)
    cameras = orbit_cameras(teacher, 24, 48, generator)
    sampler = OccupancySampler(teacher, STEP, 0.0, generator)
    return PvdRung(teacher, cameras, sampler, lambda rays: rays, settings, generator)


def _moment(fraction: float, step: int = 0) -> Moment:
    return Moment(step, 0.0, fraction)


def test_stages_end_where_published_ones_do(teacher: Field) -> None:
    student = _Ball(featured=True, level=3.0)
    rung = _rung(teacher, PvdSettings.pvd())
    assert set(rung.losses(student, _moment(1999 / 30000))) == {"feature"}
    assert set(rung.losses(student, _moment(2000 / 30000))) == {"feature", "colour", "density"}
    assert set(rung.losses(student, _moment(4999 / 30000))) == {"feature", "colour", "density"}
    assert set(rung.losses(student, _moment(5000 / 30000))) == {"pixels", "feature", "colour", "density"}
    assert set(_rung(teacher, PvdSettings.pvd_al()).losses(student, _moment(0.0))) >= {"pixels", "density"}


def test_students_without_features_begin_with_points(teacher: Field) -> None:
    losses = _rung(teacher, PvdSettings.pvd()).losses(_Ball(level=3.0), _moment(0.0))
    assert set(losses) == {"colour", "density"}


@pytest.mark.parametrize(("iteration", "weight"), [(0, 2e-3), (500, 1.6e-4), (1000, 1.3e-5), (2000, 8.9e-8)])
def test_feature_weight_dies_as_published(iteration: int, weight: float) -> None:
    known = PvdSettings.pvd().feature_weight(iteration / 30000)
    assert known == pytest.approx(weight, rel=0.03)  # the published values are quoted with two digits


def test_losses_are_norms_of_clamped_differences(teacher: Field) -> None:
    student = _Ball(featured=True, level=3.0)
    with torch.no_grad():
        student.feature.fill_(0.5)
    rung, twin = _rung(teacher, PvdSettings.pvd()), _rung(teacher, PvdSettings.pvd())
    batch = twin._draw()  # the same randomness gives the same batch
    points = batch.samples.points(batch.rays)
    losses = rung.losses(student, _moment(0.5))
    low, high = math.exp(-2.0), math.exp(7.0)
    ours, theirs = (f.density(points.positions).clamp(low, high) for f in (student, teacher))
    logs = ours.log() - theirs.log()
    close: dict[str, Any] = {"rel": 1e-4}  # float32 sums over some 1e5 samples
    assert losses["density"].item() == pytest.approx(0.002 * logs.square().sum().sqrt().item(), **close)
    weight = 0.002 * 0.995**15000
    features = (logs.square().sum() + 15 * 0.25 * len(logs)).sqrt().item()
    assert losses["feature"].item() == pytest.approx(weight * features, **close)
    rgb = student.query(points).rgb - teacher.query(points).rgb
    assert losses["colour"].item() == pytest.approx(0.002 * rgb.norm().item(), abs=1e-9)  # equal colours: exactly zero
    background = torch.rand(len(batch.rays), 3, generator=twin.generator)
    ends = (batch.samples.t0, batch.samples.t1, batch.samples.offsets)
    drawn, truth = (composite(d, student.query(points).rgb.detach(), *ends) for d in (ours, theirs))
    error = drawn.channels - truth.channels + (truth.opacity - drawn.opacity)[:, None] * background
    assert losses["pixels"].item() == pytest.approx(error.norm().item(), **close)


def test_no_gradient_reaches_densities_outside_the_clamp(teacher: Field) -> None:
    thin = _Ball(level=0.1)  # below exp(-2) everywhere
    sum(_rung(teacher, PvdSettings.pvd()).losses(thin, _moment(0.5)).values()).backward()
    assert thin.level.grad is None or thin.level.grad.item() == 0.0
    thick = _Ball(level=0.5)
    sum(_rung(teacher, PvdSettings.pvd()).losses(thick, _moment(0.5)).values()).backward()
    assert thick.level.grad.item() < 0.0  # more matter is wanted


def test_a_relu_at_zero_gives_no_nan(teacher: Field) -> None:
    student = _Ball(level=0.0)
    losses = _rung(teacher, PvdSettings.pvd()).losses(student, _moment(0.5))
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in student.parameters() if p.grad is not None)


def test_tensor_vm_pays_for_its_density_factors(teacher: Field) -> None:
    student = SMALL["tensor_vm"].build(DOMAIN, _generator())
    losses = _rung(teacher, PvdSettings.pvd()).losses(student, _moment(0.5))
    total = sum(p.abs().mean().item() for p in student.factors("density"))
    assert losses["l1"].item() == pytest.approx(1e-4 * total, rel=1e-5)  # one float32 sum


def test_camera_pool_holds_the_worst_poses_with_their_own_errors(teacher: Field) -> None:
    generator = _generator(3)
    cameras = orbit_cameras(teacher, 20, 32)
    pool, place = CameraPool(), {tuple(c.tolist()): i for i, c in enumerate(cameras.centres)}
    fraction = 0.0
    for _ in range(7):
        for index in torch.randperm(20, generator=generator).tolist():  # shuffled, as a loader does
            fraction += 1.0001 / (96 * 20)
            pool.learn(cameras[index : index + 1], 10.0 + index, fraction, generator)
    held = [place[tuple(camera.centres[0].tolist())] for camera in pool.pool]
    assert pool.full and len(held) == 8  # epochs 4 to 7, a tenth of 20 each
    assert set(held) == {0, 1}


def test_camera_pool_is_quiet_for_three_epochs_and_then_replaces_a_tenth(teacher: Field) -> None:
    generator = _generator(4)
    cameras = orbit_cameras(teacher, 40, 32)
    pool, fresh = CameraPool(), cameras[39:]
    _fill(pool, cameras, 3, generator)
    assert not pool.pool
    _fill(pool, cameras, 4, generator)
    assert pool.full
    drawn = [pool.draw(fresh, generator) for _ in range(2000)]
    hard = [camera for camera in drawn if not torch.equal(camera.world_from_camera, fresh.world_from_camera)]
    assert len(hard) / 2000 == pytest.approx(0.1, abs=0.027)  # four standard deviations of 2000 coin tosses
    assert {tuple(c.centres[0].tolist()) for c in hard} <= {tuple(c.centres[0].tolist()) for c in pool.pool}
    before, slots = list(pool.pool), list(pool.slots)
    _fill(pool, cameras, 1, generator)
    changed = [i for i, (old, new) in enumerate(zip(before, pool.pool, strict=True)) if old is not new]
    assert changed == sorted(slots)


def _fill(pool: CameraPool, cameras, epochs: int, generator: torch.Generator) -> None:
    fraction = pool.since
    for _ in range(epochs):
        for index in range(20):
            fraction += 1.0001 / (96 * 20)
            pool.learn(cameras[index : index + 1], float(index), fraction, generator)


def test_turns_stay_within_nine_degrees_about_the_own_centre(teacher: Field) -> None:
    cameras = orbit_cameras(teacher, 200, 32)
    turned = rotated(cameras, 9.0, _generator())
    assert torch.equal(turned.centres, cameras.centres)
    old, new = cameras.world_from_camera[:, :, :3], turned.world_from_camera[:, :, :3]
    relative = old.transpose(1, 2) @ new
    assert torch.allclose(relative @ relative.transpose(1, 2), torch.eye(3), atol=1e-5)  # float32 products of rotations
    # R = Rz Ry Rx: the angles are read back from its first column and last row.
    angles = torch.stack([
        torch.atan2(relative[:, 2, 1], relative[:, 2, 2]),
        -torch.asin(relative[:, 2, 0]),
        torch.atan2(relative[:, 1, 0], relative[:, 0, 0]),
    ]).rad2deg()  # fmt: skip
    assert angles.abs().max() <= 9.001  # degrees; float32 arctangents
    assert (angles.abs().amax(1) > 8.0).all()  # the range is used about every axis
    assert (angles.amin(1) < -8.0).all()


def test_ray_pool_fills_then_swaps_its_slots() -> None:
    pool, generator = RayPool(), _generator()
    rays = Rays(torch.arange(40.0)[:, None].expand(40, 3), torch.zeros(40, 3))
    errors = torch.arange(40.0)
    pool.learn(rays, errors, None, 0.0)
    assert pool.draw(40, generator) is None
    pool.learn(rays, -errors, None, 0.05)  # 1500 of 30 000: full
    hard = pool.draw(40, generator)
    assert hard is not None and len(hard.rays) == 4
    assert set(hard.rays.origins[:, 0].tolist()) <= {36.0, 37.0, 38.0, 39.0, 0.0, 1.0, 2.0, 3.0}
    pool.learn(Rays(rays.origins + 100, rays.directions), errors, hard.slots, 0.06)
    assert set(pool.parts[0][hard.slots, 0].tolist()) <= {136.0, 137.0, 138.0, 139.0}
    assert len(pool.parts[0]) == 8


def test_ray_pool_is_full_at_150_batches() -> None:
    pool = RayPool()
    rays = Rays(torch.zeros(10, 3), torch.zeros(10, 3))
    for count in range(1500):
        assert pool.full == (count >= 1500)
        pool.learn(rays, torch.rand(10, generator=_generator(count)), None, 0.0)
    assert pool.full and len(pool.parts[0]) == 1500


def test_surface_samples_are_the_heaviest_of_solid_rays() -> None:
    offsets = torch.tensor([0, 10, 10, 14])
    ray = torch.tensor([0] * 10 + [2] * 4, dtype=torch.int32)
    weights = torch.tensor([0.0, 0.1, 0.3, 0.0, 0.2, 0.0, 0.05, 0.0, 0.0, 0.0, 0.1, 0.1, 0.1, 0.1])
    samples = RaySamples(torch.zeros(14), torch.ones(14), ray, offsets)
    chosen = surface_samples(weights, torch.tensor([0.65, 0.0, 0.4]), samples)
    assert chosen.nonzero()[:, 0].tolist() == [1, 2, 4]  # 30 % of ten; the last ray is not solid
    chosen = surface_samples(weights, torch.tensor([0.65, 0.0, 0.5]), samples)
    assert chosen[10:].sum() == 2  # 30 % of four, rounded up


def test_point_losses_of_pvd_al_see_the_surface_alone(teacher: Field) -> None:
    full = _rung(teacher, PvdSettings.pvd()).losses(_Ball(level=3.0), _moment(0.5))
    part = _rung(teacher, PvdSettings.pvd_al()).losses(_Ball(level=3.0), _moment(0.5))
    assert part["pixels"].item() == pytest.approx(full["pixels"].item(), rel=1e-6)  # same rays, float32
    assert 0 < part["density"].item() < full["density"].item()


def test_heads_of_equal_name_and_shape_are_shared() -> None:
    first = SMALL["hash_grid"].build(DOMAIN, _generator(1))
    wider = HashGridConfig(levels=4, log2_table=13, base_resolution=8, per_level_scale=2.0, products="float32")
    second = wider.build(DOMAIN, _generator(2))
    first.occupancy.fill_(7)
    assert share_heads(first, second) == ("density_network", "rgb_network", "occupancy")
    assert torch.equal(first.rgb_network, second.rgb_network) and torch.equal(first.occupancy, second.occupancy)
    twin = SMALL["hash_grid"].build(DOMAIN, _generator(3))
    assert "table" in share_heads(first, twin)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), twin.state_dict().values(), strict=True))


def test_features_align_while_heads_are_shared() -> None:
    teacher = SMALL["hash_grid"].build(DOMAIN, _generator(1))
    with torch.no_grad():
        teacher.table.normal_(0.0, 0.5, generator=_generator(2))
    config = HashGridConfig(levels=4, log2_table=13, base_resolution=8, per_level_scale=2.0, products="float32")
    generator = _generator(3)
    student = config.build(DOMAIN, generator)
    cameras = orbit_cameras(teacher, 24, 48, generator)
    ladder = Ladder(teacher.requires_grad_(False), student, cameras, lambda rays: rays, STEP, 0.0, generator)
    trainee = pvd_student(ladder, PvdSettings(1.0, 1.0, feature_decay=1.0, rays=64, samples=2048))
    before = trainee.losses(_moment(0.0))
    assert set(before) == {"feature"}
    Fit(trainee, Budget(steps=60), pvd_schedule(student)).run()
    assert trainee.losses(_moment(0.0))["feature"] < 0.8 * before["feature"]  # 60 steps: well on the way


@pytest.mark.parametrize("kind", sorted(SMALL))
def test_start_densities_lie_within_the_clamp(kind: str) -> None:
    domain = Domain.cube(2.5)
    student = SMALL[kind].build(domain, _generator())
    start_density(student)
    positions = torch.rand(512, 3, generator=_generator(1)) * 4.0 - 2.0
    logs = (student.density(positions) * 2.5).log()
    inside = ((logs > -2.0) & (logs < 7.0)).float().mean()
    assert inside > 0.95  # random parts of a start may stray, most must learn


def test_rates_decay_and_schedule_are_the_published_ones() -> None:
    for kind, config in SMALL.items():
        student = config.build(DOMAIN, _generator())
        own = {id(p) for g in student.param_groups() for p in g.parameters}
        groups = pvd_groups(student)
        assert {id(p) for g in groups for p in g.parameters} == own
        for group in groups:
            slow = kind == "mlp" or (kind.startswith("tensor") and group.name == "networks")
            assert group.lr * group.weight_decay == pytest.approx((1e-3 if slow else 1e-2) * 0.01)
            assert kind == "voxels" or group.lr == (1e-3 if slow else 1e-2)
        factor = pvd_schedule(student)
        assert factor(_moment(0.0)) == pytest.approx(1.0)
        assert factor(_moment(1.0)) == pytest.approx(7e-5 / (1e-3 if kind == "mlp" else 1e-2))


def _ladder(teacher: Field, kind: str, seed: int) -> Ladder:
    generator = _generator(seed)
    student = SMALL[kind].build(DOMAIN, generator).placed_like(teacher)
    student.occupancy.copy_(teacher.occupancy)
    cameras = orbit_cameras(teacher, 24, 48, generator)
    return Ladder(teacher, student, cameras, lambda rays: rays, STEP, 0.0, generator)


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("kind", sorted(SMALL))
def test_every_kind_learns(teacher: Field, kind: str, method: str) -> None:
    settings = METHODS[method]
    small = PvdSettings(settings.feature_until, settings.point_until, active=settings.active, rays=256, samples=4096)
    trainee = pvd_student(_ladder(teacher, kind, 5), small)
    judge = _rung(teacher, PvdSettings(0.0, 0.0, rays=512), seed=9)
    before = judge.losses(trainee.field, _moment(0.9))["pixels"].item()
    Fit(trainee, Budget(steps=80), pvd_schedule(trainee.field)).run()
    after = _rung(teacher, PvdSettings(0.0, 0.0, rays=512), seed=9).losses(trainee.field, _moment(0.9))["pixels"].item()
    # A clear gain: 80 steps of 256 rays converge nowhere, and lines and a plain network have hardly begun.
    assert math.isfinite(after) and after < {"mlp": 0.95, "tensor_cp": 0.9}.get(kind, 0.7) * before
    assert torch.equal(trainee.field.occupancy, teacher.occupancy)  # frozen


def test_a_resumed_run_ends_where_an_unbroken_one_does(teacher: Field) -> None:
    settings = PvdSettings(0.0, 0.0, active=True, rays=64, samples=2048)

    def fresh() -> Fit:
        return Fit(pvd_student(_ladder(teacher, "hash_grid", 6), settings), Budget(steps=150))

    whole, first = fresh(), fresh()
    whole.run()
    with pytest.raises(_Stop):
        first.run([_stop_after(120)])
    assert first.trainee.stages[0].rung.hard_cameras.full  # the pools are in use when the run breaks
    second = fresh()
    second.load_state(first.state())
    second.run()
    for name, tensor in whole.trainee.field.state_dict().items():
        assert torch.equal(tensor, second.trainee.field.state_dict()[name]), name


class _Stop(Exception):
    pass


def _stop_after(step: int):
    def watch(moment: Moment, losses: dict[str, float], fit: Fit) -> None:
        if moment.step == step:
            raise _Stop

    return watch
