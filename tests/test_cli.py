"""The command line, called as a user would: exit statuses, one-line errors, JSON, and what the commands write."""

import json
import subprocess
import sys
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import torch

from volkit import cli
from volkit.choices import ParameterError
from volkit.commands import doctor
from volkit.commands.doctor import CAPABILITIES, DoctorJob
from volkit.commands.fit import FitJob
from volkit.data import load_photographs
from volkit.files.bundled import bundled_folder
from volkit.io import FORMATS, FormatError
from volkit.io.fields.analytic_scene import bundled
from volkit.io.opening import open_scene
from volkit.representations.analytic import trace

SIZE = "24"


def run(capsys, *arguments: str | Path) -> tuple[int, str, str]:
    status = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def report(capsys, *arguments: str | Path) -> dict:
    status, out, err = run(capsys, *arguments, "--json")
    assert status == 0, err
    assert out.count("\n") == 1  # one object on one line, nothing else
    return json.loads(out)


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    """A scene of two primitives with three views: quick to draw."""
    document = json.loads(bundled("primitives").read_text())
    document["primitives"] = document["primitives"][:2]
    document["views"] |= {"train": 3, "test": 2, "size": [24, 24]}
    path = tmp_path_factory.mktemp("scene") / "two.json"
    path.write_text(json.dumps(document))
    return path


