"""Many conversions by one command: all that can be made is made, and what cannot is told."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from batch_runs import is_killed, runs, waits
from engines.assets import coloured

from volkit import cli
from volkit.commands.batch import GRACE, batch_report, run_all
from volkit.geometry import Domain
from volkit.io import load, save
from volkit.io.fields.analytic_scene import bundled
from volkit.progress import Progress
from volkit.representations import SplatsConfig

pytest.importorskip("trimesh")

ON_LINUX = pytest.mark.skipif(
    not Path(f"/proc/self/task/{os.getpid()}/children").exists(), reason="children are found in Linux's /proc"
)
SMALL = ["--to", "mesh", "--faces", "200", "--texture", "64", "--cells", "32", "--size", "16", "--json"]


def test_one_bad_file_stops_no_other(tmp_path: Path, capsys) -> None:
    sources = [tmp_path / name for name in ("a.ply", "bad.ply", "b.ply")]
    for source in sources:
        save(coloured(1), source)
    sources[1].write_bytes(b"x")
    out = tmp_path / "out"
    line = ["convert", *map(str, sources), str(out), "--format", "glb", "--jobs", "2", "--size", "16", "--json"]
    assert cli.main(line) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["failed"] == 1 and [Path(row["target"]).name for row in found["results"]] == [
        "a.glb",
        "bad.glb",
        "b.glb",
    ]
    assert "bad.ply" in found["results"][1]["error"]
    assert sorted(p.name for p in out.iterdir()) == ["a.glb", "b.glb"] and load(out / "a.glb").config.kind == "mesh"


def test_one_that_is_killed_takes_no_other_with_it() -> None:
    named = [(Path("a"), runs), (Path("b"), is_killed), (Path("c"), runs), (Path("d"), runs)]
    reports = run_all(named, 2, Progress())
    assert "its process was killed" in reports[1].pop("error") and reports[1] == {"target": "b", "status": "failed"}
    assert reports[0] == reports[2] == reports[3] == {"status": "made", "bytes": 1, "seconds": 0.5}


def test_one_after_the_other() -> None:
    def fails(progress: Progress) -> dict:
        raise OSError("no\nroom")

    progress = Progress()
    reports = run_all([(Path("a"), fails), (Path("b"), runs)], 1, progress)
    assert reports[0] == {"target": "a", "status": "failed", "error": "no room"}
    assert reports[1] == {"status": "made", "bytes": 1, "seconds": 0.5}
    assert progress.notes == ["1/2 a: no room", "2/2 b: 1 bytes in 0 s"]
    with pytest.raises(ValueError, match="--jobs 0"):
        run_all([], 0, progress)


def test_what_is_finished_is_kept_where_work_is_resumed(tmp_path: Path) -> None:
    done, half, new = (tmp_path / name for name in ("done", "half", "new"))
    for path in (done, half, tmp_path / "half.part"):
        path.touch()
    named = [(done, is_killed), (half, runs), (new, runs)]
    reports = run_all(named, 1, Progress(), resume=True)
    assert [row["status"] for row in reports] == ["kept", "made", "made"] and reports[0]["target"] == str(done)
    found = batch_report("convert", reports)
    assert (found["kept"], found["made"], found["failed"], found["interrupted"]) == (1, 2, 0, False)


@pytest.fixture
def heard_interrupts():
    """SIGINT is heard here and in children: a shell tells its background jobs, and what they start, to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interruption_keeps_what_was_made(jobs: int, heard_interrupts) -> None:
    told: list[float] = []

    class Heard(Progress):
        """Interrupts the batch when the first run has been told of."""

        def note(self, text: str) -> None:
            super().note(text)
            if not told:
                told.append(time.process_time())
                signal.setitimer(signal.ITIMER_REAL, 0.2)

    before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        reports = run_all([(Path("a"), runs), (Path("b"), waits), (Path("c"), waits)], jobs, Heard())
    finally:
        signal.signal(signal.SIGALRM, before)
    # 2 s are promised: what is waited for, and what is computed, which unlike the clock knows no load of the machine.
    # That nobody waits for a run is seen by this test's end: they take a day.
    assert GRACE + time.process_time() - told[0] < 2.0
    assert [row["status"] for row in reports] == ["made", "interrupted", "interrupted"]
    assert batch_report("convert", reports)["interrupted"]


