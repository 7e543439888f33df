"""Conversion between kinds of scenes, in memory or into a file: written as it is, distilled, or extracted as a mesh."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from volkit.conversion.options import BUDGET, ConvertOptions, FileOptions
from volkit.conversion.report import ConversionReport
from volkit.conversion.source import Source
from volkit.devices import chosen_device
from volkit.distillation.distill import DistillSettings, check_method, train_student, training_pixels
from volkit.distillation.result import Result
from volkit.distillation.strategies import MAX_SPLATS
from volkit.distillation.students import build_student, splats_config
from volkit.evaluation.evaluate import Evaluator, Preview
from volkit.evaluation.fidelity import Fidelity
from volkit.evaluation.roundtrip import Written, measure_fidelity
from volkit.evaluation.second_mesh_reader import read_mesh_again
from volkit.files.errors import FormatError, PlaceError
from volkit.files.file_size import stored_bytes
from volkit.geometry import Cameras, Similarity
from volkit.io import FileAxes, check_target, format_for, save
from volkit.io.meshes.asset import Asset, Style
from volkit.io.meshes.engines import generates_levels, safe_stem
from volkit.io.meshes.writer import OVER_TEXTURE, check_style, lost_look, write_asset
from volkit.meshing.join import join_materials
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
    """The run of a conversion: random numbers, progress, checkpoint, preview.

    Without a `checkpoint` an interrupted run cannot be resumed; `preview` receives a held-out view during training.
    """

    generator: torch.Generator
    progress: Progress = field(default_factory=Progress)
    checkpoint: Checkpoint | None = None
    preview: Preview | None = None

    @property
    def trains(self) -> bool:
        """Whether it asks for training, also where the source is already of the requested kind."""
        return self.preview is not None or (self.checkpoint is not None and self.checkpoint.resume)


@dataclass(frozen=True)
class Conversion(Result[ConversionReport]):
    """Result of `convert`: a scene, the history of its training, and the report.

    Attributes:
        asset: of a mesh, its levels, maps and colliders; `scene` is the finest level.
        cameras: from which target and source were compared, world frame; None where nothing was measured.

    Example:
        >>> made = volkit.convert("chair.ply", "chair.spz")  # doctest: +SKIP
        >>> made.scene, made.report.psnr_to_source  # doctest: +SKIP
    """

    asset: Asset | None = None
    cameras: Cameras | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Made:
    """A result before it is measured; `evaluator` measured it in training, `moved` is its world from the source's."""

    scene: Representation
    seconds: float
    steps: int | None = None  # None: a mesh, which is not trained
    history: tuple[dict[str, float], ...] | None = None
    evaluator: Evaluator | None = None
    asset: Asset | None = None
    moved: Similarity = field(default_factory=Similarity)


def convert(
    source: Source, options: ConvertOptions, work: Work, target: Path | None = None, files: FileOptions = FILES
) -> Conversion:
    """Convert a scene into the requested kind and, where a target is named, write and measure it.

    A scene of that kind is not trained unless options ask for it; a field that the target's format cannot hold as it is
    is distilled into one that it can. Raises ParameterError where options do not apply to the kind, FormatError where
    the target cannot hold it or cannot be written; the target's format is checked before the work begins.
    """
    kind = target_kind(options, source.scene, target)
    options.check(kind)
    style = None
    if kind == "mesh":
        style = None if target is None else _checked_style(target, options, files, work.progress)
        made = _extracted(source, options, style, target, work)
    else:
        if target is not None:
            check_target(target, kind)
        made = _filled(source, kind, options, files, target, work)
    evaluator = fidelity = None
    if target is not None:
        evaluator = (made.evaluator or _make_evaluator(source, options, made.seconds, work)) if files.measure else None
        axes = FileAxes(files.frame, files.spz_frame, files.spz_version)
        fidelity = measure_fidelity(
            Written(made.scene, evaluator, made.moved), target, files.device, axes, work.progress
        )
        if fidelity is not None and made.asset is not None and style is not None:
            again = read_mesh_again(made.asset, target, style, work.progress)
            fidelity = replace(fidelity, second_reading=None if again is None else again.as_dict())
    report = _report(source, made, options, work, target, files, fidelity)
    return Conversion(
        made.scene, made.history or (), report, made.asset, None if evaluator is None else evaluator.cameras
    )


def target_kind(options: ConvertOptions, scene: Representation, target: Path | None) -> str:
    """The requested kind, else that of the source if the target's format holds it, else the format's first."""
    own = innermost(scene).config.kind
    if options.kind_asked is not None or target is None:
        return options.kind_asked or own
    row = format_for(target, kind=own)
    return own if row.can_hold(own) else row.holds[0]


