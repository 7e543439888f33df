"""Measured cells: a line of the summary each, with the machine and the share of it that the run really got."""

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from kept import keep, results

__all__ = ["brief", "measured", "refuse_company"]

BUSY = 0.25  # runnable processes beside ours that make a figure worthless


PLACES = ("source", "target", "prior")
TIMES = ("seconds", "ms_per_step")  # what company makes worthless
BACKEND = ("native", "isa", "cuda_devices")  # of the report of backends: what may explain a figure


def measured(
    name: str, run: Callable[[], dict[str, Any]], produced: Path | None = None, *, timed: bool = True
) -> dict[str, Any]:
    """The report of `run`, from the summary if it is there (and `produced` too), else run and kept.

    What is done in so many steps, not seconds, comes out the same in any company: not `timed`, it says no time.
    """
    folder, _, own = name.rpartition("/")
    known = results(folder).get(own)
    if known is not None and (produced is None or produced.exists()):
        return known
    if timed:
        refuse_company()
    wall, cpu = time.perf_counter(), _cpu_seconds()
    report = run()
    used = (_cpu_seconds() - cpu) / (time.perf_counter() - wall)
    share = {"cpu_share": round(used / (os.cpu_count() or 1), 3)} if timed else {}
    report = {key: value for key, value in report.items() if timed or key not in TIMES}
    report = brief({**report, "machine": _machine(), **share})
    keep(name, report)
    print(name, *(f"{key}={report[key]}" for key in ("psnr", "psnr_to_source", "seconds") if key in report), flush=True)
    return report


def brief(report: dict[str, Any]) -> dict[str, Any]:
    """What is worth keeping of a report: no course of a run, of the backends what matters, names instead of places."""
    kept = {key: _placeless(value) if key in PLACES else value for key, value in report.items() if key != "history"}
    if isinstance(kept.get("backend"), dict):
        kept["backend"] = {key: kept["backend"][key] for key in BACKEND if key in kept["backend"]}
    return kept


def refuse_company() -> None:
    """RuntimeError while other processes keep the CPU busy: such figures are not worth keeping."""
    time.sleep(1.0)
    before, start = _all_cpu_seconds(), time.perf_counter()
    own = _cpu_seconds()
    time.sleep(1.0)
    others = (_all_cpu_seconds() - before) - (_cpu_seconds() - own)
    busy = others / (time.perf_counter() - start)
    if busy > BUSY:
        raise RuntimeError(f"measure: other processes use {busy:.2f} CPUs; wait until the machine is idle")


def _placeless(paths: str | list[str]) -> str | list[str]:
    """Names instead of absolute paths: what is kept says nothing of the machine's folders."""
    if isinstance(paths, list):
        return [str(_placeless(path)) for path in paths]
    return Path(paths).name if Path(paths).is_absolute() else paths


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system


def _all_cpu_seconds() -> float:
    values = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    user, nice, system = values[:3]
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def _machine() -> dict[str, Any]:
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
