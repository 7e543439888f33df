"""The two verbs of this room on objects: `fit` a scene to photographs, `distill` one scene into another."""

import time
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch

from volkit.data import Photographs
from volkit.devices import on_device
from volkit.distillation.build import DistillSettings, Pictures, trainee_from_pictures, trainee_from_teacher
from volkit.distillation.pvd.start import pvd_schedule
from volkit.distillation.rungs.pixels import PixelTable
from volkit.distillation.sizes import default_config
from volkit.distillation.splats.mcmc import MCMCStrategy
from volkit.distillation.splats.strategy import Strategy
from volkit.distillation.splats.student import SplatStudent
from volkit.distillation.student import FieldStudent
from volkit.distillation.students import new_student
from volkit.evaluation.evaluate import Evaluator, Preview, white_background
from volkit.geometry import Similarity
from volkit.ops import backend
from volkit.progress import Progress
from volkit.representations import Capture, Representation, RepresentationConfig, SplatsConfig
from volkit.sampling.occupancy_grid import occupancy_filled
from volkit.training.loop import Budget
from volkit.training.run import Callback, CallbackProgress, TrainingRun, count_parameters, make_generator
from volkit.typing import Float, Tensor

__all__ = [
    "DistillReport",
    "FitReport",
    "FitSettings",
    "Learnt",
    "Result",
    "distill",
    "fit",
    "fit_scene",
    "table_of",
    "teach",
    "trainee_from_photographs",
    "untrained_scene",
]

MAX_SPLATS = 60_000
Report = TypeVar("Report")


@dataclass(frozen=True)
class FitReport:
    """What a fit did; `psnr` in dB is a mean over the `views`: test, or train where none were held out."""

    kind: str
    parameters: int
    device: str
    backend: dict[str, object]
    seconds: float  # of optimisation
    steps: int
    psnr: float | None  # None: identical
    views: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DistillReport:
    """What a distillation did; `psnr` in dB is a mean over pictures of the teacher that were no part of it."""

    kind: str
    teacher: str
    method: str
    parameters: int
    device: str
    backend: dict[str, object]
    seconds: float  # of optimisation
    steps: int
    psnr: float | None  # None: identical
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result(Generic[Report]):
    """A scene that was made, what was measured on the way (rows of step, seconds, loss, psnr), and the report."""

    scene: Representation
    history: tuple[dict[str, float], ...]
    report: Report


@dataclass(frozen=True)
class Learnt:
    """What an optimisation took, and what was measured on the way."""

    seconds: float
    steps: int
    history: tuple[dict[str, float], ...]


@dataclass(frozen=True)
class FitSettings:
    """How photographs are learnt from, whatever learns."""

    strategy: Strategy = field(default_factory=MCMCStrategy)  # of splats
    exposure: bool = False  # learn exposure and white balance of every photograph; fields alone
    points: Float[Tensor, "point 3"] | None = None  # world frame, where splats start; else the photographs' own
    preview: Preview | None = None  # is given a held-out view now and then


def fit(
    photos: Photographs,
    config: RepresentationConfig | None = None,
    budget: str = "5m",
    strategy: Strategy | None = None,
    seed: int | torch.Generator = 0,
    callback: Callback | None = None,
    exposure: bool = False,
) -> Result[FitReport]:
    """Fit an untrained scene of this configuration to posed photographs; by default a hash grid sized for them.

    `budget` is wall clock of the optimisation (`120s`, `10m`) or, in steps, `2000`; the `strategy` adds and removes
    splats; `callback` is called with a StepEvent after every step; with `exposure` a field learns exposure and white
    balance of every photograph as well. The same seed and a budget in steps give the same scene on one machine.
    Pictures of the split `train` are learnt from, those of `test` measured. Raises ValueError where there are none to
    learn from, FloatingPointError where a loss is not finite.

    >>> photos = load_photographs("fox/", size=480, holdout=8)
    >>> made = fit(photos, HashGridConfig(), budget="3m", callback=lambda event: print(event.step, event.loss))
    >>> made.scene, made.report.psnr
    """
    generator = make_generator(seed)
    if config is None:
        cameras = photos.subset("train").cameras
        config = default_config("hash_grid", photos.domain, Similarity(), cameras, SplatsConfig())
    scene = untrained_scene(photos, config, generator)
    settings = FitSettings(strategy or MCMCStrategy(MAX_SPLATS), exposure)
    training = TrainingRun(Budget.parse(budget))
    return fit_scene(scene, photos, training, settings, generator, CallbackProgress(callback))


