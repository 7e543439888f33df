"""A scene of any kind into any other, in memory or into a file: kept as it is, learnt, or extracted as a mesh."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from volkit.conversion.options import BUDGET, ConvertOptions, FileOptions
from volkit.conversion.report import ConversionReport
from volkit.conversion.source import Source
from volkit.devices import chosen_device
from volkit.distillation.build import DistillSettings, check_method
from volkit.distillation.learn import MAX_SPLATS, Result, table_of, teach
from volkit.distillation.students import build_student, splats_config
from volkit.evaluation.evaluate import Evaluator, Preview
from volkit.evaluation.fidelity import Fidelity
from volkit.evaluation.roundtrip import Written, measure_fidelity
from volkit.files.errors import FormatError, PlaceError
from volkit.files.file_size import stored_bytes
from volkit.geometry import Cameras, Similarity
from volkit.io import FileAxes, check_target, format_for, save
from volkit.io.meshes.asset import Asset, Style
from volkit.io.meshes.writer import check_style, write_asset
from volkit.meshing.options import MeshOptions
from volkit.meshing.pipeline import extract_mesh
from volkit.ops import backend
from volkit.progress import Progress
from volkit.representations import Field, Representation, innermost
from volkit.training.loop import Budget
from volkit.training.run import Checkpoint, TrainingRun, count_parameters

__all__ = ["Conversion", "Work", "convert", "plan_student", "target_kind"]

MEASURE_SECONDS = 1.0  # that measuring may take in any case
KEPT_SURFACE = MeshOptions(rebuild=False)
FILES = FileOptions()


@dataclass(frozen=True)
class Work:
    """What a conversion works with, whatever it makes: randomness, who hears of it, and where it may be taken up.

    Without a `checkpoint` no unfinished work is kept; `preview` is given a held-out view as a student learns.
    """

    generator: torch.Generator
    progress: Progress = field(default_factory=Progress)
    checkpoint: Checkpoint | None = None
    preview: Preview | None = None

    @property
    def learns(self) -> bool:
        """Whether it asks for learning, also where the source is of the kind already."""
        return self.preview is not None or (self.checkpoint is not None and self.checkpoint.resume)


@dataclass(frozen=True)
class Conversion(Result[ConversionReport]):
    """A scene that was made of another, what was measured while it learnt, and the report.

    Of a mesh `scene` is the finest level and `asset` all of it: levels, maps and colliders. `cameras` are those by
    which it was measured, world frame.
    """

    asset: Asset | None = None
    cameras: Cameras | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Made:
    """What was made, and what it took; `judge` looked on while it learnt, `moved` is its world from the source's."""

    scene: Representation
    seconds: float
    steps: int | None = None  # None: nothing learns, as of a mesh
    history: tuple[dict[str, float], ...] | None = None
    judge: Evaluator | None = None
    asset: Asset | None = None
    moved: Similarity = field(default_factory=Similarity)


def convert(
    source: Source, options: ConvertOptions, work: Work, target: Path | None = None, files: FileOptions = FILES
) -> Conversion:
    """Convert a scene into the kind that is asked for and, where a target is named, write and measure it.

    A scene of the kind is kept as it is unless options ask for learning; a field that the target's format cannot hold
    as it is is learnt anew. Raises ParameterError where options mean nothing for what is to be made, FormatError where
    the target cannot hold it or cannot be written; the target's format is checked before the work begins.
    """
    kind = target_kind(options, source.scene, target)
    options.check(kind)
    if kind == "mesh":
        style = None if target is None else _checked_style(target, options, files, work.progress)
        made = _extracted(source, options, style, target, work)
    else:
        if target is not None:
            check_target(target, kind)
        made = _filled(source, kind, options, files, target, work)
    judge = fidelity = None
    if target is not None:
        judge = (made.judge or _judge(source, options, made.seconds, work)) if files.measure else None
        axes = FileAxes(files.frame, files.spz_frame, files.spz_version)
        fidelity = measure_fidelity(Written(made.scene, judge, made.moved), target, files.device, axes, work.progress)
    report = _report(source, made, options, work, target, files, fidelity)
    return Conversion(made.scene, made.history or (), report, made.asset, None if judge is None else judge.cameras)


def target_kind(options: ConvertOptions, scene: Representation, target: Path | None) -> str:
    """What was asked for, else the source's own kind if the target's format holds it, else that format's first."""
    own = innermost(scene).config.kind
    if options.kind_asked is not None or target is None:
        return options.kind_asked or own
    row = format_for(target, kind=own)
    return own if row.can_hold(own) else row.holds[0]


def plan_student(
    teacher: Representation, kind: str, options: ConvertOptions, generator: torch.Generator, anew: bool = False
) -> Representation:
    """What is to be filled: the teacher itself where nothing is to change, unless it is to be learnt anew."""
    options.check(kind)
    wanted = splats_config(teacher, options.max_splats, options.sh_degree, options.surfels)
    student = build_student(kind, teacher, wanted, options.config, generator, anew or options.anew)
    check_method(options.method or "volkit", options.photos is not None, teacher, student)
    return student


