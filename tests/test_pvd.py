"""PVD and PVD-AL: schedule and losses against values worked out by hand, and a tiny conversion."""

import math
from typing import Any

import pytest
import torch

from volkit.distillation.pvd_objective import METHODS, PvdObjective, PvdSettings
from volkit.distillation.pvd_student import initialise_density, pvd_groups, pvd_schedule, pvd_trainee, share_heads
from volkit.distillation.stages import FieldPair
from volkit.geometry import Domain, Points
from volkit.ops.composite import composite
from volkit.ops.param_group import ParamGroup
from volkit.rendering.viewpoints import orbit_cameras
from volkit.representations import HashGridConfig, MlpConfig, PlanesConfig, TensorCPConfig, TensorVMConfig, VoxelsConfig
from volkit.representations.field import Field, FieldSample
from volkit.sampling.occupancy import OccupancySampler, stride_for
from volkit.sampling.occupancy_grid import fill_occupancy
from volkit.training.loop import Budget, StepInfo, TrainingLoop

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
        return self.query(points), self.feature.expand(len(points), -1) if self.featured else None

    def param_groups(self) -> list[ParamGroup]:
        return [ParamGroup("all", tuple(self.parameters()), 1e-2)]


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def teacher() -> Field:
    ball = _Ball(featured=True).requires_grad_(False)
    fill_occupancy(ball, STEP, _generator(), samples=2)
    return ball


def _rung(teacher: Field, settings: PvdSettings, seed: int = 0) -> PvdObjective:
    generator = _generator(seed)
    cameras = orbit_cameras(teacher, 24, 48, generator)
    sampler = OccupancySampler(teacher, STEP, 0.0, generator)
    return PvdObjective(teacher, cameras, sampler, lambda rays: rays, settings, generator)


def _moment(fraction: float, step: int = 0) -> StepInfo:
    return StepInfo(step, 0.0, fraction)


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
    ladder = FieldPair(teacher.requires_grad_(False), student, cameras, lambda rays: rays, STEP, 0.0, generator)
    trainee = pvd_trainee(ladder, PvdSettings(1.0, 1.0, feature_decay=1.0, rays=64, samples=2048))
    before = trainee.losses(_moment(0.0)).values
    assert set(before) == {"feature"}
    TrainingLoop(trainee, Budget(steps=60), pvd_schedule(student)).run()
    assert trainee.losses(_moment(0.0)).values["feature"] < 0.8 * before["feature"]  # 60 steps: well on the way


@pytest.mark.parametrize("kind", sorted(SMALL))
def test_start_densities_lie_within_the_clamp(kind: str) -> None:
    domain = Domain.cube(2.5)
    student = SMALL[kind].build(domain, _generator())
    initialise_density(student)
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


def _ladder(teacher: Field, kind: str, seed: int) -> FieldPair:
    generator = _generator(seed)
    student = SMALL[kind].build(DOMAIN, generator).placed_like(teacher)
    student.occupancy.copy_(teacher.occupancy)
    cameras = orbit_cameras(teacher, 24, 48, generator)
    return FieldPair(teacher, student, cameras, lambda rays: rays, STEP, 0.0, generator)


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("kind", sorted(SMALL))
def test_every_kind_learns(teacher: Field, kind: str, method: str) -> None:
    settings = METHODS[method]
    small = PvdSettings(settings.feature_until, settings.point_until, active=settings.active, rays=256, samples=4096)
    trainee = pvd_trainee(_ladder(teacher, kind, 5), small)
    judge = _rung(teacher, PvdSettings(0.0, 0.0, rays=512), seed=9)
    before = judge.losses(trainee.scene, _moment(0.9))["pixels"].item()
    TrainingLoop(trainee, Budget(steps=80), pvd_schedule(trainee.scene)).run()
    after = _rung(teacher, PvdSettings(0.0, 0.0, rays=512), seed=9).losses(trainee.scene, _moment(0.9))["pixels"].item()
    # A clear gain: 80 steps of 256 rays converge nowhere, and lines and a plain network have hardly begun.
    assert math.isfinite(after) and after < {"mlp": 0.95, "tensor_cp": 0.9}.get(kind, 0.7) * before
    assert torch.equal(trainee.scene.occupancy, teacher.occupancy)  # frozen


def test_a_resumed_run_ends_where_an_unbroken_one_does(teacher: Field) -> None:
    settings = PvdSettings(0.0, 0.0, active=True, rays=64, samples=2048)

    def fresh() -> TrainingLoop:
        return TrainingLoop(pvd_trainee(_ladder(teacher, "hash_grid", 6), settings), Budget(steps=150))

    whole, first = fresh(), fresh()
    whole.run()
    with pytest.raises(_Stop):
        first.run([_stop_after(120)])
    assert first.trainee.stages[0].objective.hard_cameras.full  # the pools are in use when the run breaks
    second = fresh()
    second.load_state(first.state())
    second.run()
    for name, tensor in whole.trainee.scene.state_dict().items():
        assert torch.equal(tensor, second.trainee.scene.state_dict()[name]), name


class _Stop(Exception):
    pass


def _stop_after(step: int):
    def watch(info: StepInfo, losses: dict[str, float], fit: TrainingLoop) -> None:
        if info.step == step:
            raise _Stop

    return watch
