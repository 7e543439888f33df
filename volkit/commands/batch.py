"""Many conversions by one command: what fails is told, what is finished is kept, and the rest goes on."""

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

from volkit.commands.usage import UsageError
from volkit.io import FORMATS, is_scene
from volkit.progress import Progress
from volkit.threads import apply_threads, available_cores, keep_memory, set_wait_policy

__all__ = ["Pair", "batch_report", "expand_patterns", "pair_sources", "run_all"]

BLAMED = (ValueError, OSError, RuntimeError, ArithmeticError)  # what a scene or the machine can be the reason of
KILLED = "its process was killed, as happens when memory runs out; give fewer --jobs"
GRACE = 0.7  # seconds in which an interrupted process may put away what it has half written

Pair = tuple[tuple[Path, ...], Path]
PAGES = ("meta.json", "lod-meta.json")  # name the pictures of SOG beside them; the folder says which scene it is

Run = Callable[[Progress], dict[str, Any]]
Named = Sequence[tuple[Path, Run]]
Reports = list[dict[str, Any]]


def run_all(named: Named, jobs: int, progress: Progress, *, resume: bool = False) -> Reports:
    """Reports of all runs in their order, `jobs` of them at once.

    Each has a `status`: `made`; `failed` with an `error`; with `resume` targets that are there, whole, are `kept`.
    An interruption ends all runs within seconds: those that were not made are then `interrupted`.
    """
    if jobs < 1:
        raise UsageError(f"--jobs {jobs}: at least one conversion goes on at a time")
    kept = {index for index, (target, _) in enumerate(named) if resume and _finished(target)}
    reports = [{"target": str(target), "status": "kept" if index in kept else "interrupted"}
               for index, (target, _) in enumerate(named)]  # fmt: skip
    if kept:
        progress.note(f"{len(kept)} of {len(named)} are there already and are kept")
    left = [(index, target, run) for index, (target, run) in enumerate(named) if index not in kept]
    done = len(kept)
    runs = _one_by_one(left, progress) if jobs == 1 else _at_once(left, jobs, progress)
    try:
        for index, report in runs:
            done += 1
            reports[index] = {"status": "failed" if "error" in report else "made"} | report
            progress.note(f"{done}/{len(named)} {named[index][0]}: {_in_words(report)}")
    except KeyboardInterrupt:
        progress.note(f"interrupted: {done} of {len(named)} are done")
    finally:
        runs.close()
    for report in reports:
        if report["status"] == "interrupted":
            report["error"] = "interrupted before it was done; --resume goes on"
    return reports


def batch_report(command: str, reports: Reports) -> dict[str, Any]:
    """One report of many: counts, the results, and once what is the same of all of them."""
    counts = {status: sum(row["status"] == status for row in reports) for status in ("made", "kept", "failed")}
    backend = next((row["backend"] for row in reports if "backend" in row), None)
    rows = [{name: value for name, value in row.items() if name != "backend"} for row in reports]
    interrupted = any(row["status"] == "interrupted" for row in reports)
    return {"command": command, "results": rows, **counts, "interrupted": interrupted, "backend": backend}


def _in_words(report: dict[str, Any]) -> str:
    if "bytes" in report:
        return f"{report['bytes']} bytes in {report['seconds']:.0f} s"
    return report.get("error") or report.get("time") or "is written as it is"  # a dry run


def _finished(target: Path) -> bool:
    """Whether a target is whole: files are written so that no half one is ever seen; unfinished work lies beside."""
    return target.exists() and not target.with_name(target.name + ".part").exists()


Left = Sequence[tuple[int, Path, Run]]
Done = Iterator[tuple[int, dict[str, Any]]]


def _one_by_one(left: Left, progress: Progress) -> Any:
    for index, target, run in left:
        yield index, _tried(target, run, type(progress)())


@dataclass(frozen=True)
class Worker:
    """A process of its own for one run: one that is killed takes no other with it."""

    index: int
    target: Path
    process: Any
    answer: Connection

    def report(self) -> dict[str, Any]:
        """What it answered, as soon as there is something to hear."""
        try:
            return self.answer.recv()
        except EOFError:
            return _failed(self.target, KILLED)
        finally:
            self.answer.close()
            self.process.join()


