"""Time a step of score distillation without its prior: four views of 64x64 drawn, backward, the optimiser.

python tools/bench_generation.py      a hash grid and splats under the toy prior of 64 pixels, 400 steps each

What the prior takes, with the pictures' way into its space, is timed inside the run and left out. Results are kept as
lines `generation/step-KIND` of tools/results/summary.jsonl; nothing else may run on the machine.
"""

from volkit.threads import set_wait_policy

set_wait_policy()  # before torch is loaded

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from cells import measured

from volkit.commands.generate import GenerateJob
from volkit.files.bundled import bundled_folder
from volkit.guidance import Guidance
from volkit.progress import Progress

PRIOR, PROMPT, VIEWS = "toy_prior/pixels64", "a red sphere on a blue cube", 4
HALVES = ("ms_outside_prior_first_half", "ms_outside_prior")


def main() -> None:
    """Run what has no result yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", default=["hash_grid", "splats"])
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    for kind in options.kinds:
        report = measured(f"generation/step-{kind}", lambda k=kind: timed(k, options.steps))
        print(f"{kind}: {report[HALVES[1]]} ms a step are not the prior's, {report[HALVES[0]]} in the first half")


def timed(kind: str, steps: int) -> dict[str, Any]:
    """Of one run: milliseconds between two questions to the prior, in both halves; medians."""
    with tempfile.TemporaryDirectory() as folder, stopwatch() as asked:
        job = GenerateJob(
            PROMPT, Path(folder) / "a.safetensors", to=kind, prior=str(bundled_folder(PRIOR)), budget=str(steps),
            views=VIEWS,
        )  # fmt: skip
        report = job.run(Progress())
    gaps = [1e3 * (start - end) for (_, end), (start, _) in pairwise(asked)]
    halves = {half: round(median(some), 1) for half, some in zip(HALVES, _halved(gaps), strict=True)}
    kept = {key: report[key] for key in ("prompt", "kind", "method", "steps", "seconds", "ms_per_step", "backend")}
    prior = round(1e3 * median(end - start for start, end in asked), 1)
    return kept | {"views": VIEWS, "ms_of_prior": prior} | halves


def _halved(values: list[float]) -> tuple[list[float], list[float]]:
    return values[: len(values) // 2], values[len(values) // 2 :]


@contextmanager
def stopwatch() -> Iterator[list[tuple[float, float]]]:
    """When each call of the guidance begins and ends, in seconds."""
    step, asked = Guidance.step, []

    def watched(self: Guidance, *given: Any) -> Any:
        start = time.perf_counter()
        try:
            return step(self, *given)
        finally:
            asked.append((start, time.perf_counter()))

    Guidance.step = watched
    try:
        yield asked
    finally:
        Guidance.step = step


if __name__ == "__main__":
    main()
