"""`volkit convert`: a scene of any kind into any other, or into a mesh, with no photographs needed."""

import time
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro

from volkit.commands.batch import run_all
from volkit.commands.edits import EDIT_HELP
from volkit.commands.estimate import estimate
from volkit.commands.mesh_flags import MeshFlags
from volkit.commands.pairs import pair_sources
from volkit.commands.sources import OpenedSource, SourceOptions
from volkit.data import load_photographs
from volkit.devices import Device, chosen_device
from volkit.distillation.build import DistillSettings, answer_bytes, trainee_from_teacher
from volkit.distillation.pvd.start import pvd_schedule
from volkit.distillation.rungs.pixels import PixelTable
from volkit.distillation.students import build_student, splats_config
from volkit.evaluation.evaluate import EVALUATION_VIEWS, Evaluator
from volkit.evaluation.roundtrip import FileAxes, Written, roundtrip_report
from volkit.files.errors import FormatError, PlaceError
from volkit.geometry import Frame
from volkit.io import SpzFrame, check_target, format_for, save
from volkit.io.meshes.writer import check_style, write_asset
from volkit.meshing.pipeline import extract_mesh
from volkit.ops import backend
from volkit.progress import Progress
from volkit.reports.convert_report import write_report
from volkit.reports.file_size import stored_bytes
from volkit.reports.fit_report import check_report
from volkit.reports.mesh_figures import mesh_figures
from volkit.representations import Field, Representation, RepresentationConfig, Splats, innermost
from volkit.training.loop import Budget
from volkit.training.run import CHECKPOINT_SECONDS, TrainingRun, count_parameters, make_generator

__all__ = ["ConvertJob"]

MAX_SPLATS = 60_000  # of a field
BUDGET = "60s"
ANEW = ("budget", "method", "photos", "resume", "preview")  # that ask a field for learning in any case
LEARNING = (*ANEW, "max_splats", "sh_degree", "surfels", "dry_run")


