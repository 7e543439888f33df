"""`volkit convert`: a scene of any kind into any other, or into a mesh, with no photographs needed."""

import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from volkit.choices import KINDS, AnyKind, Device
from volkit.commands.edits import EDIT_HELP, parse_edits
from volkit.commands.mesh_flags import MeshFlags
from volkit.commands.options import FROM_PYTHON, Shown
from volkit.commands.usage import UsageError

if TYPE_CHECKING:  # help does not wait for torch, nor for arrays
    from volkit.evaluation.fidelity import Fidelity
    from volkit.io.splats.transcode import Transcoded
    from volkit.progress import Progress
    from volkit.reports.convert_report import ConversionReport
    from volkit.training.loop import Budget

__all__ = ["ConvertJob"]

BUDGET = "60s"
ANEW = ("budget", "method", "photos", "resume", "preview", "config")  # that ask a field for learning in any case
OF_SPLATS = ("sh_degree", "surfels")  # that say nothing about other kinds
# Options that ask for a scene, to be changed, learnt or drawn, where else a file of splats is one of columns.
OF_SCENES = (*ANEW, *OF_SPLATS, "size", "max_splats", "report", "dry_run", "pictures")
LEARNING = (*ANEW, "max_splats", *OF_SPLATS, "dry_run")  # that mean nothing for a mesh, which is extracted