def untrained_scene(photos: Photographs, config: RepresentationConfig, generator: torch.Generator) -> Representation:
    """An untrained scene where the photographs are, with their cameras as its capture."""
    held_out = tuple(name for name, split in zip(photos.names, photos.split, strict=True) if split != "train")
    capture = Capture(photos.cameras, photos.names, held_out, photos.near, white_background(photos))
    return config.build(photos.domain, generator).view(capture=capture)


def fit_scene(
    scene: Representation,
    photos: Photographs,
    training: TrainingRun,
    settings: FitSettings,
    generator: torch.Generator,
    progress: Progress,
) -> Result[FitReport]:
    """`fit` of an untrained scene that is there already: it learns itself. The run says how long, and keeps states."""
    judge, generator = Evaluator.of(photos, settings.preview), on_device(generator, scene.device)
    with progress.phase(f"fit {scene.config.kind}"):
        started = time.perf_counter()
        trainee = trainee_from_photographs(scene, photos, settings, generator)
        loop = training.run(trainee, progress, judge.quick_psnr, spent=time.perf_counter() - started)
    psnr = judge.mean_psnr(scene, progress)
    report = FitReport(
        scene.config.kind, count_parameters(scene), scene.device.type, backend.describe(), round(loop.seconds, 2),
        loop.step, psnr, judge.label, tuple(progress.notes),
    )  # fmt: skip
    return Result(scene, tuple(loop.history.rows), report)


def trainee_from_photographs(
    scene: Representation, photos: Photographs, settings: FitSettings, generator: torch.Generator
) -> FieldStudent | SplatStudent:
    """A trainee that learns a scene from the pictures of the split `train`."""
    train = photos.subset("train")
    points = photos.points if settings.points is None else settings.points
    seen = Pictures(train.cameras, train.images, train.masks, train.near, points)
    return trainee_from_pictures(scene, seen, generator, settings.strategy, exposure=settings.exposure)


def distill(
    teacher: Representation,
    config: RepresentationConfig,
    budget: str = "60s",
    photos: Photographs | None = None,
    method: str = "volkit",
    seed: int | torch.Generator = 0,
    callback: Callback | None = None,
) -> Result[DistillReport]:
    """Distil a teacher into a new scene of this configuration, with no photographs needed.

    The teacher is a scene of any kind: a field, also one of your own (`Field`, `FunctionField`; its parameters stay
    as they are), splats or a mesh. `photos` are for a last stage, in which a field may pass its teacher; `method` is
    `volkit`, or `pvd` or `pvd-al` as published, the two between fields alone. Budget, seed and callback as in `fit`.
    Raises ValueError where a method or photographs do not go with these kinds.

    >>> ball = FunctionField(lambda x: 30.0 * (x.norm(dim=-1) < 0.5), lambda x, d: x.abs(), Domain.cube(1.0))
    >>> made = distill(ball, HashGridConfig(), budget="30s")
    >>> made.scene, made.report.psnr
    """
    generator, progress = make_generator(seed), CallbackProgress(callback)
    with occupancy_filled(teacher):
        student = new_student(teacher, config, generator)
        table = None if photos is None else table_of(photos, teacher.device)
        settings = DistillSettings(None, method, table, MAX_SPLATS)
        judge = Evaluator.of_scene(teacher, None, generator)
        training = TrainingRun(Budget.parse(budget))
        learnt = teach(teacher, student, settings, training, judge, generator, progress)
        psnr = judge.mean_psnr(student, progress)
    report = DistillReport(
        student.config.kind, teacher.config.kind, method, count_parameters(student), student.device.type,
        backend.describe(), learnt.seconds, learnt.steps, psnr, tuple(progress.notes),
    )  # fmt: skip
    return Result(student, learnt.history, report)


def teach(
    teacher: Representation,
    student: Representation,
    settings: DistillSettings,
    training: TrainingRun,
    judge: Evaluator,
    generator: torch.Generator,
    progress: Progress,
) -> Learnt:
    """Let a student learn its teacher, within the budget of the run; the judge looks at it on the way."""
    settings.check(teacher, student)
    with progress.phase(f"convert to {student.config.kind}"):
        started = time.perf_counter()
        trainee = trainee_from_teacher(teacher, student, settings, generator)
        schedule = None if settings.method == "volkit" else pvd_schedule(student)
        loop = training.run(trainee, progress, judge.quick_psnr, schedule, time.perf_counter() - started)
    return Learnt(round(loop.seconds, 2), loop.step, tuple(loop.history.rows))


def table_of(photos: Photographs, device: torch.device) -> PixelTable:
    """The pixels of the training pictures, for the last stage of a distillation."""
    train = photos.subset("train")
    return PixelTable(train.cameras.to(device), train.images, train.masks)
