"""Scenes that learn from a prior: known optima, every rule on every kind of student, cameras, penalties."""

from dataclasses import replace
from itertools import cycle, product
from types import SimpleNamespace

import pytest
import torch

from volkit.evaluation.metrics import psnr
from volkit.generation import CameraSampler, ConditionBuilder, Penalties, ScoreObjective, ScoreTrainee
from volkit.generation.mesh_particle import MeshParticle
from volkit.generation.penalties import distortion, entropy, orientation
from volkit.generation.scenes import LEARNABLE, build_particle, build_scene, coarse_first
from volkit.geometry import Domain
from volkit.guidance import METHODS, Cfg, Conditions, Guidance, Method, MixturePrior
from volkit.guidance.ramps import Ramp
from volkit.guidance.ratio import ExactRatio
from volkit.guidance.weights import sigma_over_alpha
from volkit.representations import Mesh
from volkit.training.loop import Budget, StepInfo, TrainingLoop

SIZE = 12
AROUND = CameraSampler(size=SIZE, elevation=(0.0, 0.0), distance=(4.0, 4.0), field_of_view=(40.0, 40.0))
WHITE = (1.0, 1.0, 1.0)


@pytest.fixture(autouse=True)
def one_thread():
    """These are many small steps: two threads wait for each other at each."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def ball(colour, cameras):
    """A ball of radius .7 at the origin, over white: the same disc from everywhere, with soft edges."""
    focal, width = cameras.intrinsics[0, 0], int(cameras.size[0, 0])
    x = torch.arange(width) + 0.5 - width / 2
    away = (x[:, None].square() + x[None].square()).sqrt()
    radius = focal * 0.7 / (16.0 - 0.49) ** 0.5
    opacity = (radius - away + 0.5).clamp(0.0, 1.0)[..., None]
    picture = opacity * torch.tensor(colour) + 1.0 - opacity
    return picture.expand(len(cameras), width, width, 3)


def mixture():
    """A red and a blue ball, each seen from eight sides, in the prior's values."""
    cameras = AROUND.turntable(8, SIZE)
    means = torch.cat([ball(colour, cameras) for colour in ((0.9, 0.2, 0.1), (0.1, 0.2, 0.9))]).movedim(-1, 1)
    directions = torch.nn.functional.normalize(cameras.centres, dim=-1).repeat(2, 1)
    labels = ("red",) * 8 + ("blue",) * 8
    return MixturePrior(means.double(), torch.full((16,), 0.01).double(), labels, directions.double())


def words(prior, cameras):
    count = len(cameras)
    red, every, blue = (prior.embed([text] * count) for text in ("red", "", "blue"))
    return Conditions(red, every, negative=blue, source=blue, critic=every)


def asked(prior):
    source = lambda cameras, background: ball((0.1, 0.2, 0.9), cameras)  # noqa: E731
    tell = lambda cameras, background: torch.nn.functional.normalize(cameras.centres, dim=-1).double()  # noqa: E731
    return ConditionBuilder(lambda cameras: words(prior, cameras), tell, source, WHITE)


def sphere():
    """Grey, with uv of its own."""
    import trimesh

    made = trimesh.creation.icosphere(2, 0.5)
    vertices, faces = torch.from_numpy(made.vertices).float(), torch.from_numpy(made.faces)
    around = torch.atan2(vertices[:, 1], vertices[:, 0]) / (2 * torch.pi) + 0.5
    uv = torch.stack([around, 0.5 - 0.5 * vertices[:, 2] / 0.51], -1)[faces.long()]
    texture = torch.full((16, 16, 4), 128, dtype=torch.uint8)
    texture[..., 3] = 255
    return Mesh.of(vertices, faces, corner_uv=uv, texture=texture)


def particle(kind, generator):
    if kind == "mesh":
        return MeshParticle(sphere(), Penalties(smoothness=0.01))
    return begun(kind, Penalties(), generator)


def begun(kind, penalties, generator):
    return build_particle(build_scene(kind, AROUND, 1.0, generator, max_splats=400), penalties, generator, 400)