def _at_once(left: Left, jobs: int, progress: Progress) -> Any:
    """Runs in processes, each with its share of the cores; at an interruption they are ended."""
    waiting, working = list(left), []
    share = max(1, available_cores() // jobs)
    try:
        with progress.phase(f"{len(left)} conversions"):
            while waiting or working:
                while waiting and len(working) < jobs:
                    working.append(_started(*waiting.pop(0), share))
                ready = wait([worker.answer for worker in working])
                for worker in [worker for worker in working if worker.answer in ready]:
                    working.remove(worker)
                    yield worker.index, worker.report()
                    progress.counted(len(left) - len(waiting) - len(working), len(left))
    finally:
        _end(working)


def _started(index: int, target: Path, run: Run, threads: int) -> Worker:
    context = multiprocessing.get_context("spawn")  # not forked: threads of torch do not outlive a fork
    answer, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sender, target, run, threads), daemon=True)
    with _no_interruption():
        process.start()
    sender.close()  # the child's end alone is left, so that its death is heard
    return Worker(index, target, process, answer)


@contextmanager
def _no_interruption() -> Iterator[None]:
    """Processes started here never hear of Ctrl+C, which a terminal tells a whole group: their parent ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(sender: Connection, target: Path, run: Run, threads: int) -> None:
    """In the child: its parent ends it in a way that lets files be put away; without a parent it ends by itself."""
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    set_wait_policy()  # before torch is loaded
    apply_threads(threads)
    keep_memory()
    with suppress(SystemExit):
        sender.send(_tried(target, run))


def _end_with_parent() -> None:
    """Leave when the parent has ended, however suddenly: nobody is left who would hear of the work."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _end(working: Sequence[Worker]) -> None:
    for worker in working:
        worker.process.terminate()
    until = time.monotonic() + GRACE
    for worker in working:
        worker.process.join(max(0.0, until - time.monotonic()))
        if worker.process.is_alive():
            worker.process.kill()


def _tried(target: Path, run: Run, progress: Progress | None = None) -> dict[str, Any]:
    try:
        return run(progress or Progress())
    except Exception as error:  # whatever it is, the other conversions have nothing to do with it
        surprise = "" if isinstance(error, BLAMED) else f"unexpected {type(error).__name__}: "
        return _failed(target, surprise + str(error))


def _failed(target: Path, why: str) -> dict[str, Any]:
    return {"target": str(target), "error": " ".join(why.split())}


def expand_patterns(words: Sequence[Path]) -> list[Path]:
    """Files for patterns (`*`, `**`, `?`, `[]`), in alphabetical order, and the scene files of folders.

    A folder that a trainer left is one scene.

    Shells that expand patterns by themselves leave nothing to do; where they do not, as on Windows, it is done here.
    ValueError for a pattern without a match and a folder without a scene.
    """
    found: list[Path] = []
    for word in words:
        if word.is_dir() and is_scene(word):  # what a trainer left is one scene
            found.append(word)
        elif word.is_dir():
            inside = sorted(path for path in word.iterdir() if path.is_file() and _opens(path))
            if not inside:
                raise ValueError(f"{word}: the folder holds no scene file; name one, or another folder")
            found += inside
        elif any(sign in str(word) for sign in "*?[") and not word.exists():
            matching = sorted(Path(path) for path in glob(str(word), recursive=True))
            if not matching:
                raise ValueError(f"{word}: no file has such a name; check the pattern")
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
        raise UsageError(f"--format is for a folder; {last} says by its suffix what it is")
    sources = expand_patterns(words[:1])
    if len(sources) > 1:
        raise UsageError(f"{words[0]} stands for {len(sources)} files: name a folder as the target, or --compose them")
    return [((sources[0],), target) for target in words[1:]]


def _in_folder(sources: Sequence[Path], folder: Path, suffix: str) -> list[Pair]:
    """Targets named as their sources are; UsageError where two would be the same file."""
    targets = [folder / f"{_name(source)}.{suffix}" for source in sources]
    for target in targets:
        if targets.count(target) > 1:
            raise UsageError(f"{target}: two sources would be written there; rename one of them")
    return [((source,), target) for source, target in zip(sources, targets, strict=True)]


def _opens(path: Path) -> bool:
    """Whether a file is a scene, and of a format that is not for writing alone."""
    named = [row for row in FORMATS.values() if path.name.lower().endswith(row.suffixes)]
    return is_scene(path) and (not named or any(row.read is not None for row in named))


def _name(source: Path) -> str:
    """A file's name without what says its format."""
    if source.name in PAGES:
        return source.resolve().parent.name
    if source.is_dir():
        return source.resolve().name
    known = [s for row in FORMATS.values() for s in row.suffixes if source.name.lower().endswith(s)]
    return source.name[: -len(max(known, key=len))] if known else source.stem
