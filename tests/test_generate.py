"""From words to assets: known optima, every rule on every kind of student, resuming, and what goes wrong."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from guidance import small_pipelines

import volkit
from volkit.cli import main
from volkit.distill.score import Around, Asked, FieldSitter, Penalties, ScoreRung, ScoreStudent
from volkit.fit import Budget, Fit, Moment
from volkit.geometry import Domain
from volkit.guidance import METHODS, Cfg, Conditions, Guidance, Method, MixturePrior
from volkit.guidance.ratio import ExactRatio
from volkit.guidance.weights import sigma_over_alpha
from volkit.jobs.generate import GenerateJob
from volkit.jobs.mesh_sitter import MeshSitter
from volkit.jobs.progress import Progress
from volkit.jobs.sitters import LEARNABLE, sitter_of
from volkit.metrics import psnr
from volkit.representations import Mesh

SIZE = 12
AROUND = Around(size=SIZE, elevation=(0.0, 0.0), distance=(4.0, 4.0), field_of_view=(40.0, 40.0))
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
    cameras = AROUND.middle(8, SIZE)
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
    return Asked(lambda cameras: words(prior, cameras), tell, source, WHITE)


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


def sitter(kind, generator):
    if kind == "mesh":
        return MeshSitter(sphere(), Penalties(smoothness=0.01))
    return sitter_of(kind, AROUND, 1.0, Penalties(), generator, most=400)


def student(kind, method, generator, count=1, views=4):
    prior = mixture()
    critic = replace(prior, variances=prior.variances + 0.05)
    guidance = Guidance(prior, method, critic, ExactRatio(prior, critic))
    rung = ScoreRung(guidance, asked(prior), AROUND, views, generator)
    return ScoreStudent([sitter(kind, generator) for _ in range(count)], rung, generator)


def likeness(trainee):
    """PSNR to the red ball from places between those that the mixture knows."""
    cameras = replace(AROUND, elevation=(10.0, 10.0)).middle(5, SIZE)
    drawn = trainee.sitters[0].draw(cameras, Moment(0, 0.0, 1.0)).over(torch.ones(5, 3)).detach()
    return psnr(drawn.flatten(0, 1), ball((0.9, 0.2, 0.1), cameras).flatten(0, 1))


@pytest.mark.parametrize("kind", ["hash_grid", "voxels", "splats", "mesh"])
def test_the_known_optimum_is_reached(kind):
    """The component of these words from this side: a red ball. What is left are its edges, a pixel of 12 wide."""
    generator = seeded()
    trainee = student(kind, Method(combine=Cfg(1.0), weight=sigma_over_alpha), generator)
    before = likeness(trainee)
    Fit(trainee, Budget(steps=150)).run()
    # A disc whose outline is half a pixel off has 19 dB; what there is at the start, grey, has less than 16.
    assert likeness(trainee) > 19.0 > 16.0 > before


@pytest.mark.parametrize("kind", ["hash_grid", "splats", "mesh"])
@pytest.mark.parametrize("name", METHODS)
def test_every_rule_moves_every_kind(name, kind):
    """Two steps with an exact critic: finite losses, and every group of parameters has learnt."""
    generator = seeded()
    trainee = student(kind, METHODS[name](), generator, views=2)
    before = {group.name: group.parameters[0].detach().clone() for group in trainee.groups()}
    Fit(trainee, Budget(steps=2)).run()
    for group in trainee.groups():
        if group.name != "0.sh_rest" and len(group.parameters[0]) == len(before[group.name]):
            assert not torch.equal(group.parameters[0], before[group.name]), group.name


@pytest.mark.parametrize("kind", [kind for kind in LEARNABLE if kind not in ("hash_grid", "splats")])
def test_every_kind_sits(kind):
    trainee = student(kind, METHODS["sds"](), seeded(), views=1)
    Fit(trainee, Budget(steps=2)).run()
    assert all(torch.isfinite(p).all() for group in trainee.groups() for p in group.parameters)


def test_particles_learn_apart():
    """Two particles of one critic: their gradients are those of two runs, and growth of one leaves the other alone."""
    trainee = student("splats", METHODS["vsd"](), seeded(), count=2)
    Fit(trainee, Budget(steps=40)).run()
    first, second = (one.scene.means for one in trainee.sitters)
    assert {group.name.split(".")[0] for group in trainee.groups()} == {"0", "1"}
    assert first.shape != second.shape or not torch.equal(first, second)


def test_penalties_are_named_and_differentiable():
    generator = seeded()
    penalties = Penalties(opacity=1.0, entropy=1.0, distortion=1.0, orientation=1.0, smoothness=1.0)
    one = sitter_of("hash_grid", AROUND, 1.0, penalties, generator)
    said = one.draw(AROUND.middle(2, SIZE), Moment(0, 0.0, 0.0)).penalties
    assert set(said) == {"opacity", "entropy", "distortion", "orientation", "smoothness"}
    for name, term in said.items():
        one.scene.zero_grad()
        term.backward(retain_graph=True)
        gradient = one.scene.table.grad
        assert torch.isfinite(gradient).all() and gradient.abs().sum() > 0, name


def test_cameras_stand_where_they_are_said_to():
    around = Around(size=16, distance=(3.0, 5.0), field_of_view=(30.0, 50.0), elevation=(-20.0, 70.0))
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


@pytest.fixture(scope="module")
def prior(tmp_path_factory) -> Path:
    """A small pipeline of pictures that is told a camera, with random weights."""
    folder = tmp_path_factory.mktemp("prior") / "pixels"
    camera = dict(class_embed_type="projection", projection_class_embeddings_input_dim=16)
    small_pipelines.pixels(folder, "v_prediction", sample_size=16, **camera)
    advice = {"size": 12, "scale": 5.0, "bounded": True, "sides": False, "camera": "circle", "views": 2}
    (folder / "distillation.json").write_text(json.dumps(advice))
    return folder


def job(prior, target, **changes):
    return GenerateJob("a b", target, prior=str(prior), budget="3", checkpoint_seconds=0.0, **changes)


@pytest.mark.parametrize("name", ["vsd", "bootstrapped_sd", "fdiv_sd", "mvsds", "sds"])
def test_what_learns_beside_a_scene_is_told_in_the_report(prior, tmp_path, name):
    target = tmp_path / "a.ply"
    report = job(prior, target, method=name, particles=2).run(Progress(quiet=True))
    assert report["steps"] == 3 and report["kind"] == "splats"
    assert (tmp_path / "a-2.ply").is_file() and len(volkit.load(target)) > 0
    assert not target.with_name("a.ply.part").exists()


@pytest.mark.parametrize(
    ("suffix", "options"), [("a.safetensors", {"method": "vsd"}), ("a.glb", {"faces": 200}), ("a.ply", {})]
)
def test_resumed_work_is_the_same_work(prior, tmp_path, monkeypatch, suffix, options):
    """Interrupted after every step in turn, a run in steps ends bit for bit where an unbroken one does."""
    monkeypatch.setattr("volkit.jobs.distillation._mesh", lambda *_: sphere())  # three steps leave no surface
    whole = tmp_path / f"whole-{suffix}"
    job(prior, whole, **options).run(Progress(quiet=True))
    target = tmp_path / suffix
    for _ in range(12):
        if _interrupted(job(prior, target, resume=True, **options), monkeypatch):
            break
    ours, theirs = (volkit.load(path).state_dict() for path in (target, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


class Stop(Exception):
    """The power is cut."""


def _interrupted(one, monkeypatch) -> bool:
    """Run until one more checkpoint was written; True when it came to its end instead."""
    from volkit.jobs.training import Training

    kept = Training.keep

    def cut(self, fit):
        kept(self, fit)
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(Training, "keep", cut)
        try:
            one.run(Progress(quiet=True))
        except Stop:
            return False
    return True


def test_the_command_line(prior, tmp_path, capsys):
    target = tmp_path / "a.safetensors"
    arguments = ["generate", "a b", str(target), "--prior", str(prior), "--budget", "2", "--preview", "--json"]
    assert main(arguments) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["prompt"] == "a b" and said["steps"] == 2
    assert target.with_suffix(".png").is_file()
    assert dict(volkit.load(target).provenance)["prompt"] == "a b"
    assert main(arguments) == 1 and "--force" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"prompt": "  "}, "the prompt is empty"),
        ({"to": "nothing"}, "no such kind to generate"),
        ({"method": "nothing"}, "no such method"),
        ({"method": "csd", "scale": 3.0}, "csd has no guidance scale"),
        ({"weight": "nothing"}, "no such weight"),
        ({"method": "vsd", "grid": True}, "one view at a time"),
        ({"method": "csd", "sides": "perp_neg"}, "perp_neg"),
        ({"particles": 0}, "at least 1"),
        ({"prior": "no/such/folder"}, "needs model_index.json"),
    ],
)
def test_what_is_wrong_is_said_before_the_work(prior, tmp_path, changes, says):
    with pytest.raises((ValueError, FileNotFoundError), match=says):
        replace(job(prior, tmp_path / "a.safetensors"), **changes).run(Progress(quiet=True))
    assert not list(tmp_path.iterdir())


def test_broken_folders_are_named(prior, tmp_path):
    import shutil

    for name, harm, says in (
        ("parts", lambda f: shutil.rmtree(f / "text_encoder"), "part 'text_encoder' is missing"),
        ("type", lambda f: _scheduler(f, prediction_type="riddle"), "prediction type 'riddle' is unknown"),
        ("advice", lambda f: (f / "distillation.json").write_text('{"wisdom": 1}'), "nobody knows wisdom"),
    ):
        folder = shutil.copytree(prior, tmp_path / name)
        harm(folder)
        with pytest.raises((ValueError, FileNotFoundError), match=says):
            job(folder, tmp_path / "a.safetensors").run(Progress(quiet=True))


def _scheduler(folder, **changes):
    place = folder / "scheduler" / "scheduler_config.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | changes))


def test_nan_stops_the_run_and_keeps_what_was_good(prior, tmp_path, monkeypatch):
    """At the third step the prior answers NaN: step and part are named, the state of step 2 is still there."""
    from volkit.guidance.pipeline import PipelinePrior
    from volkit.io.checkpoint import read_state

    asked, answers = 0, PipelinePrior.eps

    def poisoned(self, at, condition):
        nonlocal asked
        asked += 1
        return answers(self, at, condition) * (float("nan") if asked > 2 else 1.0)

    monkeypatch.setattr(PipelinePrior, "eps", poisoned)
    target = tmp_path / "a.safetensors"
    with pytest.raises(FloatingPointError, match=r"step 2.*Bounded of PipelinePrior"):
        job(prior, target).run(Progress(quiet=True))
    assert read_state(tmp_path / "a.safetensors.part")["fit"]["step"] == 2 and not target.exists()


def test_parameters_that_are_not_numbers_are_not_kept(tmp_path):
    from volkit.jobs.training import Training

    fit = Fit(student("hash_grid", METHODS["sds"](), seeded()), Budget(steps=2))
    training = Training(tmp_path / "a.safetensors", Budget(steps=2), "test")
    training.keep(fit)
    before = training.part.read_bytes()
    fit.trainee.scene.table.data[3] = float("nan")
    with pytest.raises(FloatingPointError, match=r"scene\.table"):
        training.keep(fit)
    assert training.part.read_bytes() == before


def test_out_of_memory_says_what_to_lower(prior, tmp_path, monkeypatch):
    def full(self, cameras, moment):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(FieldSitter, "draw", full)
    with pytest.raises(RuntimeError, match=r"lower --views \(now 2\)"):
        job(prior, tmp_path / "a.safetensors").run(Progress(quiet=True))


def test_domains_follow_the_advice():
    assert sitter_of("voxels", AROUND, 2.5, Penalties(), seeded()).scene.domain == Domain.cube(2.5)