def student(kind, method, generator, count=1, views=4):
    prior = mixture()
    critic = replace(prior, variances=prior.variances + 0.05)
    guidance = Guidance(prior, method, critic, ExactRatio(prior, critic))
    objective = ScoreObjective(guidance, asked(prior), replace(AROUND, elevation=(-15.0, 15.0)), views, generator)
    return ScoreTrainee([particle(kind, generator) for _ in range(count)], objective)


def likeness(trainee):
    """PSNR to the red ball from places between those that the mixture knows."""
    cameras = replace(AROUND, elevation=(10.0, 10.0)).turntable(5, SIZE)
    drawn = trainee.particles[0].draw(cameras, StepInfo(0, 0.0, 1.0)).over(torch.ones(5, 3)).detach()
    return psnr(drawn.flatten(0, 1), ball((0.9, 0.2, 0.1), cameras).flatten(0, 1))


@pytest.mark.parametrize("kind", ["hash_grid", "voxels", "splats", "mesh"])
def test_the_known_optimum_is_reached(kind):
    """The component of these words from this side: a red ball. What is left are its edges, a pixel of 12 wide."""
    generator = seeded()
    trainee = student(kind, Method(combine=Cfg(1.0), weight=sigma_over_alpha), generator)
    before = likeness(trainee)
    TrainingLoop(trainee, Budget(steps=150)).run()
    # A disc whose outline is a quarter of a pixel off has 25 dB; what there is at the start, grey, has less than 16.
    assert likeness(trainee) > 25.0 > 16.0 > before


@pytest.mark.parametrize(("name", "kind"), [*zip(METHODS, cycle(["hash_grid", "splats", "mesh"]))])
def test_every_rule_moves_what_it_sees(name, kind):
    """Two steps with an exact critic: finite losses, and every group of parameters has learnt.

    Rules know pictures alone, so that one kind for each is enough.
    """
    generator = seeded()
    trainee = student(kind, METHODS[name](), generator, views=2)
    before = {group.name: group.parameters[0].detach().clone() for group in trainee.groups()}
    TrainingLoop(trainee, Budget(steps=2)).run()
    for group in trainee.groups():
        if group.name != "0.sh_rest" and len(group.parameters[0]) == len(before[group.name]):
            assert not torch.equal(group.parameters[0], before[group.name]), group.name


@pytest.mark.parametrize("kind", [*LEARNABLE, "mesh"])
def test_every_kind_learns(kind):
    trainee = student(kind, METHODS["sds"](), seeded(), views=1)
    TrainingLoop(trainee, Budget(steps=2)).run()
    assert all(torch.isfinite(p).all() for group in trainee.groups() for p in group.parameters)


def test_particles_learn_apart():
    """Two particles of one critic: their gradients are those of two runs, and growth of one leaves the other alone."""
    trainee = student("splats", METHODS["vsd"](), seeded(), count=2)
    TrainingLoop(trainee, Budget(steps=40)).run()
    first, second = (one.scene.means for one in trainee.particles)
    assert {group.name.split(".")[0] for group in trainee.groups()} == {"0", "1"}
    assert first.shape != second.shape or not torch.equal(first, second)


def test_penalties_are_named_and_differentiable():
    generator = seeded()
    penalties = Penalties(opacity=1.0, entropy=1.0, distortion=1.0, orientation=1.0, smoothness=1.0)
    one = begun("hash_grid", penalties, generator)
    said = one.draw(AROUND.turntable(2, SIZE), StepInfo(0, 0.0, 0.0)).penalties
    assert set(said) == {"opacity", "entropy", "distortion", "orientation", "smoothness"}
    for name, term in said.items():
        gradient = one.scene.table.grad  # what the fog has left; sampling adds to it in place
        gradient.zero_()
        term.backward(retain_graph=True)
        assert torch.isfinite(gradient).all() and gradient.abs().sum() > 0, name


