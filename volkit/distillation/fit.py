"""Scenes trained on photographs: fields by rays, splats by whole views."""

import time
from dataclasses import dataclass, field

import torch

from volkit.choices import ParameterError
from volkit.data import Photographs
from volkit.devices import on_device
from volkit.distillation.field_training import FieldTrainee, Stage, TrainableField
from volkit.distillation.pixels import Gains, PixelObjective, PixelTable
from volkit.distillation.result import FitReport, Result
from volkit.distillation.splat_start import initialise_splats, photo_consistency, photo_consistent_points
from volkit.distillation.splat_training import PhotographViews, SplatTrainee
from volkit.distillation.strategies import MCMCStrategy, Strategy
from volkit.distillation.students import default_config, untrainable
from volkit.evaluation.evaluate import Evaluator, Preview, white_background
from volkit.geometry import Cameras, Similarity
from volkit.ops import backend
from volkit.progress import Progress
from volkit.representations import Capture, Field, Representation, RepresentationConfig, Splats, SplatsConfig
from volkit.sampling.occupancy import OccupancySampler, learning_stride
from volkit.sampling.occupancy_grid import OccupancyGrid, visible_cells
from volkit.sampling.visible import VisibleSampler
from volkit.training.loop import Budget
from volkit.training.run import Callback, CallbackProgress, TrainingRun, count_parameters, make_generator
from volkit.typing import Float, Tensor

__all__ = ["FitSettings", "fit", "fit_scene", "trainee_from_photographs", "untrained_scene"]


@dataclass(frozen=True)
class FitSettings:
    """How a scene is trained on photographs, whatever its kind.

    Attributes:
        strategy: densification; for splats alone.
        exposure: optimise exposure and white balance of every photograph, too; for fields alone.
        points: initial positions of splats, world frame; None: those of the photographs' reconstruction, if any.
        preview: receives renderings of a held-out view during training.
    """

    strategy: Strategy = field(default_factory=MCMCStrategy)
    exposure: bool = False
    points: Float[Tensor, "point 3"] | None = None
    preview: Preview | None = None


def fit(
    photos: Photographs,
    config: RepresentationConfig | None = None,
    budget: str = "5m",
    strategy: Strategy | None = None,
    seed: int | torch.Generator = 0,
    callback: Callback | None = None,
    exposure: bool = False,
    points: Float[Tensor, "point 3"] | None = None,
) -> Result[FitReport]:
    """Fit an untrained scene to posed photographs.

    Photographs of the split `train` are trained on, those of `test` are evaluated. The same seed and a budget in steps
    give the same scene on one machine.

    Args:
        photos: the photographs.
        config: of the scene; None: a hash grid sized for the photographs.
        budget: wall-clock time of the optimisation (`120s`, `10m`), or a number of steps (`2000`).
        strategy: densification of splats; None: `MCMCStrategy`.
        seed: of all randomness.
        callback: called with a `StepEvent` after every step.
        exposure: optimise exposure and white balance of every photograph, too; fields alone.
        points: initial positions of splats, world frame; None: those of the photographs' reconstruction, if any.

    Raises:
        ValueError: no photograph has the split `train`; no camera sees any of the points.
        ParameterError: `exposure` for splats, `points` for fields, or a budget that cannot be read.
        FloatingPointError: a loss is not finite.

    Example:
        >>> photos = load_photographs("fox/", size=480, holdout=8)
        >>> made = fit(photos, HashGridConfig(), budget="3m", callback=lambda event: print(event.step, event.loss))
        >>> made.scene, made.report.psnr
    """
    generator = make_generator(seed)
    if config is None:
        cameras = photos.subset("train").cameras
        config = default_config("hash_grid", photos.domain, Similarity(), cameras, SplatsConfig())
    scene = untrained_scene(photos, config, generator)
    settings = FitSettings(strategy or MCMCStrategy(), exposure, points)
    training = TrainingRun(Budget.parse(budget))
    return fit_scene(scene, photos, training, settings, generator, CallbackProgress(callback))