@dataclass(frozen=True)
class ConvertJob:
    """Convert a scene into another representation by distillation, or extract a textured mesh from it.

    The student answers to its teacher, not to photographs; --photos adds a last stage on photographs, in which it may
    pass its teacher. Example: volkit convert chair.safetensors chair_vm.safetensors --to tensor_vm --budget 60s
    A mesh is extracted, not learnt: volkit convert chair.safetensors chair.glb --faces 20000 --lods 3 --collider hulls
    A source that is a mesh keeps its surface and texture unless one of the mesh options asks for other ones.
    """

    paths: Annotated[tuple[Path, ...], Shown("SOURCE... TARGET")]
    """The last is a folder, or the first is the source and the rest are targets. Sources may be
    folders and quoted patterns, 'captures/*.ply'."""
    to: AnyKind | None = None
    """Kind of representation, or mesh; by default the source's own, where the target's format holds it. Without an
    option of learning such a source is written as it is."""
    method: Literal["volkit", "pvd", "pvd-al"] | None = None
    """volkit (the default): closed-form start, cached answers, error-driven rays; pvd, pvd-al: the published
    methods."""
    budget: str | None = None
    """60s (as long as nothing is said), 10m of optimisation, or 2000 for steps."""
    photos: Path | None = None
    """Dataset for a last stage on photographs."""
    compose: bool = False
    """Join all sources, fields or splats, into one target (the last path)."""
    edit: Annotated[tuple[str, ...], Shown("ACTION", EDIT_HELP)] = ()
    size: int | None = None
    """Longest side of the pictures asked for, by default that of the source's cameras."""
    max_splats: int | None = None
    """How many splats there may be; by default all that a source of splats has, else 60000."""
    sh_degree: int | None = None
    """Degree of the spherical harmonics of splats, 0 to 4; by default that of a source of splats, else 3."""
    surfels: bool = False
    """Flat splats (2D Gaussians), where splats are made; a source of flat ones gives flat ones in any case."""
    mesh: MeshFlags = field(default_factory=MeshFlags)
    """With --to mesh."""
    format: str | None = None
    """Suffix of the targets where the last path is a folder: glb, ply, safetensors; several by commas: spz,sog."""
    frame: Literal["auto", "zup", "yup", "ydown"] = "auto"
    """What is up in the target's coordinates: zup, yup, ydown (-Y, as .ply of captures); auto: as its format has it."""
    spz_frame: Literal["rub", "ply", "auto"] = "rub"
    """Axes of an .spz that is read or written: rub as documented, ply as in a .ply, auto as the file's record says."""
    jobs: int = 1
    """How many conversions go on at once, where there are several; they share the cores."""
    report: Path | None = None
    """Write what was done and lost as a page with pictures (.html) or as JSON (.json); of several conversions, one."""
    measure: bool = True
    """Do not read what was written to compare it with its source, by eight views and parameter by parameter."""
    pictures: bool = False
    """Compare by views, too, a file of splats that is written as another one: else splat by splat alone, exactly."""
    drop_bad: bool = False
    """Leave out splats whose values are not finite, and say how many."""
    seed: int = 0
    """Same seed, same budget in steps, same machine: same result."""
    device: Device = "auto"
    """auto: cuda where its kernels pass a test of themselves, else cpu."""
    checkpoint_seconds: float = 20.0
    """How much work a power cut may cost."""
    resume: bool = False
    """Go on from TARGET.part."""
    force: bool = False
    """Overwrite existing targets."""
    dry_run: bool = False
    """Say what it would take, and stop."""
    config: Any = field(default=None, metadata=FROM_PYTHON)
    """Sizes of the representation, from Python or a preset; by default those of its paper."""
    preview: bool = False
    """Write TARGET.png, a held-out view, as the conversion goes on."""

    def run(self, progress: "Progress") -> dict[str, Any]:
        """Convert, write, measure, report; several results are listed under `results`, failures counted by `failed`."""
        self.check()
        from volkit.commands.batch import batch_report, pair_sources, run_all

        if self.report is not None:
            from volkit.reports.page import check_report

            self.check_new(self.report)
            check_report(self.report)
        suffixes = None if self.format is None else self.format.split(",")
        pairs = pair_sources(self.paths, suffixes, "glb" if self.wants_mesh else "safetensors", self.compose)
        if not self.dry_run and pairs[0][1].parent == self.paths[-1]:
            self.paths[-1].mkdir(parents=True, exist_ok=True)
        runs = [
            (target, partial(replace(self, paths=(*sources, target), format=None)._one, sources, target))
            for sources, target in pairs
        ]
        if len(runs) == 1:
            report = runs[0][1](progress)
            pictures = [report.pop("worst_views", None)]
        else:
            results = run_all(runs, self.jobs, progress, resume=self.resume)
            pictures = [result.pop("worst_views", None) for result in results]
            named = [{"source": [str(s) for s in sources]} for sources, _ in pairs]
            results = [name | result for name, result in zip(named, results, strict=True)]
            report = batch_report("convert", results)
        if self.report is not None:
            from volkit.reports.conversion_page import write_report

            write_report(self.report, report, pictures)
        return report

    def _one(self, sources: tuple[Path, ...], target: Path, progress: "Progress") -> dict[str, Any]:
        """One conversion as plain values; `worst_views` are pictures for a page, where there will be one."""
        if _is_transcoding(self, sources, target):
            return _transcoded(self, sources[0], target, progress).as_dict()
        from volkit.commands.conversion import convert_files, estimate_files

        if self.dry_run:
            return estimate_files(self, sources, target, progress)
        report = convert_files(self, sources, target, progress)
        return report.as_dict() | {"worst_views": report.fidelity and report.fidelity.worst_views}

    def check(self) -> None:
        """UsageError where options contradict each other, whatever the files hold."""
        if len(self.paths) < 2:
            raise UsageError("convert: give a source and a target")
        if self.to not in (None, "mesh", *KINDS):
            kinds = ", ".join((*KINDS, "mesh"))
            raise UsageError(f"--to {self.to}: there is no such kind to convert to; choose one of {kinds}")
        if self.mesh.given and self.to not in (None, "mesh"):
            raise UsageError(f"about meshes alone: {_flags(self.mesh.given)}; give them with --to mesh")
        if self.to not in (None, "splats") and (given := self.given(*OF_SPLATS)) and not self.wants_mesh:
            raise UsageError(f"about splats alone: {_flags(given)}; give them with --to splats")
        if self.wants_mesh:
            self.check_mesh()
        if self.pictures and not self.measure:
            raise UsageError("--pictures is a way to measure: leave it or --no-measure out")
        if self.sh_degree is not None and not 0 <= self.sh_degree <= 4:
            raise UsageError(f"--sh-degree {self.sh_degree}: the harmonics of splats have degree 0 to 4")
        if self.budget is not None:
            self.parsed_budget()
        if self.edit:
            parse_edits(self.edit)

    def check_mesh(self) -> None:
        """UsageError where options ask for learning, and the result is a mesh."""
        if given := self.given(*LEARNING):
            raise UsageError(f"a mesh is extracted, not learnt: leave out {_flags(given)}")

    def check_new(self, path: Path) -> None:
        """FileExistsError where a target is there already, and may not be replaced."""
        if path.exists() and not self.force and not self.dry_run:
            raise FileExistsError(f"{path}: exists already; --force overwrites it")

    def parsed_budget(self) -> "Budget":
        """How long to learn, where anything is learnt."""
        from volkit.training.loop import Budget

        try:
            return Budget.parse(self.budget or BUDGET)
        except ValueError as error:
            raise UsageError(f"--{error}") from error

    @property
    def wants_mesh(self) -> bool:
        """Whether options ask for a mesh."""
        return self.to == "mesh" or (self.to is None and bool(self.mesh.given))

    def given(self, *names: str) -> list[str]:
        """Those of these options that were typed, whatever their values."""
        return [n for n in names if getattr(self, n) is not None and getattr(self, n) is not False]