def _filled(
    source: Source, kind: str, options: ConvertOptions, files: FileOptions, target: Path | None, work: Work
) -> Made:
    """The scene itself, written as it is; else a student that learnt it, for a field also where that is refused."""
    student = plan_student(source.scene, kind, options, work.generator, work.learns)
    if student is source.scene:
        started = time.perf_counter()
        try:
            if target is not None:
                _save(student, target, files, work.progress)
            return Made(student, round(source.seconds + time.perf_counter() - started, 2), steps=0)
        except FormatError as error:
            if isinstance(error, PlaceError) or not isinstance(student, Field):
                raise
            work.progress.note(f"learnt anew: {error}")
        student = plan_student(source.scene, kind, options, work.generator, anew=True)
    made = _taught(source, student, options, work)
    if target is not None:
        _save(made.scene, target, files, work.progress)
        if work.checkpoint is not None:
            work.checkpoint.finish()
    return made


def _save(scene: Representation, target: Path, files: FileOptions, progress: Progress) -> None:
    save(
        scene,
        target,
        spz_frame=files.spz_frame,
        frame=files.frame,
        spz_version=files.spz_version,
        progress=progress,
    )


def _taught(source: Source, student: Representation, options: ConvertOptions, work: Work) -> Made:
    """Teach the student within the budget."""
    teacher, method = source.scene, options.method or "volkit"
    judge = Evaluator.of_scene(source.whole, options.size, work.generator, work.preview)
    photos = None if options.photos is None else table_of(options.photos, teacher.device)
    settings = DistillSettings(options.size, method, photos, options.max_splats or MAX_SPLATS)
    training = TrainingRun(Budget.parse(options.budget or BUDGET), work.checkpoint)
    learnt = teach(teacher, student, settings, training, judge, work.generator, work.progress)
    told = {"source": _names(source), "from": innermost(teacher).config.kind, "method": method,
            "seconds": learnt.seconds, "steps": learnt.steps}  # fmt: skip
    if learnt.history:
        # Of the views that were looked at while it learnt: what is written is measured when it is there.
        told |= {"psnr_glanced": learnt.history[-1].get("psnr")}
    return Made(student.view(provenance=told), learnt.seconds, learnt.steps, learnt.history, judge)


def _checked_style(target: Path, options: ConvertOptions, files: FileOptions, progress: Progress) -> Style:
    """How a mesh is written, as far as the target's format can."""
    style = replace(files.style or Style(), frame=None if files.frame == "auto" else files.frame)
    check_target(target, "mesh")
    check_style(target, style)
    if style.engine == "godot" and options.mesh is not None and options.mesh.lods > 1:
        progress.note("Godot makes levels of detail by itself when it imports: it reads the finest alone")
    return style


def _extracted(source: Source, options: ConvertOptions, style: Style | None, target: Path | None, work: Work) -> Made:
    """Extract a mesh: nothing is learnt, so that there is no budget."""
    scene, wanted = source.scene, options.mesh or KEPT_SURFACE
    asset = extract_mesh(scene, wanted, size=options.size, seed=work.generator, progress=work.progress)
    asset = replace(asset, extras={"source": _names(source), "kind": scene.config.kind})
    if target is not None and style is not None:
        write_asset(asset, target, style)
    assert asset.figures is not None
    moved = asset.mesh.world_from_local @ scene.world_from_local.inverse()
    return Made(asset.mesh, asset.figures.seconds, asset=asset, moved=moved)


def _judge(source: Source, options: ConvertOptions, seconds: float, work: Work) -> Evaluator:
    """Pictures of the source, as many as can be drawn, and drawn of the target, in the time of the conversion."""
    with work.progress.phase("draw the source to measure by"):
        limit = 0.5 * max(seconds, MEASURE_SECONDS)
        return Evaluator.of_scene(source.whole, options.size, work.generator, None, limit)


def _report(
    source: Source,
    made: Made,
    options: ConvertOptions,
    work: Work,
    target: Path | None,
    files: FileOptions,
    fidelity: Fidelity | None,
) -> ConversionReport:
    scene, extracted = made.scene, made.asset is not None
    figures = {} if made.asset is None or made.asset.figures is None else made.asset.figures.as_dict()
    return ConversionReport(
        source=tuple(map(str, source.files)),
        target=None if target is None else str(target),
        source_kind=innermost(source.scene).config.kind,
        kind=scene.config.kind,
        seed=work.generator.initial_seed(),
        device=chosen_device(files.device).type,
        backend=backend.describe(),
        seconds=made.seconds,
        source_bytes=sum(map(stored_bytes, source.files)),
        bytes=None if target is None else stored_bytes(target),
        steps=made.steps,
        method=None if extracted else options.method or "volkit",
        parameters=None if extracted else count_parameters(scene),
        history=made.history,
        source_splats=source.splats,
        splats=scene.splat_count,
        spz_frame=None if target is None else _spz_frame(source.scene, target, files),
        mesh={name: value for name, value in figures.items() if name != "seconds"},
        fidelity=fidelity,
        notes=tuple(work.progress.notes),
    )


def _spz_frame(teacher: Representation, target: Path, files: FileOptions) -> str | None:
    """In which axes an .spz was read or written, where there is one."""
    if target.suffix.lower() != ".spz" and "spz_frame" not in teacher.provenance:
        return None
    raw = files.spz_frame == "ply" or FileAxes(files.frame, files.spz_frame).raw
    return str(teacher.provenance.get("spz_frame", "ply" if raw else "rub"))


def _names(source: Source) -> list[str]:
    return [path.name for path in source.files]
