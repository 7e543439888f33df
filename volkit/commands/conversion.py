"""One conversion, as `volkit convert` was asked for it: open, extract or teach or keep, write, measure."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from volkit.choices import Device, SpzFrame
from volkit.commands.edits import apply_edits, shape_edits
from volkit.commands.usage import UsageError
from volkit.data import load_photographs
from volkit.devices import chosen_device
from volkit.distillation.build import DistillSettings, answer_bytes
from volkit.distillation.learn import MAX_SPLATS, table_of, teach
from volkit.distillation.students import build_student, splats_config
from volkit.editing import merge
from volkit.editing.action import mark_empty
from volkit.evaluation.evaluate import EVALUATION_VIEWS, Evaluator
from volkit.evaluation.roundtrip import Written, fidelity_of
from volkit.files.errors import FormatError, PlaceError
from volkit.io import FileAxes, check_target, format_for, save
from volkit.io.meshes.writer import check_style, write_asset
from volkit.io.opening import open_scene
from volkit.meshing.pipeline import extract_mesh
from volkit.ops import backend
from volkit.progress import Progress
from volkit.reports.convert_report import ConversionReport
from volkit.reports.estimate import estimate
from volkit.reports.file_size import stored_bytes
from volkit.reports.mesh_figures import mesh_figures
from volkit.representations import Field, Representation, Splats, innermost
from volkit.training.run import TrainingRun, count_parameters, make_generator

if TYPE_CHECKING:  # the options stand in the command
    from volkit.commands.convert import ConvertJob

__all__ = ["OpenedSource", "SourceOptions", "convert_files", "convert_scene", "estimate_files"]

MEASURE_SECONDS = 1.0  # that measuring may take in any case
# Options that do not change what is made.
FREE = {"resume", "force", "dry_run", "checkpoint_seconds", "preview", "report", "jobs", "measure", "pictures"}


@dataclass(frozen=True)
class OpenedSource:
    """A scene to convert; `whole` is the same cut and moved but not thinned, `splats` how many the files hold."""

    scene: Representation
    whole: Representation
    splats: int | None
    seconds: float = 0.0  # that reading and editing took

    @classmethod
    def of(cls, scene: Representation) -> "OpenedSource":
        """A scene in memory as it is."""
        return cls(scene, scene, _count(scene))


@dataclass(frozen=True)
class SourceOptions:
    """How sources are read and edited, in the words of the command line."""

    device: Device
    drop_bad: bool
    spz_frame: SpzFrame
    edits: tuple[str, ...]

    def __call__(self, paths: Sequence[Path], generator: torch.Generator, progress: Progress) -> OpenedSource:
        """Read, join, edit; FormatError or ValueError with what is wrong."""
        started = time.perf_counter()
        dropping = progress if self.drop_bad else None
        scenes = [open_scene(path, self.device, dropping, self.spz_frame) for path in paths]
        scene = scenes[0] if len(scenes) == 1 else mark_empty(merge(scenes), generator)
        if not self.edits:
            return OpenedSource(scene, scene, _count(scene), time.perf_counter() - started)
        shapes, count = shape_edits(self.edits), _count(scene)
        twin = None if len(shapes) == len(self.edits) else scene.with_()
        scene = apply_edits(scene, self.edits, generator, progress)
        whole = scene if twin is None else apply_edits(twin, shapes)
        return OpenedSource(scene, whole, count, time.perf_counter() - started)


@dataclass(frozen=True)
class Made:
    """What was written, and what it took."""

    written: Written
    seconds: float
    steps: int | None = None
    history: tuple[dict[str, float], ...] | None = None
    mesh: dict[str, Any] = field(default_factory=dict)  # what was measured of one


def convert_files(job: "ConvertJob", sources: tuple[Path, ...], target: Path, progress: Progress) -> ConversionReport:
    """Open the sources, joined and edited as the job says, convert them and write the target."""
    job.check_new(target)
    chosen_device(job.device)  # one that is not there is said before anything is read
    generator = make_generator(job.seed)
    source = SourceOptions(job.device, job.drop_bad, job.spz_frame, job.edit)(sources, generator, progress)
    return convert_scene(job, source, target, generator, progress, sources)


def convert_scene(
    job: "ConvertJob",
    source: OpenedSource,
    target: Path,
    generator: torch.Generator,
    progress: Progress,
    files: tuple[Path, ...] = (),
) -> ConversionReport:
    """Convert a scene that is open and write it; `files` are those that it came from."""
    kind, names = _kind(job, source.scene, target), tuple(path.name for path in files)
    if kind == "mesh":
        made = _extracted(job, source, target, generator, progress, names)
    else:
        student = _student(job, source.scene, kind, generator)
        check_target(target, kind)
        made = _kept(job, source, target, generator, progress) if student is source.scene else None
        if made is None:
            student = _student(job, source.scene, kind, generator, anew=True) if student is source.scene else student
            made = _taught(job, source, student, target, generator, progress, names)
    axes = FileAxes(job.frame, job.spz_frame)
    scene, of_mesh = made.written.scene, kind == "mesh"
    fidelity = fidelity_of(made.written, target, job.device, axes, progress)
    return ConversionReport(
        source=tuple(map(str, files)),
        target=str(target),
        source_kind=innermost(source.scene).config.kind,
        kind=kind,
        seed=job.seed,
        device=chosen_device(job.device).type,
        backend=backend.describe(),
        seconds=made.seconds,
        source_bytes=sum(map(stored_bytes, files)),
        bytes=stored_bytes(target),
        steps=made.steps,
        method=None if of_mesh else job.method or "volkit",
        parameters=None if of_mesh else count_parameters(scene),
        history=made.history,
        source_splats=source.splats,
        splats=len(scene) if isinstance(scene, Splats) else None,
        spz_frame=_spz_frame(job, source.scene, target, axes),
        mesh=made.mesh,
        fidelity=fidelity,
        notes=tuple(progress.notes),
    )


def estimate_files(job: "ConvertJob", sources: tuple[Path, ...], target: Path, progress: Progress) -> dict[str, Any]:
    """What the conversion would take: parameters, memory, time."""
    generator = make_generator(job.seed)
    source = SourceOptions(job.device, job.drop_bad, job.spz_frame, job.edit)(sources, generator, progress)
    teacher = source.scene
    kind = _kind(job, teacher, target)
    named = {"command": "convert", "source": [str(s) for s in sources], "target": str(target),
             "from": innermost(teacher).config.kind, "kind": kind, "seed": job.seed,
             "device": chosen_device(job.device).type, "backend": backend.describe(),
             "method": job.method or "volkit"}  # fmt: skip
    if kind == "mesh":
        job.check_mesh()
    student = _student(job, teacher, kind, generator)
    if student is teacher:
        return named | {"parameters": count_parameters(teacher), "steps": 0}
    answers = answer_bytes(teacher, student, job.size)
    found = estimate(student, job.parsed_budget(), 0, EVALUATION_VIEWS, teacher=teacher, answers=answers)
    return named | {"parameters": count_parameters(student)} | found


def _kind(job: "ConvertJob", teacher: Representation, target: Path) -> str:
    """What was asked for, else the source's own kind if the target's format holds it, else that format's first."""
    if job.to or job.wants_mesh:
        return job.to or "mesh"
    own = innermost(teacher).config.kind
    row = format_for(target, kind=own)
    return own if row.can_hold(own) else row.holds[0]


