"""Many conversions by one command: failures are reported, finished targets kept, and the rest continues."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from glob import glob
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from volkit.commands.options import UsageError
from volkit.io import FORMATS, is_scene
from volkit.progress import Progress
from volkit.threads import apply_threads, available_cores, keep_memory, set_wait_policy

__all__ = ["Pair", "batch_report", "expand_patterns", "pair_sources", "run_all"]

EXPECTED = (ValueError, OSError, RuntimeError, ArithmeticError)  # expected errors: of scenes and of the machine
KILLED = "its process was killed, as happens when memory runs out; give fewer --jobs"
GRACE = 0.7  # seconds that an interrupted process has to remove unfinished files

Pair = tuple[tuple[Path, ...], Path]
SOG_FILES = ("meta.json", "lod-meta.json")  # of unpacked SOG scenes, which the name of the folder identifies

Run = Callable[[Progress], dict[str, Any]]
Named = Sequence[tuple[Path, Run]]
Reports = list[dict[str, Any]]


def run_all(named: Named, jobs: int, progress: Progress, *, resume: bool = False) -> Reports:
    """Reports of all runs in their order; `jobs` runs are executed in parallel.

    Each has a `status`: `made`; `failed` with an `error`; with `resume`, targets that are complete are `kept`. An
    interruption ends all runs within seconds; those that were not made are then `interrupted`.
    """
    if jobs < 1:
        raise UsageError(f"--jobs {jobs}: give at least 1")
    kept = {index for index, (target, _) in enumerate(named) if resume and _is_complete(target)}
    reports = [{"target": str(target), "status": "kept" if index in kept else "interrupted"}
               for index, (target, _) in enumerate(named)]  # fmt: skip
    if kept:
        progress.note(f"{len(kept)} of {len(named)} targets exist already and are kept")
    left = [(index, target, run) for index, (target, run) in enumerate(named) if index not in kept]
    done = len(kept)
    runs = _run_in_turn(left, progress) if jobs == 1 else _run_in_parallel(left, jobs, progress)
    try:
        for index, report in runs:
            done += 1
            reports[index] = {"status": "failed" if "error" in report else "made"} | report
            progress.note(f"{done}/{len(named)} {named[index][0]}: {_outcome(report)}")
    except KeyboardInterrupt:
        progress.note(f"interrupted: {done} of {len(named)} are done")
    finally:
        runs.close()
    for report in reports:
        if report["status"] == "interrupted":
            report["error"] = "interrupted before it was done; --resume continues"
    return reports


def batch_report(command: str, reports: Reports) -> dict[str, Any]:
    """One report of many: counts, results, and the backend that they share."""
    counts = {status: sum(row["status"] == status for row in reports) for status in ("made", "kept", "failed")}
    backend = next((row["backend"] for row in reports if "backend" in row), None)
    rows = [{name: value for name, value in row.items() if name != "backend"} for row in reports]
    interrupted = any(row["status"] == "interrupted" for row in reports)
    return {"command": command, "results": rows, **counts, "interrupted": interrupted, "backend": backend}


def _outcome(report: dict[str, Any]) -> str:
    if "bytes" in report:
        return f"{report['bytes']} bytes in {report['seconds']:.0f} s"
    return report.get("error") or report.get("time") or "is written as it is"  # a dry run


def _is_complete(target: Path) -> bool:
    """Whether a target is complete: files appear only when whole, and an unfinished run leaves a checkpoint."""
    return target.exists() and not target.with_name(target.name + ".part").exists()


Left = Sequence[tuple[int, Path, Run]]
Done = Iterator[tuple[int, dict[str, Any]]]


def _run_in_turn(left: Left, progress: Progress) -> Any:
    for index, target, run in left:
        yield index, _run_safely(target, run, type(progress)())


@dataclass(frozen=True)
class Worker:
    """A process for one run, so that one that is killed does not end the others."""

    index: int
    target: Path
    process: Any
    answer: Connection

    def report(self) -> dict[str, Any]:
        """The report of the run; waits for it."""
        try:
            return self.answer.recv()
        except EOFError:
            return _failed(self.target, KILLED)
        finally:
            self.answer.close()
            self.process.join()


def _run_in_parallel(left: Left, jobs: int, progress: Progress) -> Any:
    """Reports of runs in processes, each with its share of the cores; an interruption terminates them."""
    waiting, working = list(left), []
    share = max(1, available_cores() // jobs)
    try:
        with progress.phase(f"{len(left)} conversions"):
            while waiting or working:
                while waiting and len(working) < jobs:
                    working.append(_start(*waiting.pop(0), share))
                ready = wait([worker.answer for worker in working])
                for worker in [worker for worker in working if worker.answer in ready]:
                    working.remove(worker)
                    yield worker.index, worker.report()
                    progress.counted(len(left) - len(waiting) - len(working), len(left))
    finally:
        _terminate(working)


def _start(index: int, target: Path, run: Run, threads: int) -> Worker:
    context = multiprocessing.get_context("spawn")  # not forked: threads of torch do not outlive a fork
    answer, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sender, target, run, threads), daemon=True)
    with _block_interrupts():
        process.start()
    sender.close()  # only the child's end stays open, so that its death ends the pipe
    return Worker(index, target, process, answer)


@contextmanager
def _block_interrupts() -> Iterator[None]:
    """Block SIGINT, which a terminal sends to the whole group, in processes started here: their parent ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(sender: Connection, target: Path, run: Run, threads: int) -> None:
    """Run in the child: SIGTERM of the parent still removes unfinished files, and without a parent the child ends."""
    signal.signal(signal.SIGTERM, _exit)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    set_wait_policy()  # before torch is loaded
    apply_threads(threads)
    keep_memory()
    with suppress(SystemExit):
        sender.send(_run_safely(target, run))


