"""Scenes trained on another scene, their teacher: fields by rays, splats by whole views."""

import time
from dataclasses import dataclass

import torch

from volkit.choices import ParameterError
from volkit.data import Photographs
from volkit.devices import on_device
from volkit.distillation.closed_form import initialise_from_teacher
from volkit.distillation.density_cloud import density_cloud, occupied_cells, voxelise
from volkit.distillation.field_training import FieldTrainee, Schedule, Stage, TrainableField
from volkit.distillation.pixels import PixelObjective, PixelTable, TeacherPixels
from volkit.distillation.pvd_objective import METHODS
from volkit.distillation.pvd_student import pvd_schedule, pvd_trainee
from volkit.distillation.result import DistillReport, Result, TrainingSummary
from volkit.distillation.splat_start import flatten_to_surfels, initialise_on_surface, surface_points
from volkit.distillation.splat_training import SplatTrainee, TeacherViews
from volkit.distillation.stages import FieldPair, plan_stages
from volkit.distillation.strategies import MAX_SPLATS, MCMCStrategy
from volkit.distillation.students import new_student, untrainable
from volkit.distillation.teacher_cache import CacheSize
from volkit.editing.decimate import contributions, thin_splats
from volkit.evaluation.evaluate import Evaluator
from volkit.geometry import sh_count
from volkit.ops import backend
from volkit.progress import Progress
from volkit.rendering.viewpoints import distillation_cameras, random_windows
from volkit.representations import Field, Representation, RepresentationConfig, Splats
from volkit.representations.splats import PARAMETERS
from volkit.sampling.occupancy import OccupancySampler, learning_stride, pixel_width
from volkit.sampling.occupancy_grid import OccupancyGrid, occupancy_filled
from volkit.sampling.visible import VisibleSampler
from volkit.training.loop import Budget
from volkit.training.run import Callback, CallbackProgress, TrainingRun, count_parameters, make_generator

__all__ = [
    "DistillSettings",
    "cache_bytes",
    "check_method",
    "distill",
    "train_student",
    "trainee_from_teacher",
    "training_pixels",
]

RAY_CAMERAS = 400  # whose rays a field is evaluated along: four times as many as a usual capture has
VIEW_CAMERAS = 120  # whose pictures are rendered whole, which costs more
WINDOWS, WINDOW_SIZE = 480, 200  # of pictures, side in pixels: as many pixels as 120 pictures of 400, 77 MB of memory
CLOUD_RESOLUTION = 128  # cells a side of the voxels that a teacher's density cloud is accumulated in
SAMPLE_BYTES = 40  # of a cached sample: interval, ray, density, colour, transmittance
START_VIEWS = 24  # whose whole pictures initial splats are placed or selected by
START_SIZE = 200  # longest side of those pictures


@dataclass(frozen=True)
class DistillSettings:
    """How a student is trained on a teacher.

    Attributes:
        size: longest side in pixels of the teacher's pictures; None: that of its capture.
        method: `volkit`, or a published method, `pvd` or `pvd-al`.
        photographs: pixels for a last stage; None: there is none.
        max_splats: number of splats up to which a student densifies.
    """

    size: int | None = None
    method: str = "volkit"
    photographs: PixelTable | None = None
    max_splats: int = MAX_SPLATS

    def check(self, teacher: Representation, student: Representation) -> None:
        """Raise ParameterError if the method or the photographs do not apply to these kinds."""
        check_method(self.method, self.photographs is not None, teacher, student)


def check_method(method: str, photographs: bool, teacher: Representation, student: Representation) -> None:
    """Raise ParameterError if a method, or photographs for a last stage, do not apply to these kinds."""
    if method not in ("volkit", *METHODS):
        raise ParameterError(f"method {method}: there is none; choose one of volkit, {', '.join(METHODS)}")
    fields = isinstance(teacher, Field) and isinstance(student, Field)
    if (photographs or method != "volkit") and not fields:
        methods = ", ".join(METHODS)
        raise ParameterError(
            f"{{photos}} and {{method}} {methods} apply to fields distilled from fields only; leave them out",
            "photos",
            "method",
        )