def _student(
    job: "ConvertJob", teacher: Representation, kind: str, generator: torch.Generator, anew: bool = False
) -> Representation:
    """What is to be filled: the teacher itself where nothing is to change, unless it is to be learnt anew."""
    if kind != "splats" and job.given("surfels", "sh_degree"):
        raise UsageError("--surfels and --sh-degree are about splats; give them with --to splats")
    wanted = splats_config(teacher, job.max_splats, job.sh_degree, job.surfels)
    asked = bool(job.given("budget", "method", "photos", "resume", "preview", "config"))
    student = build_student(kind, teacher, wanted, job.config, generator, anew or asked)
    fields = isinstance(teacher, Field) and isinstance(student, Field)
    if (job.photos or job.method not in (None, "volkit")) and not fields:
        raise UsageError("--photos and --method pvd are for conversions between fields; leave them out here")
    return student


def _kept(
    job: "ConvertJob", source: OpenedSource, target: Path, generator: torch.Generator, progress: Progress
) -> Made | None:
    """Write the source as it is, in the target's format; None for a field that the format cannot hold as it is."""
    started = time.perf_counter()
    try:
        save(source.scene, target, spz_frame=job.spz_frame, frame=job.frame)
    except FormatError as error:
        if isinstance(error, PlaceError) or not isinstance(source.scene, Field):
            raise
        progress.note(f"learnt anew: {error}")
        return None
    seconds = round(source.seconds + time.perf_counter() - started, 2)
    return Made(Written(source.scene, _judge(job, source, generator, seconds, progress)), seconds, steps=0)


