"""The command generate: what it writes, tells and refuses; how it goes on after a power cut."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from guidance import small_pipelines
from test_generate import one_thread, sphere  # noqa: F401

import volkit
from volkit.cli import main
from volkit.commands.generate import GenerateJob
from volkit.evaluation.evaluate import write_picture
from volkit.generation import FieldParticle
from volkit.guidance.pipeline.denoiser import UnetDenoiser
from volkit.progress import Progress


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
    report = job(prior, target, method=name, particles=2).run(Progress())
    assert report["steps"] == 3 and report["kind"] == "splats"
    assert (tmp_path / "a-2.ply").is_file() and len(volkit.load(target)) > 0
    assert not target.with_name("a.ply.part").exists()


@pytest.mark.parametrize(
    ("suffix", "options"),
    [("a.safetensors", {"method": "vsd", "to": "voxels"}), ("a.glb", {"faces": 200}), ("a.ply", {})],
)
def test_resumed_work_is_the_same_work(prior, tmp_path, monkeypatch, suffix, options):
    """Interrupted after every step in turn, a run in steps ends bit for bit where an unbroken one does."""
    monkeypatch.setattr("volkit.generation.run._extract", lambda *_: sphere())  # three steps leave no surface
    whole = tmp_path / f"whole-{suffix}"
    job(prior, whole, **options).run(Progress())
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
    from volkit.training.run import TrainingRun

    kept = TrainingRun.write_checkpoint

    def cut(self, fit):
        kept(self, fit)
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "write_checkpoint", cut)
        try:
            one.run(Progress())
        except Stop:
            return False
    return True


def test_the_command_line(prior, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("volkit.reports.prior_report.VIEW_SIZE", 16)
    target = tmp_path / "a.safetensors"
    arguments = ["generate", "a b", str(target), "--prior", str(prior), "--budget", "2", "--preview", "--json"]
    arguments += ["--report", str(tmp_path / "a.html")]
    assert main(arguments) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["prompt"] == "a b" and said["steps"] == 2
    assert target.with_suffix(".png").is_file()
    page = (tmp_path / "a.html").read_text()
    assert page.count("<img") == 8 and "<svg" in page and "a b" in page
    assert dict(volkit.load(target).provenance)["prompt"] == "a b"
    assert main(arguments) == 1 and "--force" in json.loads(capsys.readouterr().out)["error"]


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
        ({"lora": Path("no.safetensors")}, "no such file of weights"),
        ({"image_prompt": Path("no.png")}, "go together"),
        ({"report": Path("no.txt")}, "name it .html or .json"),
        ({"prior": "no/such/folder"}, "needs model_index.json"),
    ],
)
def test_what_is_wrong_is_said_before_the_work(prior, tmp_path, changes, says):
    with pytest.raises((ValueError, FileNotFoundError), match=says):
        replace(job(prior, tmp_path / "a.safetensors"), **changes).run(Progress())
    assert not list(tmp_path.iterdir())


def test_an_ip_adapter_is_told_of_the_picture(tmp_path, monkeypatch):
    """Beside the words stands what its eyes make of the picture, beside no words zeros."""
    folder, heard, said = small_pipelines.latent(tmp_path / "latent"), [], UnetDenoiser.__call__
    small_pipelines.ip_adapter(tmp_path / "adapter.safetensors", small_pipelines.unet())
    eyes = small_pipelines.eyes(tmp_path / "image_encoder")
    picture = torch.tensor([0.48145466, 0.4578275, 0.40821073])  # CLIP's mean, which is its zero
    write_picture(tmp_path / "grey.png", picture.expand(40, 30, 3))

    def listening(self, at, condition):
        heard.append(condition.image)
        return said(self, at, condition)

    monkeypatch.setattr(UnetDenoiser, "__call__", listening)
    job(folder, tmp_path / "a.ply", views=1, size=16, ip_adapter=tmp_path / "adapter.safetensors",
        image_prompt=tmp_path / "grey.png").run(Progress())  # fmt: skip
    with torch.no_grad():
        wanted = eyes(torch.zeros(1, 3, 32, 32)).image_embeds
    both = torch.cat(heard)[:, 0]
    none = (both == 0.0).all(1)
    assert none.sum() == (~none).sum() > 0
    # Colours of 8 bits: half a step of 1/255, over CLIP's deviation of 0.26, through a few layers.
    torch.testing.assert_close(both[~none], wanted.expand(int((~none).sum()), -1), atol=0.05, rtol=0.0)


def test_broken_folders_are_named(prior, tmp_path):
    import shutil

    for name, harm, says in (
        ("parts", lambda f: shutil.rmtree(f / "text_encoder"), "part 'text_encoder' is missing"),
        ("type", lambda f: _scheduler(f, prediction_type="riddle"), "prediction type 'riddle' is unknown"),
        ("advice", lambda f: (f / "distillation.json").write_text('{"wisdom": 1}'), "unknown settings wisdom"),
    ):
        folder = shutil.copytree(prior, tmp_path / name)
        harm(folder)
        with pytest.raises((ValueError, FileNotFoundError), match=says):
            job(folder, tmp_path / "a.safetensors").run(Progress())


def _scheduler(folder, **changes):
    place = folder / "scheduler" / "scheduler_config.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | changes))


def test_nan_stops_the_run_and_keeps_what_was_good(prior, tmp_path, monkeypatch):
    """At the third step the prior answers NaN: step and part are named, the state of step 2 is still there."""
    from volkit.files.tensor_file import read_state
    from volkit.guidance.pipeline import PipelinePrior

    asked, answers = 0, PipelinePrior.eps

    def poisoned(self, at, condition):
        nonlocal asked
        asked += 1
        return answers(self, at, condition) * (float("nan") if asked > 2 else 1.0)

    monkeypatch.setattr(PipelinePrior, "eps", poisoned)
    target = tmp_path / "a.safetensors"
    with pytest.raises(FloatingPointError, match=r"step 2.*Bounded of PipelinePrior"):
        job(prior, target).run(Progress())
    assert read_state(tmp_path / "a.safetensors.part")["loop"]["step"] == 2 and not target.exists()


def test_out_of_memory_says_what_to_lower(prior, tmp_path, monkeypatch):
    def full(self, cameras, info):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(FieldParticle, "draw", full)
    with pytest.raises(RuntimeError, match=r"lower views \(now 2\)"):
        job(prior, tmp_path / "a.safetensors").run(Progress())
