"""CPU seconds of starting: help, small commands and a small conversion, beside torch's own import.

    python tools/bench_startup.py --before /tmp/other/.venv/bin/python

Every case is a process of its own, timed by the system (user and system time); builds go in turn, round by round.
Medians are printed, and kept as `startup` in tools/results/summary.jsonl. `--before` is the Python of another build.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from kept import keep

from volkit.io.splats import ply
from volkit.io.splats.columns import SplatColumns

SPLATS = 1000
COMMAND = ("-m", "volkit.cli")
# What is run, and the most CPU seconds that it may take; "torch": as many as torch's own import and 0.4.
CASES = {
    "volkit --help": ((*COMMAND, "--help"), 0.3),
    "volkit convert --help": ((*COMMAND, "convert", "--help"), 0.3),
    "volkit formats": ((*COMMAND, "formats"), 0.3),
    "import volkit": (("-c", "import volkit"), 0.1),
    "volkit convert a.ply b.spz": ((*COMMAND, "convert", "a.ply", "b.spz", "--force"), 0.8),
    "volkit convert a.ply b.sog": ((*COMMAND, "convert", "a.ply", "b.sog", "--force"), 0.8),
    "import torch": (("-c", "import torch"), None),
    "volkit doctor": ((*COMMAND, "doctor"), "torch"),
    "volkit inspect a.ply": ((*COMMAND, "inspect", "a.ply"), "torch"),
    "volkit render a.ply a.png": ((*COMMAND, "render", "a.ply", "a.png", "--size", "32", "--force"), "torch"),
}
BESIDE_TORCH = 0.4


def main() -> None:
    """Time all, print and keep the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="the Python of another build, timed in turn with this one")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    builds = {"now": sys.executable} | ({} if options.before is None else {"before": str(options.before)})
    with tempfile.TemporaryDirectory() as folder:
        ply.write(cloud(), Path(folder) / "a.ply")
        seconds = timed(builds, Path(folder), options.rounds)
    rows = [
        {"case": case, "limit": limit, **{build: round(statistics.median(seconds[case, build]), 3) for build in builds}}
        for case, (_, limit) in CASES.items()
    ]
    for row in rows:
        print(json.dumps(row))
    keep("startup", {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1), "splats": SPLATS,
                     "rounds": options.rounds, "rows": rows})  # fmt: skip


def timed(builds: dict[str, str], folder: Path, rounds: int) -> dict[tuple[str, str], list[float]]:
    """CPU seconds by case and build; the first run of each, which may write bytecode, does not count."""
    found: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds + 1):
        for case, (words, _) in CASES.items():
            for build, python in builds.items():
                seconds = cpu_seconds([python, *words], folder)
                found.setdefault((case, build), []).extend([seconds] if number else [])
    return found


def cpu_seconds(line: list[str], folder: Path) -> float:
    """User and system time of a process that must succeed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["OMP_NUM_THREADS"] = "1"
    subprocess.run(line, cwd=folder, env=environment, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def cloud() -> SplatColumns:
    """Small splats of any colour, degree 3."""
    generator = np.random.default_rng(0)
    shapes = {"means": (3,), "quaternions": (4,), "log_scales": (3,), "logits": (), "sh_dc": (1, 3), "sh_rest": (15, 3)}
    columns = {name: generator.standard_normal((SPLATS, *shape), np.float32) for name, shape in shapes.items()}
    columns["log_scales"] = 0.5 * columns["log_scales"] - 4
    return SplatColumns(**{name: values.astype(np.float32) for name, values in columns.items()})


if __name__ == "__main__":
    main()