def plan_student(
    teacher: Representation, kind: str, options: ConvertOptions, generator: torch.Generator, anew: bool = False
) -> Representation:
    """The scene to train, or the teacher itself where it is already what options ask for and `anew` is false."""
    options.check(kind)
    wanted = splats_config(teacher, options.max_splats, options.sh_degree, options.surfels)
    student = build_student(kind, teacher, wanted, options.config, generator, anew or options.anew)
    check_method(options.method or "volkit", options.photos is not None, teacher, student)
    return student


def _filled(
    source: Source, kind: str, options: ConvertOptions, files: FileOptions, target: Path | None, work: Work
) -> Made:
    """The scene as it is, or a student distilled from it, also where the format refuses a field as it is."""
    student = plan_student(source.scene, kind, options, work.generator, work.trains)
    if student is source.scene:
        started = time.perf_counter()
        try:
            if target is not None:
                _save(student, target, files, work.progress)
            return Made(student, round(source.seconds + time.perf_counter() - started, 2), steps=0)
        except FormatError as error:
            if isinstance(error, PlaceError) or not isinstance(student, Field):
                raise
            work.progress.note(f"distilled again: {error}")
        student = plan_student(source.scene, kind, options, work.generator, anew=True)
    made = _distilled(source, student, options, work)
    if target is not None:
        _save(made.scene, target, files, work.progress)
        if work.checkpoint is not None:
            work.checkpoint.remove()
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


def _distilled(source: Source, student: Representation, options: ConvertOptions, work: Work) -> Made:
    """Distil the source into the student within the budget."""
    teacher, method = source.scene, options.method or "volkit"
    evaluator = Evaluator.of_scene(source.whole, options.size, work.generator, work.preview)
    photos = None if options.photos is None else training_pixels(options.photos, teacher.device)
    settings = DistillSettings(options.size, method, photos, options.max_splats or MAX_SPLATS)
    training = TrainingRun(Budget.parse(options.budget or BUDGET), work.checkpoint)
    learnt = train_student(teacher, student, settings, training, evaluator, work.generator, work.progress)
    provenance = {"source": _names(source), "from": innermost(teacher).config.kind, "method": method,
            "seconds": learnt.seconds, "steps": learnt.steps}  # fmt: skip
    if learnt.history:
        provenance |= {"psnr_in_training": learnt.history[-1].get("psnr")}
    return Made(student.view(provenance=provenance), learnt.seconds, learnt.steps, learnt.history, evaluator)


def _checked_style(target: Path, options: ConvertOptions, files: FileOptions, progress: Progress) -> Style:
    """The style of a mesh file; FormatError where the target's format cannot have it."""
    style = replace(files.style or Style(), frame=None if files.frame == "auto" else files.frame)
    check_target(target, "mesh")
    check_style(target, style)
    if generates_levels(style.engine) and options.mesh is not None and options.mesh.lods > 1:
        progress.note("Godot makes levels of detail by itself when it imports: it reads the finest alone")
    if (stem := safe_stem(style.engine, target.stem)) != target.stem:
        progress.note(
            f"nodes are named {stem}: Godot takes the end of {target.stem} for the kind of node that is meant"
        )
    return style


def _extracted(source: Source, options: ConvertOptions, style: Style | None, target: Path | None, work: Work) -> Made:
    """Extract a mesh, without training."""
    scene, wanted = source.scene, options.mesh or KEPT_SURFACE
    asset = extract_mesh(scene, wanted, size=options.size, seed=work.generator, progress=work.progress)
    asset = replace(asset, extras={"source": _names(source), "kind": scene.config.kind})
    if target is not None and style is not None:
        asset = _suited(asset, target, work.progress)
        write_asset(asset, target, style)
    assert asset.figures is not None
    moved = asset.mesh.world_from_local @ scene.world_from_local.inverse()
    return Made(asset.mesh, asset.figures.seconds, asset=asset, moved=moved)


def _suited(asset: Asset, target: Path, progress: Progress) -> Asset:
    """The asset with a look that the target holds where that takes no loss, and a note on what it does not hold."""
    lost = lost_look(asset.mesh, target.suffix)
    if OVER_TEXTURE in lost and len(asset.levels) == 1:
        mesh, notes = join_materials(asset.mesh)
        for note in notes:
            progress.note(note)
        asset, lost = replace(asset, levels=(mesh,)), lost_look(mesh, target.suffix)
    if lost:
        progress.note(f"{target.name} does not hold {', '.join(lost)}")
    return asset


def _make_evaluator(source: Source, options: ConvertOptions, seconds: float, work: Work) -> Evaluator:
    """Pictures of the source, as many as source and target can be rendered in the time of the conversion."""
    with work.progress.phase("render the source to measure by"):
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
    """The axes of an .spz that was read or written; None where there is none."""
    if target.suffix.lower() != ".spz" and "spz_frame" not in teacher.provenance:
        return None
    raw = files.spz_frame == "ply" or FileAxes(files.frame, files.spz_frame).raw
    return str(teacher.provenance.get("spz_frame", "ply" if raw else "rub"))


def _names(source: Source) -> list[str]:
    return [path.name for path in source.files]