def _end_with_parent() -> None:
    """End when the parent has ended, even if it was killed."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _exit(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _terminate(working: Sequence[Worker]) -> None:
    for worker in working:
        worker.process.terminate()
    until = time.monotonic() + GRACE
    for worker in working:
        worker.process.join(max(0.0, until - time.monotonic()))
        if worker.process.is_alive():
            worker.process.kill()


def _run_safely(target: Path, run: Run, progress: Progress | None = None) -> dict[str, Any]:
    try:
        return run(progress or Progress())
    except Exception as error:  # must not end the other conversions
        surprise = "" if isinstance(error, EXPECTED) else f"unexpected {type(error).__name__}: "
        return _failed(target, surprise + str(error))


def _failed(target: Path, why: str) -> dict[str, Any]:
    return {"target": str(target), "error": " ".join(why.split())}


def expand_patterns(words: Sequence[Path]) -> list[Path]:
    """Files that match patterns (`*`, `**`, `?`, `[]`), in alphabetical order, and the scene files of folders.

    A folder that a trainer left is one scene.

    Most shells expand patterns themselves; this is for quoted ones, and for Windows.
    ValueError for a pattern without a match and a folder without a scene.
    """
    found: list[Path] = []
    for word in words:
        if word.is_dir() and _is_run(word):
            found.append(word)
        elif word.is_dir():
            inside = sorted(path for path in word.iterdir() if path.is_file() and _is_readable_scene(path))
            if not inside:
                raise ValueError(f"{word}: the folder contains no scene file; name one, or another folder")
            found += inside
        elif any(sign in str(word) for sign in "*?[") and not word.exists():
            matching = sorted(Path(path) for path in glob(str(word), recursive=True))
            if not matching:
                raise ValueError(f"{word}: no file matches; check the pattern")
            found += [path for path in matching if path.is_file()]
        else:
            found.append(word)
    return found


def pair_sources(words: Sequence[Path], suffixes: Sequence[str] | None, usual: str, compose: bool) -> list[Pair]:
    """Sources and target of each conversion.

    The last word is a folder that gets a file of each suffix (by default the `usual` one) for each source, or the first
    word is the source and all others are targets. With `compose` all words but the last are one source.
    """
    *first, last = words
    if compose:
        return [(tuple(expand_patterns(first)), last)]
    several = len(first) > 1 or (bool(first) and expand_patterns(first) != first)
    if last.is_dir() or (not last.suffix and (suffixes or several)):
        sources = expand_patterns(first)
        return [pair for suffix in suffixes or (usual,) for pair in _in_folder(sources, last, suffix.removeprefix("."))]
    if suffixes is not None:
        raise UsageError(f"--format is for a folder as the target; the suffix of {last} selects its format")
    sources = expand_patterns(words[:1])
    if len(sources) > 1:
        raise UsageError(f"{words[0]} matches {len(sources)} files: name a folder as the target, or --compose them")
    return [((sources[0],), target) for target in words[1:]]


def _in_folder(sources: Sequence[Path], folder: Path, suffix: str) -> list[Pair]:
    """Targets named as their sources; UsageError where two would be the same file."""
    targets = [folder / f"{_name(source)}.{suffix}" for source in sources]
    for target in targets:
        if targets.count(target) > 1:
            raise UsageError(f"{target}: two sources would be written there; rename one of them")
    return [((source,), target) for source, target in zip(sources, targets, strict=True)]


def _is_readable_scene(path: Path) -> bool:
    """Whether a file is a scene of a format that can be read."""
    named = [row for row in FORMATS.values() if path.name.lower().endswith(row.suffixes)]
    return is_scene(path) and (not named or any(row.read is not None for row in named))


def _is_run(folder: Path) -> bool:
    """Whether a trainer left a folder; asked only where something in it looks so, for asking imports torch."""
    inside = list(folder.iterdir())
    likely = any(path.is_dir() or path.suffix in (".pt", ".ckpt") or path.name == "point_cloud.ply" for path in inside)
    return likely and is_scene(folder)


def _name(source: Path) -> str:
    """A file's name without the suffixes of its format."""
    if source.name in SOG_FILES:
        return source.resolve().parent.name
    if source.is_dir():
        return source.resolve().name
    known = [s for row in FORMATS.values() for s in row.suffixes if source.name.lower().endswith(s)]
    return source.name[: -len(max(known, key=len))] if known else source.stem
