"""How every benchmark here measures: machine facts, an idle machine or an honest mark, interleaved repeats,
quantiles.

Timings of one case alternate (A, B, A, B, ...), so that a slow second hurts all of them alike. Wall clock and
the process's own CPU time are both kept: on a shared machine the second says what the first would have been.
"""

import os
import platform
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from cells import brief
from kept import keep, results

from volkit import __version__
from volkit.ops import backend

__all__ = ["Bench", "Cases", "agree", "busy_cores", "machine_facts", "measure", "save", "summary"]

IDLE = 0.15  # cores that others may use before a run is refused

Cases = dict[str, dict[str, dict[str, Any]]]


@dataclass(frozen=True)
class Bench:
    """What a section needs: where to run, how often, how many points."""

    device: torch.device
    repeats: int
    points: int
    generator: torch.Generator
    warm_up: int = 3

    def rand(self, *shape: int) -> torch.Tensor:
        """Uniform numbers on the device."""
        return torch.rand(*shape, generator=self.generator).to(self.device)

    def time(self, variants: dict[str, Callable[[], object]], items: int) -> dict[str, dict[str, Any]]:
        """Time variants of the same work."""
        return measure(variants, items, self.device, repeats=self.repeats, warm_up=self.warm_up)

    def brief(self) -> "Bench":
        """The same with a few repeats, for what takes seconds."""
        return replace(self, repeats=min(self.repeats, 3), warm_up=1)


def agree(compute: Callable[[], torch.Tensor], tolerance: float) -> None:
    """Raise unless the chosen implementation and the plain torch reference give the same."""
    with torch.no_grad():
        ours = compute()
        with backend.use("reference"):
            torch.testing.assert_close(ours, compute(), rtol=tolerance, atol=tolerance)


def busy_cores(seconds: float = 1.0) -> float:
    """Count the cores that other processes use, stolen time included, over a while; 0 where /proc is
    absent."""
    if not Path("/proc/stat").exists():
        return 0.0

    def used() -> float:
        fields = [int(x) for x in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
        user, nice, system, _, _, irq, soft, steal = fields[:8]
        return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")

    before, own = used(), time.process_time()
    time.sleep(seconds)
    return max(0.0, used() - before - (time.process_time() - own)) / seconds


def machine_facts(device: torch.device) -> dict[str, object]:
    """Say what ran where: commit, processor or GPU, threads, versions, instruction set, load."""
    model = re.search(r"model name\s*:\s*(.*)", _read("/proc/cpuinfo"))
    return {
        "commit": _git("rev-parse", "--short", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "volkit": __version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(model),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "busy_cores": round(busy_cores(), 2),
        "backend": backend.describe(),
    }


def measure(
    variants: dict[str, Callable[[], object]], items: int, device: torch.device, *, repeats: int = 20, warm_up: int = 3
) -> dict[str, dict[str, float]]:
    """Time variants of the same work in turns; milliseconds (median, p10, p90, CPU) and million items a
    second."""
    for run in variants.values():
        for _ in range(warm_up):
            run()
    walls: dict[str, list[float]] = {name: [] for name in variants}
    processors: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, run in variants.items():
            os.sync()  # what the one before left to be written is not this one's
            _settle(device)
            wall, own = time.perf_counter(), time.process_time()
            run()
            _settle(device)
            walls[name].append(time.perf_counter() - wall)
            processors[name].append(time.process_time() - own)
    return {
        name: summary(walls[name], items) | {"cpu_ms": round(sorted(own)[len(own) // 2] * 1e3, 4)}
        for name, own in processors.items()
    }


def save(name: str, device: torch.device, sections: dict[str, object]) -> str:
    """Keep facts and sections in the summary as `<name>-<device>`; sections that were not run keep their old entry."""
    facts = brief(machine_facts(device))
    slug = re.sub(r"[^a-z0-9]+", "-", str(facts["device"]).lower()).strip("-")
    name = f"{name}-{slug}"
    old = results().get(name, {}).get("sections", {})
    new = {section: {"facts": facts, "cases": cases} for section, cases in sections.items()}
    keep(name, {"sections": old | new})
    return name


def summary(walls: list[float], items: int) -> dict[str, float]:
    """Median and quantiles of wall clock in milliseconds, and million items a second."""
    ordered = sorted(walls)
    median = ordered[len(ordered) // 2]
    return {
        "median_ms": round(median * 1e3, 4),
        "p10_ms": round(ordered[len(ordered) // 10] * 1e3, 4),
        "p90_ms": round(ordered[-1 - len(ordered) // 10] * 1e3, 4),
        "million_per_s": round(items / median / 1e6, 5),
    }


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _read(path: str) -> str:
    return Path(path).read_text() if Path(path).exists() else ""


def _processor(model: re.Match[str] | None) -> str:
    return model.group(1).strip() if model else platform.processor() or platform.machine()


def _git(*arguments: str) -> str:
    answer = subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=Path(__file__).parent)
    return answer.stdout.strip()