def untrained_scene(photos: Photographs, config: RepresentationConfig, generator: torch.Generator) -> Representation:
    """An untrained scene in the domain of photographs, in the world frame, with their cameras as its capture."""
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
    """Fit an existing untrained scene in place, as `fit` does; `training` sets the budget and the checkpoints."""
    evaluator, generator = Evaluator.of(photos, settings.preview), on_device(generator, scene.device)
    with progress.phase(f"fit {scene.config.kind}"):
        started = time.perf_counter()
        trainee = trainee_from_photographs(scene, photos, settings, generator)
        loop = training.run(trainee, progress, evaluator.quick_psnr, spent=time.perf_counter() - started)
    psnr = evaluator.mean_psnr(scene, progress)
    report = FitReport(
        scene.config.kind, count_parameters(scene), scene.device.type, backend.describe(), round(loop.seconds, 2),
        loop.step, psnr, evaluator.label, tuple(progress.notes),
    )  # fmt: skip
    return Result(scene, tuple(loop.history.rows), report)


def trainee_from_photographs(
    scene: Representation, photos: Photographs, settings: FitSettings, generator: torch.Generator
) -> FieldTrainee | SplatTrainee:
    """A trainee that trains a scene on the photographs of the split `train`.

    Raises:
        TypeError: the scene is neither a field nor splats.
        ParameterError: `exposure` for splats, `points` for fields.
        ValueError: no photograph has the split `train`; no camera sees any of the points.
    """
    photos = photos.subset("train")
    cameras = photos.cameras.to(scene.device)
    if isinstance(scene, Splats):
        if settings.exposure:
            raise ParameterError("{exposure} applies to fields only; leave it out with splats", "exposure")
        points = photos.points if settings.points is None else settings.points
        _initialise(scene, cameras, photos, points, generator)
        return SplatTrainee(scene, PhotographViews(cameras, photos.images, photos.masks), generator, settings.strategy)
    if isinstance(scene, Field):
        if settings.points is not None:
            raise ParameterError("{points} are where splats begin; leave them out with fields", "points")
        return _field_trainee(scene, cameras, photos, settings.exposure, generator)
    raise untrainable(scene)


def _field_trainee(
    scene: Field, cameras: Cameras, photos: Photographs, exposure: bool, generator: torch.Generator
) -> FieldTrainee:
    placement, stride = scene.world_from_local, learning_stride(scene, cameras)
    opacities = tuple(image[..., 3] for image in photos.images) if photos.has_alpha else None
    visible = visible_cells(scene, cameras, near=photos.near, opacities=opacities)
    gains = Gains(len(photos)).to(scene.device) if exposure else None
    objective = PixelObjective(
        PixelTable(cameras, photos.images, photos.masks),
        VisibleSampler(OccupancySampler(scene, stride, photos.near / placement.scale, generator), scene),
        placement.inverse().rays,
        scene.config.batch_samples,
        generator,
        gains,
    )
    field = TrainableField(scene, OccupancyGrid(scene, stride, visible=visible))
    return FieldTrainee(field, [Stage(objective)], generator, gains)


def _initialise(
    scene: Splats,
    cameras: Cameras,
    photos: Photographs,
    points: Float[Tensor, "point 3"] | None,
    generator: torch.Generator,
) -> None:
    """Place splats at the known points that no photograph contradicts, or else at photo-consistent ones.

    If no point is consistent, as with thin objects and inaccurate cameras, the splats stay all over the domain.
    """
    if points is None:
        world, colours = photo_consistent_points(scene, cameras, photos.images, photos.near, generator)
        if len(world):
            initialise_splats(scene, world, colours, generator)
        return
    world = points.to(scene.device)
    consistency = photo_consistency(world, cameras, photos.images, photos.near)
    rows = consistency.possible.nonzero()[:, 0]
    if not len(rows):
        raise ValueError("start: no camera sees any of the points; are they in the frame of the dataset?")
    order = torch.randperm(len(rows), generator=generator, device=generator.device).to(rows.device)
    rows = rows[order[: scene.config.count]]
    initialise_splats(scene, world[rows], consistency.colours[rows], generator)
