"""How splats begin and multiply: where photographs agree, on points, by ranks that no weight of a loss moves."""

import json
import math

import numpy as np
import pytest
import torch
from plyfile import PlyData, PlyElement

from volkit.cli import main
from volkit.distillation.splat_start import (
    initialise_splats,
    neighbour_distances,
    photo_consistency,
    photo_consistent_points,
)
from volkit.distillation.splat_training import PhotographViews, SplatTrainee
from volkit.distillation.strategies import DefaultStrategy, MCMCStrategy, ViewRecord, add_noise
from volkit.geometry import Cameras, Domain
from volkit.io import FormatError, load
from volkit.io.fields.analytic_scene import bundled
from volkit.io.splats.point_cloud import read_points
from volkit.ops.splat import Projected
from volkit.rendering.splatting import SplatRenderer
from volkit.representations import Splats, SplatsConfig
from volkit.training.loop import Budget, StepInfo, TrainingLoop

BOX = Domain.cube(1.0)


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _ring(count: int = 12) -> Cameras:
    turn = torch.arange(count) * (2 * math.pi / count)
    centres = torch.stack([4.0 * turn.cos(), 4.0 * turn.sin(), torch.tensor(1.0).expand(count)], -1)
    return Cameras.looking_at(centres, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]), 60.0, (48, 48))


def _ball_pictures(cameras: Cameras, radius: float = 0.5) -> tuple[torch.Tensor, ...]:
    """A flat red ball, transparent around it."""
    images = []
    for index in range(len(cameras)):
        rays = cameras.picture_rays(index)
        nearest = rays.origins - (rays.origins * rays.directions).sum(-1, keepdim=True) * rays.directions
        hit = (nearest.norm(dim=-1) < radius).view(48, 48, 1)
        images.append(torch.where(hit, torch.tensor([200, 0, 0, 255]), 0).to(torch.uint8))
    return tuple(images)


@pytest.mark.parametrize("contracted", [False, True])
def test_spacing_against_all_distances(contracted):
    domain = Domain.cube(0.5 if contracted else 1.0, contracted)
    points = 2.0 * torch.rand(3000, 3, generator=_seeded()) - 1.0
    points[:, 2] *= 0.1
    exact = torch.cdist(points, points).topk(4, largest=False).values[:, 1:].mean(1)
    ratio = neighbour_distances(points, domain) / exact
    # never less than the truth (float32 of cdist); along six curves a neighbour is missed now and then
    assert ratio.min() > 0.99 and ratio.median() < 1.1 and ratio.quantile(0.99) < 2.0


def test_spacing_of_one_point_and_of_two():
    assert neighbour_distances(torch.zeros(1, 3), BOX).tolist() == pytest.approx([BOX.diagonal])
    assert neighbour_distances(torch.tensor([[0.0, 0.0, 0.0], [0.3, 0.0, 0.0]]), BOX).tolist() == pytest.approx(
        [0.3, 0.3]
    )


def test_a_shake_is_as_large_as_the_splat_allows():
    splats = SplatsConfig(4000, 0, lr_means=123.0).build(BOX, _seeded())  # the rate of means does not matter
    with torch.no_grad():
        splats.log_scales.fill_(math.log(0.02))
        splats.logits.fill_(-20.0)
    before = splats.means.detach().clone()
    add_noise(splats, 10.0, _seeded())
    moved = (splats.means.detach() - before).std().item()
    faintness = 1.0 / (1.0 + math.exp(-0.5))
    assert moved == pytest.approx(10.0 * 0.02**2 * faintness, rel=0.03)  # of 12 000 normal numbers


def test_no_splat_is_thrown_far():
    splats = SplatsConfig(4000, 0).build(BOX, _seeded())
    with torch.no_grad():
        splats.log_scales.fill_(math.log(50.0))
        splats.logits.fill_(-20.0)
    before = splats.means.detach().clone()
    add_noise(splats, 10.0, _seeded())
    moved = (splats.means.detach() - before).std().item()
    assert moved == pytest.approx(2.0 * 50.0 / (1.0 + math.exp(-0.5)), rel=0.03)  # of 12 000 normal numbers


