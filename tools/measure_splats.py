"""Splats from photographs, from a field and from a mesh, and fields from splats, as docs/benchmarks.md shows them.

python tools/measure_splats.py ../shared/data/images/chair --mesh ../shared/data/meshes/spot/spot.obj

Every cell is a line `splats/...` of tools/results/summary.jsonl; a run that was stopped goes on with what is missing.
"""

from volkit.threads import set_wait_policy

set_wait_policy()  # before torch is loaded

import argparse
from pathlib import Path

from cells import measured

from volkit.commands.compare import CompareJob
from volkit.commands.convert import ConvertJob
from volkit.commands.fit import FitJob
from volkit.progress import Progress

SIZE = 400
FITS = (("hash_grid", "60s"), ("splats", "5m"))  # from photographs; teachers of what follows
CONVERSIONS = (
    ("hash_grid", "splats", "120s"),
    ("splats", "hash_grid", "90s"),
    ("splats", "tensor_vm", "90s"),
    ("mesh", "splats", "60s"),
)


def main() -> None:
    """Fit and convert what has no result yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="dataset of posed photographs")
    parser.add_argument("--mesh", type=Path, help="a textured mesh; without it nothing is made from one")
    parser.add_argument("--work", type=Path, default=Path("out/splats"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    for kind, budget in FITS:
        fit(options, kind, budget)
    for source, kind, budget in CONVERSIONS:
        if source != "mesh" or options.mesh is not None:
            convert(options, source, kind, budget)


def fit(options: argparse.Namespace, kind: str, budget: str) -> None:
    """A scene from photographs."""
    target = options.work / f"{kind}.safetensors"
    job = FitJob(options.data, target, to=kind, size=SIZE, budget=budget, force=True)
    measured(f"splats/photographs-{kind}-{budget}", lambda: job.run(Progress()), target)


def convert(options: argparse.Namespace, source: str, kind: str, budget: str) -> None:
    """A scene from another, beside its teacher's pictures and, where there are any, the photographs."""
    teacher = options.mesh if source == "mesh" else options.work / f"{source}.safetensors"
    target = options.work / f"{source}-{kind}.safetensors"
    job = ConvertJob((teacher, target), to=kind, budget=budget, size=SIZE, force=True)

    def run() -> dict:
        report = job.run(Progress())
        if source == "mesh":
            return report
        return report | {"psnr": CompareJob(target, options.data, size=SIZE).run(Progress())["psnr"]}

    measured(f"splats/{source}-{kind}-{budget}", run)


if __name__ == "__main__":
    main()