@dataclass(frozen=True)
class ConvertJob:
    """Convert a scene into another representation by distillation, or extract a textured mesh from it.

    The student answers to its teacher, not to photographs; --photos adds a last stage on photographs, in which it may
    pass its teacher. Example: volkit convert chair.safetensors chair_vm.safetensors --to tensor_vm --budget 60s
    A mesh is extracted, not learnt: volkit convert chair.safetensors chair.glb --faces 20000 --lods 3 --collider hulls
    A source that is a mesh keeps its surface and texture unless one of the mesh options asks for other ones.
    """

    paths: tuple[Path, ...]
    """SOURCE... TARGET: the last is a folder, or the first is the source and the rest are targets. Sources may be
    folders and quoted patterns, 'captures/*.ply'."""
    to: str | None = None
    """Kind of representation, or mesh; by default the source's own, where the target's format holds it. Without an
    option of learning such a source is written as it is."""
    method: Literal["volkit", "pvd", "pvd-al"] = "volkit"
    """volkit: closed-form start, cached answers, error-driven rays; pvd, pvd-al: the published methods."""
    budget: str | None = None
    """60s (as long as nothing is said), 10m of optimisation, or 2000 for steps."""
    photos: Path | None = None
    """Dataset for a last stage on photographs."""
    compose: bool = False
    """Join all sources, fields or splats, into one target (the last path)."""
    edit: Annotated[tuple[str, ...], tyro.conf.arg(help=EDIT_HELP)] = ()
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
    frame: Frame | Literal["auto"] = "auto"
    """What is up in the target's coordinates: zup, yup, ydown (-Y, as .ply of captures); auto: as its format has it."""
    spz_frame: SpzFrame = "rub"
    """Axes of an .spz that is read or written: rub as documented, ply as in a .ply, auto as the file's record says."""
    jobs: int = 1
    """How many conversions go on at once, where there are several; they share the cores."""
    report: Path | None = None
    """Write what was done and lost as a page with pictures (.html) or as JSON (.json); of several conversions, one."""
    measure: bool = True
    """Do not read what was written to compare it with its source, by eight views and parameter by parameter."""
    drop_bad: bool = False
    """Leave out splats whose values are not finite, and say how many."""
    seed: int = 0
    """Same seed, same budget in steps, same machine: same result."""
    device: Device = "cpu"
    """cpu, cuda, or auto: cuda where there is one."""
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    """How much work a power cut may cost."""
    resume: bool = False
    """Go on from TARGET.part."""
    force: bool = False
    """Overwrite existing targets."""
    dry_run: bool = False
    """Say what it would take, and stop."""
    config: Annotated[RepresentationConfig | None, tyro.conf.Suppress] = None
    """Sizes of the representation, from Python or a preset; by default those of its paper."""
    preview: bool = False
    """Write TARGET.png, a held-out view, as the conversion goes on."""

    def run(self, progress: Progress) -> dict[str, Any]:
        """Convert, write, measure, report; several results are listed under `results`, failures counted by `failed`."""
        if len(self.paths) < 2:
            raise ValueError("convert: give a source and a target")
        if self.report is not None:
            self._check_new(self.report)
            check_report(self.report)
        suffixes = None if self.format is None else self.format.split(",")
        pairs = pair_sources(self.paths, suffixes, "glb" if self._wants_mesh else "safetensors", self.compose)
        if not self.dry_run and pairs[0][1].parent == self.paths[-1]:
            self.paths[-1].mkdir(parents=True, exist_ok=True)
        runs = [
            (target, partial(replace(self, paths=(*sources, target), format=None)._one, sources, target))
            for sources, target in pairs
        ]
        if len(runs) == 1:
            report = runs[0][1](progress)
            pictures = [report.pop("shown", None)]
        else:
            results = run_all(runs, self.jobs, progress)
            pictures = [result.pop("shown", None) for result in results]
            named = [{"source": [str(s) for s in sources]} for sources, _ in pairs]
            results = [name | result for name, result in zip(named, results, strict=True)]
            report = {"command": "convert", "results": results, "failed": sum("error" in row for row in results)}
        if self.report is not None:
            write_report(self.report, report, pictures)
        return report

    def _check_new(self, path: Path) -> None:
        if path.exists() and not self.force and not self.dry_run:
            raise FileExistsError(f"{path}: exists already; --force overwrites it")

    def _one(self, sources: tuple[Path, ...], target: Path, progress: Progress) -> dict[str, Any]:
        """Convert and measure; `shown` are pictures for a page, where there will be one."""
        self._check_new(target)
        device = chosen_device(self.device)
        started, generator = time.perf_counter(), make_generator(self.seed)
        source = SourceOptions(self.device, self.drop_bad, self.spz_frame, self.edit)(sources, generator, progress)
        teacher = source.scene
        kind = self._kind(teacher, target)
        report = {"command": "convert", "source": [str(s) for s in sources], "target": str(target),
                  "from": innermost(teacher).config.kind, "kind": kind, "seed": self.seed, "device": device.type,
                  "backend": backend.describe()}  # fmt: skip
        if kind == "mesh":
            made = self._mesh(sources, source, target, generator, progress)
        else:
            student = self._student(teacher, kind, generator)
            report |= {"method": self.method}
            if self.dry_run and student is teacher:
                return report | {"parameters": count_parameters(teacher), "steps": 0}
            if self.dry_run:
                answers = answer_bytes(teacher, student, self.size)
                report["parameters"] = count_parameters(student)
                return report | estimate(student, self._budget, 0, EVALUATION_VIEWS, teacher=teacher, answers=answers)
            check_target(target, kind)
            made = self._kept(source, target, generator, started, progress) if student is teacher else None
            if made is None:
                student = self._student(teacher, kind, generator, anew=True) if student is teacher else student
                made = self._distil(source, student, target, generator, progress)
            report["parameters"] = count_parameters(made.scene)
        axes = FileAxes(self.frame, self.spz_frame)
        report |= made.told | {"source_bytes": sum(map(stored_bytes, sources)), "bytes": stored_bytes(target)}
        if source.splats is not None:
            report["source_splats"] = source.splats
        if isinstance(made.scene, Splats):
            report["splats"] = len(made.scene)
        if target.suffix.lower() == ".spz" or "spz_frame" in teacher.provenance:
            raw = self.spz_frame == "ply" or axes.raw
            report["spz_frame"] = teacher.provenance.get("spz_frame", "ply" if raw else "rub")
        report |= roundtrip_report(made, target, self.device, axes, progress)
        return report | {"notes": progress.notes}

    def _student(
        self, teacher: Representation, kind: str, generator: torch.Generator, anew: bool = False
    ) -> Representation:
        """What is to be filled: the teacher itself where nothing is to change, unless it is to be learnt anew."""
        if kind != "splats" and (self.surfels or self.sh_degree is not None):
            raise ValueError("--surfels and --sh-degree are about splats; give them with --to splats")
        wanted = splats_config(teacher, self.max_splats, self.sh_degree, self.surfels)
        anew = anew or self._asked(*ANEW, "config")
        student = build_student(kind, teacher, wanted, self.config, generator, anew)
        if (self.photos or self.method != "volkit") and not (isinstance(teacher, Field) and isinstance(student, Field)):
            raise ValueError("--photos and --method pvd are for conversions between fields; leave them out here")
        return student

    def _kept(
        self, source: OpenedSource, target: Path, generator: torch.Generator, started: float, progress: Progress
    ) -> Written | None:
        """Write the source as it is, in the target's format; None for a field that the format cannot hold as it is."""
        try:
            save(source.scene, target, spz_frame=self.spz_frame, frame=self.frame)
        except FormatError as error:
            if isinstance(error, PlaceError) or not isinstance(source.scene, Field):
                raise
            progress.note(f"learnt anew: {error}")
            return None
        told = {"seconds": round(time.perf_counter() - started, 2), "steps": 0}
        return Written(source.scene, told, self._judge(source, generator))

    def _distil(
        self,
        source: OpenedSource,
        student: Representation,
        target: Path,
        generator: torch.Generator,
        progress: Progress,
    ) -> Written:
        """Teach the student within the budget, and write it."""
        teacher = source.scene
        judge = Evaluator.of_scene(
            source.whole, self.size, generator, target.with_suffix(".png") if self.preview else None
        )
        training = TrainingRun(target, self._budget, self._purpose(target), self.resume, self.checkpoint_seconds)
        lesson = DistillSettings(
            self.size, self.method, self._photographs(teacher.device), self.max_splats or MAX_SPLATS
        )
        with progress.phase(f"convert to {student.config.kind}"):
            started = time.perf_counter()
            trainee = trainee_from_teacher(teacher, student, lesson, generator)
            schedule = None if self.method == "volkit" or not isinstance(student, Field) else pvd_schedule(student)
            fit = training.run(trainee, progress, judge.quick_psnr, schedule, time.perf_counter() - started)
        told = {"seconds": round(fit.seconds, 2), "steps": fit.step}
        history = fit.history.rows
        # Of the views that were glanced at while it learnt: what is written is measured when it is there.
        seen = {"psnr_glanced": history[-1].get("psnr")} if history else {}
        own = innermost(teacher).config.kind
        named = {"source": [path.name for path in self.paths[:-1]], "from": own, "method": self.method}
        student = student.view(provenance=named | told | seen)
        save(student, target, spz_frame=self.spz_frame, frame=self.frame)
        training.finish()
        told |= {"history": history}
        return Written(student, told, judge)

    def _mesh(
        self,
        sources: tuple[Path, ...],
        source: OpenedSource,
        target: Path,
        generator: torch.Generator,
        progress: Progress,
    ) -> Written:
        """Extract and write: nothing is learnt, so that there is no budget."""
        if self._asked(*LEARNING):
            raise ValueError(
                "a mesh is extracted, not learnt: leave out --budget, --method, --photos, --max-splats, --sh-degree, "
                "--surfels, --resume, --preview and --dry-run"
            )
        style = replace(self.mesh.style(), frame=None if self.frame == "auto" else self.frame)
        check_target(target, "mesh")
        check_style(target, style)
        if style.engine == "godot" and (self.mesh.lods or 1) > 1:
            progress.note("Godot makes levels of detail by itself when it imports: it reads the finest alone")
        asset = extract_mesh(source.scene, self.mesh.options(), size=self.size, seed=generator, progress=progress)
        extras = {"source": [path.name for path in sources], "kind": source.scene.config.kind}
        write_asset(replace(asset, extras=extras), target, style)
        assert asset.figures is not None
        told, moved = asset.figures.as_dict(), asset.mesh.world_from_local @ source.scene.world_from_local.inverse()
        judge = self._judge(source, generator)
        figures = mesh_figures(asset, judge.cameras[[0]]) if judge is not None and self.report is not None else {}
        return Written(asset.levels[0], told, judge, moved, figures)

    def _judge(self, source: OpenedSource, generator: torch.Generator) -> Evaluator | None:
        return Evaluator.of_scene(source.whole, self.size, generator) if self.measure else None

    def _purpose(self, target: Path) -> str:
        ignored = {"resume", "force", "dry_run", "checkpoint_seconds", "preview", "report", "jobs", "measure"}
        return f"{target} " + " ".join(f"{n}={v}" for n, v in asdict(self).items() if n not in ignored)

    def _kind(self, teacher: Representation, target: Path) -> str:
        """What was asked for, else the source's own kind if the target's format holds it, else that format's first."""
        if self._asked("mesh") and self.to not in (None, "mesh"):
            named = ", ".join("--" + name.replace("_", "-") for name in self.mesh.given)
            raise ValueError(f"about meshes alone: {named}; give them with --to mesh")
        if self.to or self._wants_mesh:
            return self.to or "mesh"
        own = innermost(teacher).config.kind
        row = format_for(target, kind=own)
        return own if row.can_hold(own) else row.holds[0]

    @property
    def _budget(self) -> Budget:
        return Budget.parse(self.budget or BUDGET)

    @property
    def _wants_mesh(self) -> bool:
        return self.to == "mesh" or self._asked("mesh")

    def _asked(self, *names: str) -> bool:
        """Whether any of these options is not as it is by default."""
        plain = ConvertJob(())
        return any(getattr(self, name) != getattr(plain, name) for name in names)

    def _photographs(self, device: torch.device) -> PixelTable | None:
        if self.photos is None:
            return None
        train = load_photographs(self.photos, self.size).subset("train")
        return PixelTable(train.cameras.to(device), train.images, train.masks)
