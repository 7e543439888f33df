"""Teachers that answer with pictures: pieces as they are needed, a model of their density, where their scene is."""

import math
from dataclasses import replace

import pytest
import torch

from volkit.distillation.density_cloud import DensityCloud, density_cloud, occupied_cells, voxelise
from volkit.distillation.distill import DistillSettings, trainee_from_teacher
from volkit.distillation.pixels import FIRST_WINDOWS, WINDOW_INTERVAL, TeacherPixels
from volkit.geometry import Domain
from volkit.rendering.renderer import renderer_for
from volkit.rendering.viewpoints import orbit_cameras, random_windows
from volkit.representations import HashGridConfig, Mesh, Splats, SplatsConfig
from volkit.representations.splat_extent import core_box, core_sphere
from volkit.training.loop import Budget, TrainingLoop


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ball(count: int = 300, opacity: float = 0.8) -> Splats:
    """Red splats all over a ball of radius 0.5."""
    splats = SplatsConfig(count, degree=1).build(Domain.cube(1.0), seeded())
    with torch.no_grad():
        outward = torch.randn(count, 3, generator=seeded(1))
        splats.means.copy_(0.5 * outward / outward.norm(dim=-1, keepdim=True))
        splats.log_scales.fill_(math.log(0.05))
        splats.logits.fill_(math.log(opacity / (1.0 - opacity)))
        splats.sh_dc.copy_(torch.tensor([1.0, -1.0, -1.0]).expand(count, 1, 3))
    return splats.requires_grad_(False)


def square() -> Mesh:
    corners = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    colours = torch.tensor([[255, 0, 0, 255]] * 4, dtype=torch.uint8)
    return Mesh.of(corners, torch.tensor([[0, 1, 2], [0, 2, 3]]), colours=colours)


@pytest.mark.parametrize("opacity", [0.1, 0.6, 0.95])
def test_a_splat_stops_as_much_light_as_in_its_pictures(opacity):
    splats = ball(1, opacity)
    splats.log_scales.copy_(torch.tensor([[0.3, 0.2, 0.1]]).log())
    found = float(density_cloud(splats, 0.0, seeded()).depth.sum())
    r = torch.linspace(0.0, 8.0, 20001, dtype=torch.float64)
    line = torch.trapezoid(-torch.log1p(-opacity * torch.exp(-0.5 * r * r)) * 2.0 * torch.pi * r, r)
    u = torch.nn.functional.normalize(torch.randn(200_000, 3, generator=seeded(), dtype=torch.float64), dim=-1)
    across = torch.tensor([0.2 * 0.1, 0.3 * 0.1, 0.3 * 0.2], dtype=torch.float64)
    area = (u * across).norm(dim=-1).mean()
    assert found == pytest.approx(float(line * area), rel=0.015)  # Thomsen's formula: 1.1 %


@pytest.mark.parametrize("contracted", [False, True])
def test_voxels_hold_what_the_cloud_holds(contracted):
    """Whatever the cells measure, density times volume adds up to the points' optical depth times area."""
    domain = replace(Domain.cube(0.4), contracted=contracted)
    cloud = density_cloud(ball(), 0.0, seeded())
    inside = ((domain.unit_from_local(cloud.positions) - 0.5).abs() < 0.5).all(-1)
    assert bool(inside.all()) == contracted
    voxels = voxelise(cloud, domain, 32)
    cells = voxels._voxels()
    shift = torch.rand(20, len(cells), 3, generator=seeded())
    corners = [domain.local_from_unit((cells + s) / 32) for s in (0.0, 1.0)]
    if contracted:  # volume by the determinant at random points of each cell
        from torch.func import jacrev, vmap

        unit = ((cells + shift) / 32).reshape(-1, 3)
        jacobian = vmap(jacrev(lambda u: domain.local_from_unit(u[None])[0]))(unit.double())
        volume = torch.linalg.det(jacobian).abs().reshape(20, -1).mean(0).float() / 32**3
    else:
        volume = (corners[1] - corners[0]).prod(-1)
    total = float((voxels.density_data.detach()[:, 0] * volume).sum())
    # float32; where space is contracted, the determinant at a cell's middle stands for its volume
    assert total == pytest.approx(float(cloud.depth[inside].sum()), rel=0.05 if contracted else 1e-4)
    held = voxels.density_data[:, 0] > 0
    assert torch.allclose(voxels.sh_data[held][:, ::9], torch.tensor([1.0, -1.0, -1.0]), atol=1e-4)  # a mean of equals


@pytest.mark.parametrize("teacher", [ball(), square()], ids=["splats", "mesh"])
def test_the_model_looks_like_the_teacher(teacher):
    domain = Domain.cube(1.1)
    cloud = density_cloud(teacher, 0.01, seeded())
    camera = orbit_cameras(teacher, 4, 48)[[0]]
    model = voxelise(cloud, domain, 64)
    ours, theirs = (renderer_for(scene)(scene, camera) for scene in (model, teacher))
    assert (ours.over(torch.ones(3)) - theirs.over(torch.ones(3))).square().mean() < 0.02  # white itself: 0.2
    marked = occupied_cells(cloud, domain)
    assert 0.001 < marked.float().mean() < 0.2  # a shell, not the box
    assert (ours.opacity[theirs.opacity > 0.9] > 0.6).float().mean() > 0.9  # cells of 1 / 64 are wider than its edges


def test_an_empty_cloud_marks_nothing():
    cloud = DensityCloud(torch.zeros(0, 3), torch.zeros(0), torch.zeros(0, 27))
    assert not occupied_cells(cloud, Domain.cube(1.0)).any()
    assert len(voxelise(cloud, Domain.cube(1.0), 16).density_data) == 0