@pytest.fixture(scope="module")
def pictures(scene, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures") / "views"
    assert cli.main(["render", str(scene), str(folder), "--json"]) == 0
    return folder


def test_a_reader_that_has_seen_enough_is_no_error():
    """`volkit formats | head`: nobody reads any more when all is said."""
    program = [sys.executable, "-m", "volkit.cli", "formats"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as spoken:
        assert spoken.stdout and spoken.stderr
        spoken.stdout.close()
        assert spoken.wait(120) == 0 and spoken.stderr.read() == ""


def test_a_dry_run_says_what_it_would_take(capsys, scene, pictures, tmp_path):
    for command, source in (("fit", pictures), ("convert", scene)):
        arguments = (command, source, tmp_path / "a.safetensors", "--to", "mlp", "--budget", "90s", "--dry-run")
        found = report(capsys, *arguments)
        assert found["memory"]["in all"].startswith("about ") and found["memory_bytes"] > 1e8  # 8x256 keeps its layers
        assert found["time"].startswith("90 s of optimisation")
        assert {"parameters", "gradients", "moments", "batch"} <= found["memory"].keys()
        assert "in all: about" in run(capsys, *arguments)[1]
    assert not list(tmp_path.iterdir())


def test_help_teaches(capsys):
    status, out, _ = run(capsys, "--help")
    assert status == 0 and all(name in out for name in cli.COMMANDS) and "examples:" in out
    assert run(capsys, "--version")[1].startswith("volkit ")


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_explains_itself(capsys, command):
    status, out, _ = run(capsys, command, "--help")
    assert status == 0 and "--json" in out and "--debug" in out


WRONG = [
    (),
    ("paint",),
    ("render",),
    ("inspect", "a", "b"),
    ("doctor", "--loud"),
    ("compare", "a", "b", "--size", "big"),
]


@pytest.mark.parametrize("arguments", WRONG, ids=lambda a: " ".join(a) or "nothing")
def test_a_wrong_command_line_ends_with_2(capsys, arguments):
    assert run(capsys, *arguments)[0] == 2


WRONG_VALUES = [
    ("convert {scene} x.foo", "the suffix '.foo' names no format"),
    ("convert {scene} x.npz --to mesh", "cannot hold mesh"),
    ("convert {scene} x.safetensors --to nonsense", "--to nonsense: there is no such choice; choose one of hash_grid"),
    ("convert {scene} x.safetensors --edit floatrs", "--edit floatrs: "),
    ("convert {scene} x.ply --edit size:0.30m", "--edit size:0.30m: "),
    ("convert {scene} x.safetensors --to mlp --budget soon", "budget 'soon': write 120s"),
    ("convert {scene} x.safetensors --to mlp --device cuda", "device cuda: torch"),
    ("convert {scene}", "give a source and a target"),
    ("fit . x.safetensors --to nonsense", "--to nonsense: there is no such choice"),
    ("generate cube x.foo", "names no format"),
    ("render {scene} x.png --orbit 0", "--orbit"),
    ("paint {scene}", "there is no command 'paint'"),
]


@pytest.mark.parametrize(("line", "said"), WRONG_VALUES, ids=[line for line, _ in WRONG_VALUES])
def test_wrong_values_are_told_as_json_with_2(capsys, scene, tmp_path, monkeypatch, line, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    status, out, err = run(capsys, *line.format(scene=scene).split(), "--json")
    found = json.loads(out)
    assert said in found["error"] and (found["kind"], status, err) == ("usage", 2, "")
    assert found["command"] == line.split()[0] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("raised", "kind", "status"), [
    (FormatError("a.ply", "is damaged", "copy it again"), "format", 1), (FileExistsError("a.ply: exists"), "os", 1),
    (RuntimeError("no room"), "failed", 1), (KeyError("nobody thought of this"), "unexpected", 1),
    (ParameterError("seed: give a number"), "usage", 2), (KeyboardInterrupt(), "interrupted", 130),
])  # fmt: skip
def test_what_is_raised_has_a_kind_and_a_status(capsys, monkeypatch, raised, kind, status):
    def raises(self, progress):
        raise raised

    monkeypatch.setattr(DoctorJob, "run", raises)
    found, out, err = run(capsys, "doctor", "--json")
    assert (found, json.loads(out)["kind"], err) == (status, kind, "")


def test_an_interruption_says_what_can_be_taken_up(capsys, monkeypatch, tmp_path):
    def interrupted(self, progress):
        raise KeyboardInterrupt

    target = tmp_path / "x.safetensors"
    monkeypatch.setattr(FitJob, "run", interrupted)
    assert run(capsys, "fit", ".", target)[2] == "volkit: interrupted; there is no checkpoint to continue from\n"
    target.with_name("x.safetensors.part").touch()
    assert f"the same command with --resume continues from {target}.part" in run(capsys, "fit", ".", target)[2]


def test_a_batch_that_was_interrupted_ends_with_130_and_its_report(capsys, monkeypatch):
    monkeypatch.setattr(DoctorJob, "run", lambda self, progress: {"command": "doctor", "interrupted": True})
    status, out, _ = run(capsys, "doctor", "--json")
    assert status == 130 and json.loads(out)["interrupted"]


def test_options_that_cannot_go_together_end_with_2(capsys, scene, tmp_path):
    status, _, err = run(capsys, "render", scene, tmp_path / "a.png", "--view", "0", "--split", "test")
    assert status == 2 and err.startswith("volkit: error: choose one of")
    assert run(capsys, "render", scene, tmp_path / "a.docx")[0] == 2


FAILING = [
    ("inspect", "absent.safetensors"),
    ("compare", "absent.safetensors", "neither"),
    ("render", "absent.json", "x.png"),
    ("fit", "absent", "x.safetensors"),
    ("convert", "absent.safetensors", "x.safetensors"),
]


@pytest.mark.parametrize("arguments", FAILING, ids=lambda a: a[0])
def test_failures_are_one_line(capsys, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, *arguments)
    assert status == 1 and out == "" and err.count("\n") == 1
    assert err.startswith("volkit: error: absent") and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_where(tmp_path):
    with pytest.raises(ValueError, match="absent"):
        cli.main(["inspect", str(tmp_path / "absent.safetensors"), "--debug"])


def test_interruption_and_surprises(capsys, monkeypatch):
    def interrupted(self, progress):
        raise KeyboardInterrupt

    def surprised(self, progress):
        raise AttributeError("nobody thought of this")

    monkeypatch.setattr(DoctorJob, "run", interrupted)
    status, _, err = run(capsys, "doctor")
    assert status == 130 and err == "volkit: interrupted; there is no checkpoint to continue from\n"
    monkeypatch.setattr(DoctorJob, "run", surprised)
    status, _, err = run(capsys, "doctor")
    assert status == 1 and "unexpected AttributeError" in err and "--debug" in err


def test_doctor_says_why_not(capsys):
    found = report(capsys, "doctor")
    assert found["backend"]["native"] and set(found["scenes"]) >= {"still_life", "primitives", "lantern"}
    text = run(capsys, "doctor")[1]
    assert "still_life" in text and f"native: {found['backends']['native']}\n" in text
    works = f"works (isa {found['backend']['isa']} of {', '.join(found['backend']['isas'])};"
    assert found["backends"]["native"].startswith(works if found["backend"]["isas"] else "volkit.ops._native")
    assert all(f"  {name}: " in text for name in (*CAPABILITIES, "view", "cuda", "reference"))


def test_doctor_names_the_line_that_installs_what_is_missing(monkeypatch):
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    for name, row in CAPABILITIES.items():
        said = doctor._missing(row)
        assert (said.startswith("missing ") and "pip install " in said) or (row.fix and row.fix in said), name


def test_inspect_scene_and_dataset(capsys, scene, pictures):
    found = report(capsys, "inspect", scene)
    assert found["kind"] == "analytic" and found["views"] == 5 and found["size"] == 24
    assert 0 < found["occupied"] < 0.5
    found = report(capsys, "inspect", pictures)
    assert found["pictures"] == 5 and found["splits"] == {"test": 2, "train": 3} and found["alpha"]


def test_a_folder_of_pictures_is_a_dataset(scene, pictures):
    seen, capture = load_photographs(pictures), open_scene(scene).capture
    assert len(seen) == 5 and seen.split.count("test") == 2
    order = [next(i for i, name in enumerate(seen.names) if wanted in name) for wanted in capture.names]
    # 1e-5: a pose goes through float64 text, the recorded one is float32 of unit size times a few
    assert (seen.cameras.world_from_camera[order] - capture.cameras.world_from_camera).abs().max() < 1e-5
    assert torch.allclose(seen.cameras.intrinsics[order], capture.cameras.intrinsics, rtol=1e-6)  # float32


def test_a_scene_compared_with_its_own_pictures(capsys, scene, pictures):
    found = report(capsys, "compare", scene, pictures, "--split", "test")
    assert len(found["views"]) == 2 and found["size"] == 24
    assert found["psnr"] is None or found["psnr"] > 45  # two roundings to 8 bits, of colour and of alpha
    same = report(capsys, "compare", scene, scene)
    assert same["psnr"] is None and same["ssim"] == pytest.approx(1.0, abs=1e-9)  # float64 sums of 121 terms
    assert [view["name"] for view in same["views"]] == ["test_000", "test_001"]


def test_nothing_is_overwritten_unasked(capsys, scene, tmp_path):
    target = tmp_path / "view.png"
    assert run(capsys, "render", scene, target)[0] == 0
    before = target.read_bytes()
    status, _, err = run(capsys, "render", scene, target)
    assert status == 1 and "--force" in err and target.read_bytes() == before
    assert run(capsys, "render", scene, target, "--view", "train_000", "--force")[0] == 0
    assert target.read_bytes() != before


def test_depth_agrees_with_sphere_tracing(capsys, scene, tmp_path):
    target = tmp_path / "depth.png"
    assert run(capsys, "render", scene, target, "--channel", "depth", "--view", "train_000")[0] == 0
    depth = imageio.imread(target).astype(np.float64) / 1000.0
    field = open_scene(scene)
    hits = trace(field, field.capture.cameras.picture_rays(0))
    exact = hits.distance.view(24, 24).double().numpy()
    both = (depth > 0) & np.isfinite(exact)
    # 0.02: light is spread over the soft shell, 0.012 thick, and more of it at a slant; edges mix near and far
    assert both.sum() > 30 and np.median(np.abs(depth - exact)[both]) < 0.02


def test_channels_orbit_and_cameras(capsys, scene, pictures, tmp_path):
    normal = tmp_path / "normal.png"
    assert run(capsys, "render", scene, normal, "--channel", "normal")[0] == 0
    assert imageio.imread(normal).shape == (24, 24, 3)
    video = tmp_path / "orbit.mp4"
    assert report(capsys, "render", scene, video, "--orbit", "3", "--size", SIZE)["pictures"] == 3
    assert imageio.imread(video, index=None).shape[0] == 3
    again = tmp_path / "again"
    for image in (pictures / "images").iterdir():  # the cameras alone are enough
        assert image.is_file()
    lone = tmp_path / "transforms.json"
    lone.write_text((pictures / "transforms.json").read_text())
    assert report(capsys, "render", scene, again, "--cameras", lone, "--channel", "opacity")["pictures"] == 5


def test_the_demo_writes_a_page_that_needs_no_other(capsys, tmp_path, monkeypatch, small_kinds, few_views):
    from volkit.commands import demo

    monkeypatch.setattr(demo, "QUICK", demo.Effort(16, "100", ("6",) * 4, faces=500, texture=64, cells=32, words="2"))
    monkeypatch.setattr(demo, "SHOWN_SIZE", 16)
    found = report(capsys, "demo", "--quick", "--all", "--scene", "primitives", "--out", tmp_path / "demo")
    made = ["hash_grid", "tensor_vm", "mlp", "splats", "hash_grid again", "mesh", "text to 3D"]
    assert [row["name"] for row in found["results"]] == made
    assert (tmp_path / "demo" / "scene.glb").read_bytes()[:4] == b"glTF"
    page = (tmp_path / "demo" / "report.html").read_text()
    assert page.count("<img") >= 15 + 8 and demo.PROMPT in page and "<svg" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    held_out = json.loads((bundled_folder("toy_prior") / "held_out.json").read_text())
    assert demo.PROMPT in held_out["plain"]
    kept = json.loads((tmp_path / "demo" / "report.json").read_text())
    assert kept["results"] == found["results"] and kept["jobs"]["mlp"]["history"]
    assert not list((tmp_path / "demo").glob("*.part"))


def test_formats_are_listed_as_they_are(capsys):
    """As JSON, and as a table that names every row and what is up in it."""
    status, out, _ = run(capsys, "formats", "--json")
    rows = json.loads(out)["formats"]
    assert status == 0 and [row["name"] for row in rows] == list(FORMATS)
    assert {row["name"]: row["frame"] for row in rows}["splat_gltf"] == "yup"
    status, text, _ = run(capsys, "formats")
    assert all(row["name"].split("_")[0] in text for row in rows) and "+Y" in text and not status
