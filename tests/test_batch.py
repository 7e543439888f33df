"""Many conversions by one command: all that can be made is made, and what cannot is told."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from volkit import cli
from volkit.io import load
from volkit.io.analytic_scene import bundled
from volkit.jobs.batch import run_all
from volkit.jobs.progress import Progress

pytest.importorskip("trimesh")

SMALL = ["--to", "mesh", "--faces", "200", "--texture", "64", "--cells", "32", "--size", "48", "--json"]


def test_one_bad_file_stops_no_other(tmp_path: Path, capsys) -> None:
    sources = [tmp_path / name for name in ("a.json", "bad.ply", "b.json")]
    for source in sources:
        shutil.copy(bundled("primitives"), source)
    sources[1].write_bytes(b"x")
    out = tmp_path / "out"
    line = ["convert", *map(str, sources), str(out), "--format", "glb", "--jobs", "2", *SMALL]
    assert cli.main(line) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["failed"] == 1 and [Path(row["target"]).name for row in found["results"]] == [
        "a.glb",
        "bad.glb",
        "b.glb",
    ]
    assert "bad.ply" in found["results"][1]["error"]
    assert sorted(p.name for p in out.iterdir()) == ["a.glb", "b.glb"] and load(out / "a.glb").config.kind == "mesh"


def _runs(progress: Progress) -> dict:
    return {"bytes": 1, "seconds": 0.5}


def _is_killed(progress: Progress) -> dict:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def test_one_that_is_killed_takes_no_other_with_it() -> None:
    named = [(Path("a"), _runs), (Path("b"), _is_killed), (Path("c"), _runs), (Path("d"), _runs)]
    reports = run_all(named, 2, Progress(quiet=True))
    assert "its process was killed" in reports[1].pop("error") and reports[1] == {"target": "b"}
    assert reports[0] == reports[2] == reports[3] == {"bytes": 1, "seconds": 0.5}


def test_one_after_the_other() -> None:
    def fails(progress: Progress) -> dict:
        raise OSError("no\nroom")

    progress = Progress(quiet=True)
    reports = run_all([(Path("a"), fails), (Path("b"), _runs)], 1, progress)
    assert reports == [{"target": "a", "error": "no room"}, {"bytes": 1, "seconds": 0.5}]
    assert progress.notes == ["1/2 a: no room", "2/2 b: 1 bytes in 0 s"]
    with pytest.raises(ValueError, match="--jobs 0"):
        run_all([], 0, progress)


def test_two_sources_of_one_name_are_refused(tmp_path: Path, capsys) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        shutil.copy(bundled("primitives"), tmp_path / folder / "a.json")
    line = ["convert", str(tmp_path / "x/a.json"), str(tmp_path / "y/a.json"), str(tmp_path / "out"), "--format", "obj"]
    assert cli.main([*line, *SMALL]) == 1
    assert "two sources would be written there" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize(("options", "said"), [
    (["a.glb", "--format", "obj"], "--format is for a folder"),
    (["a.glb", "--report", "a.txt"], "name it .html or .json"),
])  # fmt: skip
def test_what_cannot_be_done_is_said_before_the_work(tmp_path: Path, capsys, options: list[str], said: str) -> None:
    target, *rest = options
    rest = [str(tmp_path / word) if word.startswith("a.") else word for word in rest]
    assert cli.main(["convert", str(bundled("primitives")), str(tmp_path / target), *rest, *SMALL]) == 1
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())