def test_penalties_are_those_of_their_formulas():
    half = torch.tensor([0.25, 0.25, 0.5], dtype=torch.float64)
    assert float(entropy(half)) == pytest.approx(2 * 0.8112781244591328 + 1.0)  # bits of a biased and of a fair coin
    weights, middle = torch.rand(7, generator=seeded()), torch.tensor([1.0, 2, 4, 7, 0, 3, 5])
    ray, lengths = torch.tensor([0, 0, 0, 0, 1, 1, 1]), torch.tensor([0.5, 1, 2, 1, 0.3, 2, 1])
    samples = SimpleNamespace(midpoints=middle, lengths=lengths, ray=ray, offsets=torch.tensor([0, 4, 7]))
    whole = sum(
        float(weights[i] * weights[j] * (middle[i] - middle[j]).abs() / 2.0)
        for i, j in product(range(7), repeat=2)
        if ray[i] == ray[j]
    ) + float((weights.square() * lengths / 2.0).sum() / 3.0)
    assert float(distortion(weights, samples, 2.0)) == pytest.approx(whole, rel=1e-5)  # float32
    normals, directions = torch.eye(3), torch.tensor([[0.6, 0.0, 0.8], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]])
    assert float(orientation(torch.tensor([0.5, 1.0, 0.25]), normals, directions)) == pytest.approx(0.5 * 0.36 + 0.25)


def test_cameras_stand_where_they_are_said_to():
    around = CameraSampler(size=16, distance=(3.0, 5.0), field_of_view=(30.0, 50.0), elevation=(-20.0, 70.0))
    cameras = around.draw(400, 0.0, seeded())
    x, y, z = cameras.centres.unbind(-1)
    far = cameras.centres.norm(dim=-1)
    assert 3.0 <= far.min() < 3.1 and 4.9 < far.max() <= 5.0
    tilt = (z / far).asin().rad2deg()
    assert tilt.min() >= -20.001 and tilt.max() <= 70.001
    quarter = ((torch.atan2(x, -y) / (2 * torch.pi) + 0.5) * 4).long().clamp(0, 3)
    assert torch.bincount(quarter).tolist() == [100] * 4  # each has a stretch of its own
    assert torch.allclose(cameras.forward, -cameras.centres / far[:, None], atol=1e-5)
    front = replace(around, front=1.0).draw(400, 0.0, seeded())
    assert (front.centres[:, 1] < 0).float().mean() > 0.9  # within 90 degrees, two deviations
    four = around.draw(4, 0.0, seeded(), together=4)
    assert torch.allclose(four.centres.mean(0)[:2], torch.zeros(2), atol=1e-5)
    assert (four.centres[:, 2] == four.centres[0, 2]).all()


def test_pictures_of_a_field_are_coarse_while_nothing_is_known_to_be_empty():
    sides = lambda around: [around.draw(1, f, seeded()).size[0].tolist() for f in (0.0, 0.29, 0.31, 0.4, 1.0)]  # noqa: E731
    assert sides(coarse_first(CameraSampler(size=64))) == [[side] * 2 for side in (32, 32, 64, 64, 64)]
    assert sides(coarse_first(CameraSampler(size=32))) == [[32, 32]] * 5
    grows = coarse_first(CameraSampler(size=Ramp(((0.0, 64), (0.5, 128)))))
    assert sides(grows) == [[side] * 2 for side in (32, 32, 104, 115, 128)]
    assert grows.final().draw(1, 0.0, seeded()).size[0].tolist() == [128, 128]


def test_parameters_that_are_not_numbers_are_not_kept(tmp_path):
    from volkit.training.run import Checkpoint, TrainingRun

    fit = TrainingLoop(student("hash_grid", METHODS["sds"](), seeded()), Budget(steps=2))
    training = TrainingRun(Budget(steps=2), Checkpoint(tmp_path / "a.part", "test"))
    training.write_checkpoint(fit)
    before = training.checkpoint.path.read_bytes()
    fit.trainee.scene.table.data[3] = float("nan")
    with pytest.raises(FloatingPointError, match=r"scene\.table"):
        training.write_checkpoint(fit)
    assert training.checkpoint.path.read_bytes() == before


def test_domains_follow_the_advice():
    assert build_scene("voxels", AROUND, 2.5, seeded()).domain == Domain.cube(2.5)