def test_the_error_is_blamed_on_who_draws_it():
    cameras, chain = _ring(1), MCMCStrategy(100)
    opaque = tuple(image[..., :3] for image in _ball_pictures(cameras))
    splats = SplatsConfig(100, 0).build(BOX, _seeded())
    student = SplatTrainee(splats, PhotographViews(cameras, opaque), _seeded(), chain)
    losses = student.losses(StepInfo(0, 0.0, 0.0))
    sum(losses.values.values()).backward()
    again = _seeded()
    torch.randperm(1, generator=again)
    background = torch.rand(3, generator=again)
    with torch.no_grad():
        picture = SplatRenderer()(splats, cameras)
    error = (picture.over(background) - opaque[0] / 255.0).abs()
    shares = losses.record.errors.grad
    assert shares is not None
    # what splats add up to is opacity, so shares add up to the error where splats are; float32 sums
    shown = (picture.opacity[..., None] * error).sum() / 3
    assert shares.sum().item() == pytest.approx(shown.item(), rel=1e-4)


def test_more_splats_come_where_the_error_is():
    splats = SplatsConfig(100, 0).build(BOX, _seeded())
    guilty = splats.means.detach()[7].clone()
    known = {"rounds": 0, "shares": torch.eye(100)[7]}
    known, change = MCMCStrategy(max_splats=110, growth=1.5).relocate_dead(splats, known, _seeded())
    assert len(known["shares"]) == 110 and change is not None and len(splats) == 110
    assert (splats.means[100:] == guilty).all() and (splats.opacities[100:] < 0.1).all()


def test_what_pictures_say_about_points():
    cameras = _ring()
    points = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.9], [40.0, 0.0, 0.0]])
    said = photo_consistency(points, cameras, _ball_pictures(cameras), 0.1)
    assert said.possible.tolist() == [True, False, False]
    torch.testing.assert_close(said.colours[0], torch.tensor([200 / 255, 0.0, 0.0]))
    assert said.views[0] == 12 and said.deviation[0] < 1e-3


def test_splats_begin_inside_the_visual_hull():
    cameras = _ring()
    splats = SplatsConfig(500, 1).build(BOX, _seeded())
    world, colours = photo_consistent_points(splats, cameras, _ball_pictures(cameras), 0.1, _seeded())
    assert 0 < len(world) <= 500
    assert (world[:, :2].norm(dim=-1) < 0.55).all()  # the ball's radius and a pixel, 0.07; cameras stand on a ring
    initialise_splats(splats, world, colours, torch.Generator().manual_seed(0))
    assert len(splats) == len(world) and splats.opacities.mean().item() == pytest.approx(0.1, abs=1e-4)
    assert (splats.sh_dc[:, 0, 0] > 0).all() and (splats.sh_dc[:, 0, 1] < 0).all()


def test_open_space_is_begun_beyond_the_box():
    cameras = _ring()
    splats = SplatsConfig(500, 1).build(Domain.cube(0.5, contracted=True), _seeded())
    opaque = tuple(image[..., :3] for image in _ball_pictures(cameras))
    world, _ = photo_consistent_points(splats, cameras, opaque, 0.1, _seeded())
    assert len(world) == 500 and (world.norm(dim=-1) > 2.0).any() and (world.norm(dim=-1) < 20.0).all()


def _pulled(pull: torch.Tensor) -> ViewRecord:
    """One view in which every splat is seen and pulled at."""
    means, flat = torch.zeros(len(pull), 2, requires_grad=True), torch.ones(len(pull))
    (means[:, 0] * pull).sum().backward()
    return ViewRecord(Projected(means, flat, flat, flat, flat, torch.ones(len(pull), 2)), torch.zeros(0))


@pytest.mark.parametrize("weight", [1.0, 1e-6])
def test_the_most_pulled_multiply_whatever_the_weight_of_the_loss(weight):
    splats = SplatsConfig(100, 0).build(BOX, _seeded())
    with torch.no_grad():
        splats.log_scales.fill_(math.log(0.2 * BOX.diagonal))
        splats.log_scales[:5] = math.log(1e-3 * BOX.diagonal)
        splats.logits.fill_(0.0)
        splats.logits[50] = -20.0
    before = splats.means.detach().clone()
    classic = DefaultStrategy(max_splats=1000, growth=1.095, begin=0.0)
    pull = torch.zeros(100)
    pull[:10] = weight
    known = classic.initialize_state(splats)
    _, change = classic.post_backward(splats, known, _pulled(pull), StepInfo(1, 1.0, 0.01), _seeded())
    assert change is not None and change.rows is not None and len(splats) == 109  # ten more, the faint one less
    assert 50 not in change.rows.tolist()
    torch.testing.assert_close(splats.means[99:104], before[:5])  # small ones are cloned where they are
    torch.testing.assert_close(splats.log_scales[5:10], torch.full((5, 3), math.log(0.2 * BOX.diagonal / 1.6)))
    assert (splats.means[5:10] != before[5:10]).all() and (splats.means[104:] != before[5:10]).all()
    assert (change.rows[:5] == torch.arange(5)).all() and (change.rows[99:] == -1).all()


