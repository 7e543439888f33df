"""The conversion matrix, its from-scratch controls and the published baselines, on one dataset.

    python tools/measure_conversion.py ../shared/data/images/chair --work out/matrix --parts teachers matrix

Every cell is a line `conversion/...` of tools/results/summary.jsonl; a run that was stopped goes on with the rest.
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

FIELDS = ("hash_grid", "tensor_vm", "voxels", "planes", "tensor_cp", "mlp")
KINDS = (*FIELDS, "splats")  # what is learnt
SOURCES = (*KINDS, "mesh")  # from what
TEACHER_BUDGET = {"mlp": "5m"}
SCRATCH = (("20s", "60s"), ("60s",))  # budgets of the controls: of the rest, of the MLP, whose teacher has 5 minutes
BASELINES = ("pvd", "pvd-al")
SHORT = "10s"  # of a conversion beside them
FOREIGN = "nerf-pytorch"  # what the cells of a teacher made by others are called
FOREIGN_STUDENTS = ("hash_grid", "tensor_vm", "voxels")
NAMED = (("hash_grid", "mlp"), ("hash_grid", "tensor_vm"), ("tensor_vm", "hash_grid"), ("hash_grid", "voxels"),
         ("voxels", "hash_grid"), ("planes", "tensor_vm"))  # fmt: skip
PARTS = ("teachers", "matrix", "scratch", "baselines", "named", "foreign")


def main() -> None:
    """Run the parts that were asked for, cell by cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--size", type=int, default=200)
    parser.add_argument("--work", type=Path, default=Path("out/matrix"))
    parser.add_argument("--budget", default="60s", help="of a cell")
    parser.add_argument("--teacher-budget", default="2m")
    parser.add_argument("--sources", nargs="+", default=SOURCES, help="kinds of teachers")
    parser.add_argument("--kinds", nargs="+", default=KINDS, help="kinds of students")
    parser.add_argument("--mesh", type=Path, help="a textured mesh: the teacher of the cells from meshes")
    parser.add_argument("--seeds", type=int, default=3, help="of the named cells")
    parser.add_argument("--methods", nargs="+", default=BASELINES, choices=BASELINES, help="of the published ones")
    parser.add_argument("--parts", nargs="+", default=("teachers", "matrix"), choices=PARTS)
    parser.add_argument(
        "--checkpoint", type=Path, help="of others, a plain NeRF .ckpt: the teacher of the foreign part"
    )
    options = parser.parse_args()
    if options.mesh is None:
        options.sources = [source for source in options.sources if source != "mesh"]
    options.work.mkdir(parents=True, exist_ok=True)
    for part in options.parts:
        run = {"teachers": teachers, "matrix": matrix, "scratch": scratch, "baselines": baselines, "named": named,
               "foreign": foreign}  # fmt: skip
        run[part](options)


def teachers(options: argparse.Namespace) -> None:
    """One field of every kind from the photographs."""
    for kind in options.sources:
        if kind not in KINDS:
            continue
        target = options.work / f"{kind}.safetensors"
        budget = TEACHER_BUDGET.get(kind, options.teacher_budget)
        job = FitJob(options.data, target, to=kind, size=options.size, budget=budget, force=True)
        measured(f"conversion/teacher-{kind}", lambda job=job: job.run(Progress()), target)


def convert(options: argparse.Namespace, source: str, kind: str, method: str, budget: str, seed: int = 0) -> None:
    """One cell: the student against its teacher's pictures, and against the photographs."""
    target = options.work / f"{source}-{kind}-{method}.safetensors"
    files = {FOREIGN: options.checkpoint, "mesh": options.mesh}
    teacher = files.get(source, options.work / f"{source}.safetensors")
    job = ConvertJob((teacher, target), to=kind, method=method, budget=budget, seed=seed, force=True)

    def run() -> dict:
        report = job.run(Progress())
        if source == "mesh":  # of which there are no photographs
            return report
        compared = CompareJob(target, options.data).run(Progress())
        return {**report, "psnr": compared["psnr"], "ssim": compared["ssim"]}

    measured(f"conversion/{source}-{kind}-{method}-{budget}-{seed}", run)
    target.unlink(missing_ok=True)


def matrix(options: argparse.Namespace) -> None:
    """Every kind into every other by our method."""
    for source in options.sources:
        for kind in options.kinds:
            if kind != source:
                convert(options, source, kind, "volkit", options.budget)


def scratch(options: argparse.Namespace) -> None:
    """The same students from the photographs, each budget with a schedule of its own, and short conversions beside.

    A teacher is a fit from scratch as well, at its own budget.
    """
    for kind in options.kinds:
        for budget in SCRATCH[kind == "mlp"]:
            target = options.work / f"scratch-{kind}.safetensors"
            job = FitJob(options.data, target, to=kind, size=options.size, budget=budget, force=True)
            measured(f"conversion/scratch-{kind}-{budget}", lambda job=job: job.run(Progress()))
    for source in options.sources:
        for kind in options.kinds:
            if kind != source:
                convert(options, source, kind, "volkit", SHORT)


def baselines(options: argparse.Namespace) -> None:
    """PVD and PVD-AL in the same engine, at the matrix's budget."""
    for method in options.methods:
        for source in options.sources:
            for kind in options.kinds:
                if kind != source and {source, kind} <= set(FIELDS):
                    convert(options, source, kind, method, options.budget)


def named(options: argparse.Namespace) -> None:
    """The baselines' 10 minutes beside our one, on a few cells, a seed at a time."""
    for seed in range(options.seeds):
        for source, kind in NAMED:
            convert(options, source, kind, "volkit", "60s", seed)
            for method in options.methods:
                convert(options, source, kind, method, "10m", seed)


def foreign(options: argparse.Namespace) -> None:
    """A checkpoint that others trained, into fields of ours."""
    if options.checkpoint is None:
        raise SystemExit("measure_conversion: the foreign part needs --checkpoint FILE.ckpt")
    for kind in FOREIGN_STUDENTS:
        convert(options, FOREIGN, kind, "volkit", options.budget)


if __name__ == "__main__":
    main()
