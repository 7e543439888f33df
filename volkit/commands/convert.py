"""`volkit convert`: a scene of any kind into any other, or into a mesh, with no photographs needed."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from volkit.choices import FROM_PYTHON
from volkit.commands.edits import EDIT_HELP, edited, parse_edits
from volkit.commands.mesh_flags import MeshFlags
from volkit.commands.options import Shown, UsageError, flag, in_flags, taken
from volkit.conversion.options import BUDGET, LEARNING, ConvertChoices, ConvertOptions, FileChoices, FileOptions

if TYPE_CHECKING:  # help does not wait for torch, nor for arrays
    from volkit.conversion.convert import Work
    from volkit.conversion.source import Source
    from volkit.progress import Progress
    from volkit.representations import RepresentationConfig
    from volkit.training.loop import Budget

__all__ = ["ConvertJob"]

# Options that need a scene in memory; without them a file of splats is transcoded column by column.
OF_SCENES = (*LEARNING, "resume", "preview", "dry_run", "size", "report", "pictures")
# Options that do not change what is made.
FREE = {"resume", "force", "dry_run", "checkpoint_seconds", "preview", "report", "jobs", "measure", "pictures"}


@dataclass(frozen=True)
class ConvertJob(ConvertChoices, FileChoices):
    """Convert a scene into another representation by distillation, or extract a textured mesh from it.

    The source is the teacher of a new scene, which needs no photographs; --photos adds a last stage on photographs.
    Files of splats become other files of splats without training. A source that is a mesh keeps its surface and
    texture, unless an option of meshes asks for other ones.
    Distil: volkit convert chair.safetensors chair_vm.safetensors --to tensor_vm --budget 60s
    Change the format: volkit convert chair.ply chair.spz
    Extract a mesh: volkit convert chair.safetensors chair.glb --faces 20000 --lods 3 --collider hulls
    Many at once: volkit convert 'captures/*.ply' out/ --format spz --jobs 2
    """

    paths: Annotated[tuple[Path, ...], Shown("SOURCE... TARGET")]
    """One source and its targets; or, where the last path is a folder, sources that are all written there. A source may
    be a folder or a quoted pattern, 'captures/*.ply'."""
    photos: Path | None = None
    """Dataset of posed photographs for a last stage, in which a field may surpass its teacher."""
    compose: bool = False
    """Merge all sources, fields or splats, into one target (the last path)."""
    edit: Annotated[tuple[str, ...], Shown("ACTION", EDIT_HELP)] = ()
    mesh: MeshFlags = field(default_factory=MeshFlags)
    """Options of a mesh."""
    format: str | None = None
    """Format of the targets in a folder, as a suffix: glb, ply, safetensors; several with commas: spz,sog."""
    jobs: int = 1
    """Number of conversions that run in parallel; they share the cores."""
    report: Path | None = None
    """Write a report of what was done and lost: a page with pictures (.html), or JSON (.json); one for all targets."""
    measure: bool = True
    """Do not compare the target with its source (eight views, and parameter by parameter)."""
    pictures: bool = False
    """Compare by views also where a file of splats becomes another one, which else is compared splat by splat only."""
    seed: int = 0
    """Random seed; the same seed and number of steps give the same result on one machine."""
    checkpoint_seconds: float = 20.0
    """Seconds of work between checkpoints, TARGET.part."""
    resume: bool = False
    """Continue from the checkpoint, TARGET.part."""
    force: bool = False
    """Overwrite existing targets."""
    dry_run: bool = False
    """Estimate memory and time, and stop."""
    config: "RepresentationConfig | None" = field(default=None, metadata=FROM_PYTHON)
    """Sizes of the representation, from Python or a preset; by default those of its paper."""
    preview: bool = False
    """Write TARGET.png, a held-out view, during training."""

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
        files = FileOptions(**taken(self, FileChoices), measure=self.measure)
        if self._is_transcoding(sources, target):
            from volkit.conversion.splats import convert_columns

            self.check_new(target)
            return {"command": "convert"} | convert_columns(sources[0], target, files, self.seed, progress).as_dict()
        from volkit.conversion.convert import Work, convert, target_kind
        from volkit.conversion.source import Source
        from volkit.devices import chosen_device
        from volkit.evaluation.evaluate import write_picture
        from volkit.evaluation.roundtrip import with_figures
        from volkit.training.run import Checkpoint, make_generator

        self.check_new(target)
        chosen_device(self.device)  # an unavailable one is refused before anything is read
        generator = make_generator(self.seed)
        source = edited(Source.read(sources, self, generator, progress), self.edit, generator, progress)
        purpose = f"{target} " + " ".join(f"{name}={v}" for name, v in asdict(self).items() if name not in FREE)
        checkpoint = Checkpoint.of(target, purpose, self.resume, self.checkpoint_seconds)
        preview = partial(write_picture, target.with_suffix(".png")) if self.preview else None
        work = Work(generator, progress, checkpoint, preview)
        files = replace(files, style=self.mesh.style())
        with in_flags():
            if target_kind(self.options(), source.scene, target) == "mesh":
                self.check_mesh()
            if self.dry_run:
                return self._estimate(source, target, work)
            made = convert(source, self.options(), work, target, files)
        views = made.report.fidelity and made.report.fidelity.worst_views
        if views and self.report is not None and made.asset is not None and made.cameras is not None:
            from volkit.reports.mesh_figures import mesh_figures

            views = with_figures(views, mesh_figures(made.asset, made.cameras[[0]]))
        return {"command": "convert"} | made.report.as_dict() | {"worst_views": views}

    def _is_transcoding(self, sources: tuple[Path, ...], target: Path) -> bool:
        """Whether a file of splats becomes another one, and no option needs the scene in between."""
        if len(sources) != 1 or self.to not in (None, "splats") or self.edit or self.wants_mesh:
            return False
        if self.device == "cuda" or self.given(*OF_SCENES):
            return False
        from volkit.io.splats.transcode import is_splats_to_splats

        return is_splats_to_splats(sources[0], target)

    def _estimate(self, source: "Source", target: Path, work: "Work") -> dict[str, Any]:
        """Estimated parameters, memory and time."""
        from volkit.conversion.convert import plan_student, target_kind
        from volkit.devices import chosen_device
        from volkit.distillation.distill import cache_bytes
        from volkit.evaluation.evaluate import EVALUATION_VIEWS
        from volkit.ops import backend
        from volkit.reports.estimate import estimate
        from volkit.representations import innermost
        from volkit.training.run import count_parameters

        teacher, options = source.scene, self.options()
        kind = target_kind(options, teacher, target)
        named = {"command": "convert", "source": [str(s) for s in source.files], "target": str(target),
                 "from": innermost(teacher).config.kind, "kind": kind, "seed": self.seed,
                 "device": chosen_device(self.device).type, "backend": backend.describe(),
                 "method": self.method or "volkit"}  # fmt: skip
        student = plan_student(teacher, kind, options, work.generator, work.trains)
        if student is teacher:
            return named | {"parameters": count_parameters(teacher), "steps": 0}
        answers = cache_bytes(teacher, student, self.size)
        found = estimate(student, self.parsed_budget(), 0, EVALUATION_VIEWS, teacher=teacher, answers=answers)
        return named | {"parameters": count_parameters(student)} | found

    def options(self) -> ConvertOptions:
        """The options of the engine, with photographs loaded; ParameterError where options contradict each other."""
        photos = None
        if self.photos is not None:
            from volkit.data import load_photographs

            photos = load_photographs(self.photos, self.size)
        mesh = self.mesh.options() if self.mesh.given else None
        return ConvertOptions(**taken(self, ConvertChoices), config=self.config, mesh=mesh, photos=photos)

    def check(self) -> None:
        """UsageError where options contradict each other, before any file is read."""
        if len(self.paths) < 2:
            raise UsageError("convert: give a source and a target")
        if self.mesh.given and self.to not in (None, "mesh"):
            raise UsageError(f"about meshes alone: {_flags(self.mesh.given)}; give them with --to mesh")
        if self.wants_mesh:
            self.check_mesh()
        with in_flags():
            ConvertOptions(**taken(self, ConvertChoices))
        if self.pictures and not self.measure:
            raise UsageError("--pictures and --no-measure contradict each other; leave one of them out")
        if self.budget is not None:
            self.parsed_budget()
        if self.edit:
            parse_edits(self.edit)

    def check_mesh(self) -> None:
        """UsageError where options of training are given for a mesh."""
        if given := self.given(*LEARNING, "resume", "preview", "dry_run"):
            raise UsageError(f"a mesh is extracted, not learnt: leave out {_flags(given)}")

    def check_new(self, path: Path) -> None:
        """FileExistsError where a target exists and may not be overwritten."""
        if path.exists() and not self.force and not self.dry_run:
            raise FileExistsError(f"{path}: exists already; --force overwrites it")

    def parsed_budget(self) -> "Budget":
        """The budget of training."""
        from volkit.training.loop import Budget

        try:
            return Budget.parse(self.budget or BUDGET)
        except ValueError as error:
            raise UsageError(f"--{error}") from error

    @property
    def wants_mesh(self) -> bool:
        """Whether options ask for a mesh."""
        return self.to == "mesh" or (self.to is None and bool(self.mesh.given))


def _flags(names: Iterable[str]) -> str:
    return ", ".join(map(flag, names))
