"""Fits from photographs at the budgets that docs/benchmarks.md shows.

python tools/measure_fit.py ../shared/data/images --work out/fits
"""

from volkit.threads import set_wait_policy

set_wait_policy()  # before torch is loaded

import argparse
from pathlib import Path

from cells import measured

from volkit.commands.fit import FitJob
from volkit.progress import Progress

FITS = (
    ("chair-400-120s", "chair", {"size": 400, "budget": "120s"}),
    ("chair-400-10m", "chair", {"size": 400, "budget": "10m"}),
    ("fox-480-3m", "fox", {"size": 480, "budget": "3m", "holdout": 8}),
    ("fox-480-30m", "fox", {"size": 480, "budget": "30m", "holdout": 8}),
)


def main() -> None:
    """Fit what has no result yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder that holds the datasets chair and fox")
    parser.add_argument("--work", type=Path, default=Path("out/fits"))
    parser.add_argument("--only", nargs="*", help="names of the fits to run")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    for name, dataset, settings in FITS:
        if not options.only or name in options.only:
            job = FitJob(options.data / dataset, options.work / f"{name}.safetensors", force=True, **settings)
            measured(f"fits/{name}", lambda job=job: job.run(Progress()))


if __name__ == "__main__":
    main()