def _taught(
    job: "ConvertJob",
    source: OpenedSource,
    student: Representation,
    target: Path,
    generator: torch.Generator,
    progress: Progress,
    names: tuple[str, ...],
) -> Made:
    """Teach the student within the budget, and write it."""
    teacher, method = source.scene, job.method or "volkit"
    preview = target.with_suffix(".png") if job.preview else None
    judge = Evaluator.of_scene(source.whole, job.size, generator, preview)
    purpose = f"{target} " + " ".join(f"{name}={v}" for name, v in asdict(job).items() if name not in FREE)
    training = TrainingRun(target, job.parsed_budget(), purpose, job.resume, job.checkpoint_seconds)
    photos = None if job.photos is None else table_of(load_photographs(job.photos, job.size), teacher.device)
    settings = DistillSettings(job.size, method, photos, job.max_splats or MAX_SPLATS)
    learnt = teach(teacher, student, settings, training, judge, generator, progress)
    told = {"source": list(names), "from": innermost(teacher).config.kind, "method": method,
            "seconds": learnt.seconds, "steps": learnt.steps}  # fmt: skip
    if learnt.history:
        # Of the views that were looked at while it learnt: what is written is measured when it is there.
        told |= {"psnr_glanced": learnt.history[-1].get("psnr")}
    student = student.view(provenance=told)
    save(student, target, spz_frame=job.spz_frame, frame=job.frame)
    training.finish()
    return Made(Written(student, judge if job.measure else None), learnt.seconds, learnt.steps, learnt.history)


def _extracted(
    job: "ConvertJob",
    source: OpenedSource,
    target: Path,
    generator: torch.Generator,
    progress: Progress,
    names: tuple[str, ...],
) -> Made:
    """Extract a mesh and write it: nothing is learnt, so that there is no budget."""
    job.check_mesh()
    style = replace(job.mesh.style(), frame=None if job.frame == "auto" else job.frame)
    check_target(target, "mesh")
    check_style(target, style)
    if style.engine == "godot" and (job.mesh.lods or 1) > 1:
        progress.note("Godot makes levels of detail by itself when it imports: it reads the finest alone")
    asset = extract_mesh(source.scene, job.mesh.options(), size=job.size, seed=generator, progress=progress)
    extras = {"source": list(names), "kind": source.scene.config.kind}
    write_asset(replace(asset, extras=extras), target, style)
    assert asset.figures is not None
    told, moved = asset.figures.as_dict(), asset.mesh.world_from_local @ source.scene.world_from_local.inverse()
    judge = _judge(job, source, generator, told["seconds"], progress)
    figures = mesh_figures(asset, judge.cameras[[0]]) if judge is not None and job.report is not None else {}
    return Made(Written(asset.mesh, judge, moved, figures), told.pop("seconds"), mesh=told)


def _judge(
    job: "ConvertJob", source: OpenedSource, generator: torch.Generator, seconds: float, progress: Progress
) -> Evaluator | None:
    """Pictures of the source, as many as can be drawn, and drawn of the target, in the time of the conversion."""
    if not job.measure:
        return None
    with progress.phase("draw the source to measure by"):
        return Evaluator.of_scene(source.whole, job.size, generator, None, 0.5 * max(seconds, MEASURE_SECONDS))


def _spz_frame(job: "ConvertJob", teacher: Representation, target: Path, axes: FileAxes) -> str | None:
    """In which axes an .spz was read or written, where there is one."""
    if target.suffix.lower() != ".spz" and "spz_frame" not in teacher.provenance:
        return None
    return str(teacher.provenance.get("spz_frame", "ply" if job.spz_frame == "ply" or axes.raw else "rub"))


def _count(scene: Representation) -> int | None:
    return len(scene) if isinstance(scene, Splats) else None