def distill(
    teacher: Representation,
    config: RepresentationConfig,
    budget: str = "60s",
    photos: Photographs | None = None,
    method: str = "volkit",
    seed: int | torch.Generator = 0,
    callback: Callback | None = None,
) -> Result[DistillReport]:
    """Distil a teacher into a new scene; no photographs are needed.

    The same seed and a budget in steps give the same scene on one machine.

    Args:
        teacher: a field, also one of your own (`Field`, `FunctionField`), splats or a mesh; it is not changed.
        config: of the student.
        budget: wall-clock time of the optimisation (`120s`, `10m`), or a number of steps (`2000`).
        photos: photographs for a last stage, in which a field may surpass its teacher.
        method: `volkit`, or a published method, `pvd` or `pvd-al`, between fields alone.
        seed: of all randomness.
        callback: called with a `StepEvent` after every step.

    Raises:
        ParameterError: the method or photographs do not apply to these kinds, or the budget cannot be read.
        ValueError: the teacher shows nothing to place splats on.
        FloatingPointError: a loss is not finite.

    Example:
        >>> ball = FunctionField(lambda x: 30.0 * (x.norm(dim=-1) < 0.5), lambda x, d: x.abs(), Domain.cube(1.0))
        >>> made = distill(ball, HashGridConfig(), budget="30s")
        >>> made.scene, made.report.psnr
    """
    generator, progress = make_generator(seed), CallbackProgress(callback)
    with occupancy_filled(teacher):
        student = new_student(teacher, config, generator)
        pixels = None if photos is None else training_pixels(photos, teacher.device)
        settings = DistillSettings(None, method, pixels)
        evaluator = Evaluator.of_scene(teacher, None, generator)
        training = TrainingRun(Budget.parse(budget))
        summary = train_student(teacher, student, settings, training, evaluator, generator, progress)
        psnr = evaluator.mean_psnr(student, progress)
    report = DistillReport(
        student.config.kind, teacher.config.kind, method, count_parameters(student), student.device.type,
        backend.describe(), summary.seconds, summary.steps, psnr, tuple(progress.notes),
    )  # fmt: skip
    return Result(student, summary.history, report)


def train_student(
    teacher: Representation,
    student: Representation,
    settings: DistillSettings,
    training: TrainingRun,
    evaluator: Evaluator,
    generator: torch.Generator,
    progress: Progress,
) -> TrainingSummary:
    """Train a student on its teacher in place, within the budget of the run, evaluated several times on the way."""
    settings.check(teacher, student)
    with progress.phase(f"convert to {student.config.kind}"):
        started = time.perf_counter()
        trainee = trainee_from_teacher(teacher, student, settings, generator)
        schedule = None if settings.method == "volkit" else pvd_schedule(student)
        loop = training.run(trainee, progress, evaluator.quick_psnr, schedule, time.perf_counter() - started)
    return TrainingSummary(round(loop.seconds, 2), loop.step, tuple(loop.history.rows))


def training_pixels(photos: Photographs, device: torch.device) -> PixelTable:
    """The pixels of the photographs of the split `train`, for the last stage of a distillation."""
    train = photos.subset("train")
    return PixelTable(train.cameras.to(device), train.images, train.masks)


def cache_bytes(teacher: Representation, student: Representation, size: int | None) -> int:
    """Memory of the teacher's cached samples, windows or whole pictures while a student is trained."""
    if student.splat_count is not None:
        first = distillation_cameras(teacher, 1, size, torch.Generator())[[0]]
        return VIEW_CAMERAS * int(first.size.prod()) * 8  # four channels, 16 bits each
    cache = CacheSize()
    if isinstance(teacher, Field):
        return SAMPLE_BYTES * cache.batches * cache.samples
    return 4 * WINDOWS * WINDOW_SIZE**2