def _flags(names: Any) -> str:
    return ", ".join("--" + name.replace("_", "-") for name in names)


def _is_transcoding(job: ConvertJob, sources: tuple[Path, ...], target: Path) -> bool:
    """Whether one file of splats shall be another, and no option asks for a scene in between."""
    if len(sources) != 1 or job.to not in (None, "splats") or job.edit or job.wants_mesh or job.device == "cuda":
        return False
    if job.given(*OF_SCENES):
        return False
    from volkit.io.splats.transcode import is_splats_to_splats

    return is_splats_to_splats(sources[0], target)


def _transcoded(job: ConvertJob, source: Path, target: Path, progress: "Progress") -> "ConversionReport":
    """Write the target; what it lost is measured splat by splat, which says more than pictures of them."""
    import numpy as np

    from volkit.io import FileAxes
    from volkit.io.splats.transcode import transcode
    from volkit.reports.convert_report import ConversionReport
    from volkit.reports.file_size import stored_bytes
    from volkit.threads import thread_count

    job.check_new(target)
    axes = FileAxes(job.frame, job.spz_frame)
    made = transcode(source, target, axes=axes, spz_frame=job.spz_frame, drop_bad=job.drop_bad, progress=progress)
    splats, told = made.splats, made.splats.provenance
    of_spz = target.suffix.lower() == ".spz" or "spz_frame" in told
    return ConversionReport(
        source=(str(source),),
        target=str(target),
        source_kind="splats",
        kind="splats",
        seed=job.seed,
        device="cpu",
        backend={"choice": "numpy", "numpy": np.__version__, "threads": thread_count()},
        seconds=round(made.seconds, 2),
        source_bytes=stored_bytes(source),
        bytes=stored_bytes(target),
        steps=0,
        method="volkit",
        parameters=sum(column.size for column in splats.columns.values()),
        source_splats=len(splats),
        splats=len(splats),
        spz_frame=str(told.get("spz_frame", "ply" if axes.raw else "rub")) if of_spz else None,
        fidelity=_fidelity(made, progress) if job.measure else None,
        notes=tuple(progress.notes),
    )


def _fidelity(made: "Transcoded", progress: "Progress") -> "Fidelity | None":
    from volkit.evaluation.fidelity import Fidelity, splat_differences
    from volkit.io.splats.transcode import read_back

    started = time.perf_counter()
    with progress.phase("measure"):
        written = read_back(made)
    if written is None:
        progress.note(f"{made.target}: is not measured, for its format is written and not read")
        return None
    differences = splat_differences(made.splats, written, made.order)
    seconds = round(time.perf_counter() - started, 2)
    return Fidelity(differences, {"by": "parameters", "splats": len(written), "seconds": seconds})