@ON_LINUX
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_interrupted_command_ends_at_once_with_a_report(jobs: str, captures: Path, heard_interrupts) -> None:
    """The whole process, children included, when its work has begun: what is begun is kept for --resume."""
    line = ["convert", "a.ply", "b.compressed.ply", "out", "--to", "hash_grid", "--budget", "1h", "--size", "32"]
    line = [sys.executable, "-m", "volkit.cli", *line, "--jobs", jobs, "--checkpoint-seconds", "0.1", "--json"]
    with subprocess.Popen(line, cwd=captures, stdout=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 300.0
        while not (begun := list(captures.glob("out/*.part"))) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        earlier, before = os.times(), _computed(process.pid)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=600)  # its end alone says that it waited for no hour's work, begun or not
    ended = os.times()
    spent = ended.children_user + ended.children_system - earlier.children_user - earlier.children_system
    computed = spent - before
    found = json.loads(out)
    assert begun and process.returncode == 130 and found["interrupted"]
    assert [row["status"] for row in found["results"]] == ["interrupted"] * 2
    # Work goes on for 2 s at most in each process, counted as computing, which unlike the clock knows no load of the
    # machine: idle they compute for 0.1 s, and processes of their own for up to 0.8 s.
    assert computed < 2.0 * int(jobs)