def test_opacities_begin_again_now_and_then():
    splats = SplatsConfig(10, 0).build(BOX, _seeded())
    classic = DefaultStrategy(resets=(0.3,), begin=0.9, end=0.95)
    known = classic.initialize_state(splats)
    for fraction, opacity in ((0.2, 0.1), (0.35, 0.01)):
        view = _pulled(torch.ones(10))
        known, _ = classic.post_backward(splats, known, view, StepInfo(1, 1.0, fraction), _seeded())
        assert splats.opacities.max().item() == pytest.approx(opacity, rel=1e-4)


def test_a_classic_run_is_taken_up_where_it_was():
    cameras = _ring()

    def fit(steps: int) -> TrainingLoop:
        splats = SplatsConfig(200, 1).build(BOX, _seeded())
        views = PhotographViews(cameras, _ball_pictures(cameras))
        return TrainingLoop(SplatTrainee(splats, views, _seeded(), DefaultStrategy(300, rounds=4)), Budget(steps=steps))

    whole, half, rest = fit(24), fit(24), fit(24)
    whole.run()

    class Stop(Exception): ...

    def stop(info, values, at) -> None:
        if info.step == 12:
            raise Stop

    with pytest.raises(Stop):
        half.run([stop])
    rest.load_state(half.state())
    rest.run()
    for name in ("means", "logits"):
        assert torch.equal(getattr(rest.trainee.scene, name), getattr(whole.trainee.scene, name))


def _cloud(path, points) -> None:
    table = np.array([tuple(p) for p in points], dtype=[("x", "f4"), ("y", "f4"), ("z", "f4")])
    PlyData([PlyElement.describe(table, "vertex")]).write(path)


def test_points_of_a_file(tmp_path):
    _cloud(tmp_path / "a.ply", [(1, 2, 3), (math.nan, 0, 0), (4, 5, 6)])
    assert read_points(tmp_path / "a.ply").tolist() == [[1, 2, 3], [4, 5, 6]]
    _cloud(tmp_path / "none.ply", [(math.inf, 0, 0)])
    (tmp_path / "torn.ply").write_bytes((tmp_path / "a.ply").read_bytes()[:-5])
    (tmp_path / "text.ply").write_text("hello")
    for name in ("none.ply", "torn.ply", "text.ply", "absent.ply"):
        with pytest.raises(FormatError, match=name):
            read_points(tmp_path / name)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start")
    assert main(["render", str(bundled("primitives")), str(folder / "pictures"), "--size", "48"]) == 0
    return folder


def test_fits_that_begin_at_a_cloud(pictures):
    points = (0.4 * torch.randn(600, 3, generator=_seeded())).tolist()
    _cloud(pictures / "cloud.ply", points)
    words = ["fit", str(pictures / "pictures"), str(pictures / "a.ply"), "--to", "splats", "--budget", "1", "--force"]
    assert main([*words, "--start", str(pictures / "cloud.ply")]) == 0
    splats = load(pictures / "a.ply")
    assert isinstance(splats, Splats) and 0 < len(splats) <= 600
    gaps = torch.cdist(splats.means.detach(), torch.tensor(points)).amin(1)
    assert gaps.median() < 0.05  # one step from the points


def test_a_cloud_that_nobody_sees_is_refused(pictures, capsys):
    _cloud(pictures / "far.ply", [(900.0, 900.0, 900.0)])
    words = ["fit", str(pictures / "pictures"), str(pictures / "b.ply"), "--to", "splats", "--budget", "1"]
    assert main([*words, "--start", str(pictures / "far.ply")]) == 1
    assert "no camera sees" in capsys.readouterr().err
    assert main(["fit", str(pictures / "pictures"), str(pictures / "c.safetensors"), "--densify", "classic"]) == 2
    assert "--to splats" in capsys.readouterr().err


def test_classic_densification_learns(pictures, capsys):
    words = ["fit", str(pictures / "pictures"), str(pictures / "d.safetensors"), "--to", "splats", "--budget", "400"]
    assert main([*words, "--max-splats", "3000", "--densify", "classic"]) == 0
    capsys.readouterr()
    assert main(["compare", str(pictures / "d.safetensors"), str(pictures / "pictures"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["psnr"] > 20.0  # an untrained start has 10; measured 22.6