def test_windows_look_where_their_pictures_do():
    cameras = orbit_cameras(ball(), 3, 50)
    pieces = random_windows(cameras, 8, 20, seeded())
    assert pieces.size.tolist() == [[20, 20]] * 8
    assert len(pieces.centres[:3].unique(dim=0)) == 3  # each once before any twice
    for index in range(8):
        whole = (cameras.centres - pieces.centres[index]).norm(dim=-1).argmin()
        corner = cameras.intrinsics[whole, 2:] - pieces.intrinsics[index, 2:]
        assert (corner >= 0).all() and (corner <= 30).all()
        pixel = torch.tensor([[7.5, 3.5]])
        ours, theirs = pieces.rays(torch.tensor([index]), pixel), cameras.rays(whole[None], pixel + corner)
        assert torch.equal(ours.directions, theirs.directions)


def test_small_pictures_are_asked_for_whole():
    pieces = random_windows(orbit_cameras(ball(), 3, 16), 5, 20, seeded())
    assert pieces.size.tolist() == [[16, 16]] * 5 and (pieces.intrinsics[:, 2:] == 8.0).all()


def test_pixels_are_those_of_the_teacher_and_come_bit_by_bit():
    teacher, cameras = ball(), random_windows(orbit_cameras(ball(), 40, 32), FIRST_WINDOWS + 4, 16, seeded())
    source, generator = TeacherPixels(teacher, cameras), seeded()
    seen = set()
    for draw in range(6 * WINDOW_INTERVAL):
        drawn = source.draw(200, generator)
        known = min(FIRST_WINDOWS + draw // WINDOW_INTERVAL, len(cameras))
        assert int(drawn.drawn.camera.max()) < known == len(source.pixels.cameras)
        seen |= set(drawn.drawn.camera.tolist())
        source.update(drawn, torch.rand(200, generator=generator))
    assert len(seen) == len(cameras)
    index = int(drawn.drawn.camera[0])
    picture = renderer_for(teacher)(teacher, cameras[[index]])
    rows = drawn.drawn.camera == index
    column, row = drawn.drawn.pixels[rows].long().unbind(-1)
    # half a step of 8 bits
    torch.testing.assert_close(
        drawn.colour[rows], picture.rgb[0, row, column].clamp(0, 1), atol=0.5 / 255 + 1e-6, rtol=0
    )
    torch.testing.assert_close(drawn.opacity[rows], picture.opacity[0, row, column], atol=0.5 / 255 + 1e-6, rtol=0)


@pytest.mark.parametrize("done", [0, 1, WINDOW_INTERVAL, WINDOW_INTERVAL + 1, 10 * WINDOW_INTERVAL])
def test_a_source_that_was_stored_goes_on_alike(done):
    cameras = random_windows(orbit_cameras(ball(), 40, 32), FIRST_WINDOWS + 4, 16, seeded())
    first, second, generator = TeacherPixels(ball(), cameras), TeacherPixels(ball(), cameras), seeded()
    for _ in range(done):
        drawn = first.draw(50, generator)
        first.update(drawn, drawn.colour[:, 0])
    second.load_state(first.state())
    after = [source.draw(50, seeded(7)) for source in (first, second)]
    for name in ("colour", "opacity"):
        assert torch.equal(getattr(after[0], name), getattr(after[1], name))


@pytest.mark.parametrize("teacher", [ball(), square()], ids=["splats", "mesh"])
def test_resumed_conversions_end_where_unbroken_ones_do(teacher):
    def fresh() -> TrainingLoop:
        student = HashGridConfig(levels=3, log2_table=9, width=16).build(Domain.cube(1.1), seeded())
        return TrainingLoop(
            trainee_from_teacher(teacher, student, DistillSettings(size=24), seeded()), Budget(steps=24)
        )

    whole, broken, again = fresh(), fresh(), fresh()
    stored = {}

    def stop(info, losses, fit):
        if info.step == 13:
            stored.update(_copied(fit.state()))

    whole.run()
    broken.run([stop])
    again.load_state(stored)
    again.run()
    ours, theirs = (fit.trainee.scene.state_dict() for fit in (whole, again))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def _copied(value):
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_copied, value)) if not hasattr(value, "_fields") else value
    return value.clone() if isinstance(value, torch.Tensor) else value


def _with_floaters(count: int, away: float, scale: float) -> Splats:
    splats = ball(300 + count)
    splats.means[:count] *= 2.0 * away
    splats.log_scales[:count] = math.log(scale)
    return splats


def test_floaters_move_neither_domain_nor_cameras():
    plain, strewn = ball(), _with_floaters(6, 50.0, 0.05)
    assert not core_box(strewn).contracted
    torch.testing.assert_close(
        torch.tensor(core_box(strewn).upper), torch.tensor(core_box(plain).upper), atol=0.05, rtol=0
    )
    far = [orbit_cameras(splats, 4, 16).centres.norm(dim=-1).mean() for splats in (plain, strewn)]
    assert far[1] < 1.5 * far[0]  # the fence is 1.4 times as far as three quarters of a ball's surface
    assert core_sphere(plain)[1] == pytest.approx(0.5, rel=0.2)  # the median of 300 points is not quite the middle


def test_a_lit_background_makes_a_scene_unbounded():
    domain = core_box(_with_floaters(20, 20.0, 1.0))
    assert domain.contracted and domain.extent[0] == pytest.approx(core_box(ball()).extent[0], rel=0.1)


def test_a_splat_alone_and_none_have_a_domain():
    assert max(core_box(ball(1)).extent) < 0.5
    empty = ball(0)
    assert core_box(empty) == Domain.cube(1.0) and core_sphere(empty)[1] > 0