@ON_LINUX
def test_a_killed_command_leaves_no_process_behind(captures: Path) -> None:
    line = ["convert", "a.ply", "b.ply", "out", "--to", "hash_grid", "--budget", "1h", "--size", "32", "--jobs", "2"]
    line = [sys.executable, "-m", "volkit.cli", *line, "--checkpoint-seconds", "0.1"]
    with subprocess.Popen(line, cwd=captures, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _wait(lambda: any(captures.glob("out/*.part")) or process.poll() is not None)
        workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
    assert workers
    _wait(lambda: not any(_runs(pid) for pid in workers), 60.0)
    assert not any(_runs(pid) for pid in workers)


def _wait(until: Callable[[], bool], seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not until() and time.monotonic() < end:
        time.sleep(0.05)


def _computed(process: int) -> float:
    """CPU seconds of a process and of its children so far."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split() for pid in (process, *children)]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")


def _runs(pid: str) -> bool:
    """Whether it is a process that has not ended: one that nobody has waited for yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def test_what_is_the_same_of_all_is_said_once() -> None:
    rows = [{"status": "made", "target": name, "backend": {"native": "available"}} for name in "ab"]
    found = batch_report("convert", rows)
    assert found["backend"] == {"native": "available"} and not any("backend" in row for row in found["results"])


def test_two_sources_of_one_name_are_refused(tmp_path: Path, capsys) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        shutil.copy(bundled("primitives"), tmp_path / folder / "a.json")
    line = ["convert", str(tmp_path / "x/a.json"), str(tmp_path / "y/a.json"), str(tmp_path / "out"), "--format", "obj"]
    assert cli.main([*line, *SMALL]) == 2
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "usage" and "two sources would be written there" in found["error"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("options", "said"), [
    (["a.glb", "--format", "obj"], "--format is for a folder"),
    (["a.glb", "--report", "a.txt"], "name it .html or .json"),
])  # fmt: skip
def test_what_cannot_be_done_is_said_before_the_work(tmp_path: Path, capsys, options: list[str], said: str) -> None:
    target, *rest = options
    rest = [str(tmp_path / word) if word.startswith("a.") else word for word in rest]
    assert cli.main(["convert", str(bundled("primitives")), str(tmp_path / target), *rest, *SMALL]) == 2
    assert said in json.loads(capsys.readouterr().out)["error"] and not list(tmp_path.iterdir())


@pytest.fixture
def captures(tmp_path: Path) -> Path:
    """A folder with two files of splats, a damaged one, and what is none."""
    folder = tmp_path / "captures"
    folder.mkdir()
    for number, name in enumerate(("a.ply", "b.compressed.ply")):
        save(SplatsConfig(100, 1).build(Domain.cube(1.0), torch.Generator().manual_seed(number)), folder / name)
    (folder / "broken.spz").write_bytes(b"NGSP" + bytes(60))
    (folder / "notes.txt").write_text("of the captures")
    return folder


@pytest.mark.parametrize("source", ["captures", "captures/*.[ps]*", "**/capture?/*.ply"])
def test_folders_and_patterns_are_sources(captures: Path, capsys, source: str, monkeypatch) -> None:
    monkeypatch.chdir(captures.parent)
    damaged = not source.endswith("ply")
    status, found = told(capsys, source, "out", "--format", "spz,safetensors", "--size", "32")
    assert status == int(damaged) and found["failed"] == 2 * damaged
    names = ["a", "b"] + ["broken"] * damaged
    assert [Path(row["target"]).name for row in found["results"]] == [
        f"{name}.{suffix}" for suffix in ("spz", "safetensors") for name in names
    ]
    assert all(("measured" in row) != ("broken" in row["source"][0]) for row in found["results"])
    written = {path.name for path in Path("out").iterdir()}
    assert written == {"a.spz", "b.spz", "a.safetensors", "b.safetensors"}


def told(capsys, *words: str) -> tuple[int, dict]:
    """The exit status and the report of a conversion."""
    status = cli.main(["convert", *words, "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_one_table_tells_of_all_and_one_page(captures: Path, capsys, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "400")  # names are folded where a terminal is narrow
    page = tmp_path / "all.html"
    words = [str(captures), str(tmp_path / "out"), "--format", "spz", "--size", "32", "--report", str(page)]
    assert cli.main(["convert", *words]) == 1
    out = capsys.readouterr().out
    assert all(word in out for word in ("source", "ratio", "PSNR", "max difference", "a.spz", "b.compressed.ply"))
    assert out.count("failed") == 2 and "broken.spz: " in out.splitlines()[-1]
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/png") == 6 and "2 made, 1 failed" in text and "What went wrong" in text
    assert cli.main(["convert", *words[:-1], str(tmp_path / "all.json"), "--force"]) == 1
    assert len(json.loads((tmp_path / "all.json").read_text())["results"]) == 3


def test_processes_bring_their_pictures_home(captures: Path, capsys, tmp_path: Path) -> None:
    page = tmp_path / "all.html"
    words = [str(captures / "*.ply"), str(tmp_path / "out"), "--format", "spz", "--size", "32", "--jobs", "2"]
    assert cli.main(["convert", *words, "--report", str(page)]) == 0
    assert page.read_text(encoding="utf-8").count("data:image/png") == 6


def test_many_are_only_asked_what_they_take(captures: Path, capsys, tmp_path: Path) -> None:
    status, found = told(capsys, str(captures / "*.ply"), str(tmp_path / "out"), "--to", "mlp", "--dry-run")
    assert status == 0 and all("memory" in row for row in found["results"]) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(("words", "said", "status"), [
    (["nothing*.ply", "out"], "no file matches", 1), ([".", "out"], "contains no scene file", 1),
    (["captures/*.ply", "out.spz"], "matches 2 files", 2),
])  # fmt: skip
def test_sources_that_are_none_are_said(
    captures: Path, capsys, monkeypatch, words: list[str], said: str, status: int
) -> None:
    monkeypatch.chdir(captures.parent)
    assert cli.main(["convert", *words]) == status
    assert said in capsys.readouterr().err


def test_surprises_stop_no_other() -> None:
    def surprises(progress: Progress) -> dict:
        raise KeyError("nobody thought of this")

    reports = run_all([(Path("a"), surprises), (Path("b"), runs)], 1, Progress())
    assert reports[0]["error"].startswith("unexpected KeyError") and "error" not in reports[1]