def trainee_from_teacher(
    teacher: Representation, student: Representation, settings: DistillSettings, generator: torch.Generator
) -> FieldTrainee | SplatTrainee:
    """A trainee that trains a student on a teacher; the student is initialised.

    Raises:
        TypeError: the student is neither a field nor splats.
        ValueError: the teacher shows nothing to place splats on.
    """
    if isinstance(student, Splats):
        return _train_splats(student, teacher, settings, generator)
    if not isinstance(student, Field):
        raise untrainable(student)
    if isinstance(teacher, Field):
        return _train_on_samples(student, teacher, settings, generator)
    return _train_on_pictures(student, teacher, settings.size, generator)


def _train_on_samples(
    student: Field, teacher: Field, settings: DistillSettings, generator: torch.Generator
) -> FieldTrainee:
    """A field that is trained on samples of another."""
    cameras = distillation_cameras(teacher, RAY_CAMERAS, settings.size, generator).to(teacher.device)
    generator = on_device(generator, teacher.device)
    near = 0.0 if teacher.capture is None else teacher.capture.near / teacher.world_from_local.scale
    local_rays = teacher.world_from_local.inverse().rays
    pair = FieldPair(teacher, student, cameras, local_rays, learning_stride(teacher, cameras), near, generator)
    if settings.method != "volkit":
        return pvd_trainee(pair, METHODS[settings.method])
    # A teacher can be evaluated everywhere: priors on what no photograph shows would only blur.
    schedule = Schedule(rate=initialise_from_teacher(teacher, student, generator), own_penalties=False)
    stages = plan_stages(pair, student.config.batch_samples, settings.photographs)
    return FieldTrainee(TrainableField(student, schedule=schedule), stages, generator)


def _train_on_pictures(
    student: Field, teacher: Representation, size: int | None, generator: torch.Generator
) -> FieldTrainee:
    """A field that is trained on pictures of splats or a mesh."""
    cameras = distillation_cameras(teacher, RAY_CAMERAS, size, generator)
    windows = random_windows(cameras, WINDOWS, WINDOW_SIZE, generator).to(teacher.device)
    pixels = TeacherPixels(teacher, windows)
    generator, placement = on_device(generator, teacher.device), teacher.world_from_local
    stride = learning_stride(student, cameras)
    cloud = density_cloud(teacher, pixel_width(student.domain, placement, cameras), generator)
    grid = OccupancyGrid(student, stride, visible=occupied_cells(cloud, student.domain))
    # The full rate: the cloud is only a model of what the teacher shows, from which training departs.
    initialise_from_teacher(voxelise(cloud, student.domain, CLOUD_RESOLUTION), student, generator)
    near = 0.0 if teacher.capture is None else teacher.capture.near / placement.scale
    sampler = VisibleSampler(OccupancySampler(student, stride, near, generator), student)
    objective = PixelObjective(pixels, sampler, placement.inverse().rays, student.config.batch_samples, generator)
    return FieldTrainee(TrainableField(student, grid), [Stage(objective)], generator)


def _train_splats(
    student: Splats, teacher: Representation, settings: DistillSettings, generator: torch.Generator
) -> SplatTrainee:
    """Splats that are trained on whole pictures of any teacher."""
    cameras = distillation_cameras(teacher, VIEW_CAMERAS, settings.size, generator)
    cameras = cameras[torch.randperm(len(cameras), generator=generator)].to(teacher.device)
    generator = on_device(generator, teacher.device)
    first = cameras[slice(0, START_VIEWS)].resize(START_SIZE)
    if isinstance(teacher, Splats):
        config, columns = student.config, {name: getattr(teacher, name).detach() for name in PARAMETERS}
        columns["sh_rest"] = columns["sh_rest"][:, : sh_count(config.degree) - 1]  # bands are orthogonal
        student.replace_columns(flatten_to_surfels(columns) if config.surfels else columns)
        if len(student) > config.count:
            thin_splats(student, contributions(teacher, first), config.count, generator)
        return SplatTrainee(student, TeacherViews(teacher, cameras), generator, MCMCStrategy(len(student)))
    surface = surface_points(teacher, cameras if isinstance(teacher, Field) else first, len(student), generator)
    initialise_on_surface(student, surface, generator)
    return SplatTrainee(student, TeacherViews(teacher, cameras), generator, MCMCStrategy(settings.max_splats))
