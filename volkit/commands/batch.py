"""Many conversions by one command: what fails is told, and the rest goes on."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from volkit.progress import Progress
from volkit.threads import apply_threads, available_cores, keep_memory, set_wait_policy

__all__ = ["run_all"]

BLAMED = (ValueError, OSError, RuntimeError, ArithmeticError)  # what a scene or the machine can be the reason of

Run = Callable[[Progress], dict[str, Any]]


def run_all(named: Sequence[tuple[Path, Run]], jobs: int, progress: Progress) -> list[dict[str, Any]]:
    """Reports of all runs in their order, `jobs` of them at once; of a run that fails: `target` and `error`."""
    if jobs < 1:
        raise ValueError(f"--jobs {jobs}: at least one conversion goes on at a time")
    reports: list[dict[str, Any]] = [{} for _ in named]
    for done, (index, report) in enumerate(_finished(named, jobs, progress), 1):
        reports[index] = report
        said = report.get("error") or report.get("time") or f"{report['bytes']} bytes in {report['seconds']:.0f} s"
        progress.note(f"{done}/{len(named)} {named[index][0]}: {said}")
    return reports


def _finished(named: Sequence[tuple[Path, Run]], jobs: int, progress: Progress) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each run's place and report as it ends."""
    if jobs == 1:
        for index, (target, run) in enumerate(named):
            yield index, _tried(target, run, type(progress)())
        return
    share = max(1, available_cores() // jobs)
    threads = ThreadPoolExecutor(jobs)
    try:
        places = {threads.submit(_alone, target, run, share): index for index, (target, run) in enumerate(named)}
        for future in as_completed(places):
            yield places[future], future.result()
    finally:
        threads.shutdown(cancel_futures=True)


def _alone(target: Path, run: Run, threads: int) -> dict[str, Any]:
    """The report of a run in a process of its own: one that is killed takes no other with it."""
    # spawned, not forked: threads of torch do not outlive a fork
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, _prepare, (threads,)) as pool:
        try:
            return pool.submit(_tried, target, run).result()
        except BrokenProcessPool:
            return _failed(target, "its process was killed, as happens when memory runs out; give fewer --jobs")


def _prepare(threads: int) -> None:
    """First of all in a child, before it loads torch."""
    set_wait_policy()
    apply_threads(threads)
    keep_memory()


def _tried(target: Path, run: Run, progress: Progress | None = None) -> dict[str, Any]:
    try:
        return run(progress or Progress())
    except Exception as error:  # whatever it is, the other conversions have nothing to do with it
        surprise = "" if isinstance(error, BLAMED) else f"unexpected {type(error).__name__}: "
        return _failed(target, surprise + str(error))


def _failed(target: Path, why: str) -> dict[str, Any]:
    return {"target": str(target), "error": " ".join(why.split())}
