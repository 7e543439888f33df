"""Who learns what from whom: fields by rays, splats by whole views; from photographs, from fields, from splats."""

from dataclasses import dataclass
from functools import singledispatch

import torch

from volkit.choices import ParameterError
from volkit.devices import on_device
from volkit.distillation.exact import exact
from volkit.distillation.exact.cloud import cells_of, cloud_of, voxels_of
from volkit.distillation.exact.surface import flattened, place_splats, surface_points
from volkit.distillation.pvd.method import METHODS
from volkit.distillation.pvd.start import pvd_student
from volkit.distillation.rungs.cache import CacheSize
from volkit.distillation.rungs.pixels import Gains, PixelRung, PixelTable, TeacherPixels
from volkit.distillation.rungs.plan import Ladder, plan_stages
from volkit.distillation.splats.mcmc import MCMCStrategy
from volkit.distillation.splats.start import agreeing_places, photo_evidence, start_splats
from volkit.distillation.splats.strategy import Strategy
from volkit.distillation.splats.student import SplatStudent
from volkit.distillation.splats.views import PhotographViews, TeacherViews
from volkit.distillation.student import FieldStudent, FieldTrainee, Schedule, Stage
from volkit.editing.decimate import contributions, thin_splats
from volkit.geometry import Cameras, sh_count
from volkit.rendering.viewpoints import distillation_cameras, random_windows
from volkit.representations import Field, Representation, Splats
from volkit.representations.splats import PARAMETERS
from volkit.sampling.occupancy import OccupancySampler, learning_stride, pixel_width
from volkit.sampling.occupancy_grid import OccupancyGrid, visible_cells
from volkit.sampling.visible import VisibleSampler
from volkit.typing import Float, Tensor, UInt8

__all__ = [
    "DistillSettings",
    "Pictures",
    "answer_bytes",
    "check_method",
    "trainee_from_pictures",
    "trainee_from_teacher",
]

VIEWS = 400  # cameras that a field is asked from, ray by ray: four times a usual capture
WHOLE_VIEWS = 120  # pictures that are asked for as a whole, which cost more
PIECES, PIECE = 480, 200  # of pictures, and how wide: as many pixels as 120 pictures of 400, and 77 MB of memory
MODEL = 128  # cells a side of the model of a teacher's density
ANSWER = 40  # bytes of a cached sample: interval, ray, density, colour, light
START_VIEWS = 24  # of those that splats are laid on or chosen by, where whole pictures are drawn
START_SIZE = 200  # longest side of the pictures that splats are laid on


@dataclass(frozen=True)
class Pictures:
    """Posed pictures to learn from, 8 bits a channel; `near` and points of a reconstruction are in world units."""

    cameras: Cameras
    images: tuple[UInt8[Tensor, "height width channel"], ...]
    masks: tuple[UInt8[Tensor, "height width"] | None, ...] = ()
    near: float = 0.0
    points: Float[Tensor, "point 3"] | None = None

    @property
    def opacities(self) -> tuple[UInt8[Tensor, "height width"], ...] | None:
        """Alpha channels, where there are any."""
        return tuple(image[..., 3] for image in self.images) if self.images[0].shape[-1] == 4 else None


@dataclass(frozen=True)
class DistillSettings:
    """How a teacher is learnt from: size of its pictures, method, photographs for a last stage, most splats."""

    size: int | None = None
    method: str = "volkit"
    photographs: PixelTable | None = None
    max_splats: int = 60_000

    def check(self, teacher: Representation, student: Representation) -> None:
        """Raise ValueError where the method or photographs do not go with these kinds."""
        check_method(self.method, self.photographs is not None, teacher, student)


def check_method(method: str, photographs: bool, teacher: Representation, student: Representation) -> None:
    """Raise ValueError where a method, or photographs for a last stage, do not go with these kinds."""
    if method not in ("volkit", *METHODS):
        raise ParameterError(f"method {method}: there is none; choose one of volkit, {', '.join(METHODS)}")
    fields = isinstance(teacher, Field) and isinstance(student, Field)
    if (photographs or method != "volkit") and not fields:
        methods = ", ".join(METHODS)
        raise ParameterError(
            f"{{photos}} and {{method}} {methods} are for fields that learn from fields; leave them out",
            "photos",
            "method",
        )


def trainee_from_pictures(
    scene: Representation,
    seen: Pictures,
    generator: torch.Generator,
    strategy: Strategy,
    *,
    exposure: bool = False,
) -> FieldStudent | SplatStudent:
    """A trainee that learns a scene from posed pictures alone; `strategy` is for splats, `exposure` for fields."""
    return _pictured_trainee(scene, seen, seen.cameras.to(scene.device), generator, strategy, exposure)


@singledispatch
def _pictured_trainee(
    scene: Representation,
    seen: Pictures,
    cameras: Cameras,
    generator: torch.Generator,
    strategy: Strategy,
    exposure: bool,
) -> FieldStudent | SplatStudent:
    raise _not_learnt(scene)


@_pictured_trainee.register
def _splats_of_pictures(
    scene: Splats, seen: Pictures, cameras: Cameras, generator: torch.Generator, strategy: Strategy, exposure: bool
) -> SplatStudent:
    if exposure:
        raise ParameterError("{exposure} is learnt with fields alone; leave it out with splats", "exposure")
    _begin(scene, cameras, seen, generator)
    return SplatStudent(scene, PhotographViews(cameras, seen.images, seen.masks), generator, strategy)


@_pictured_trainee.register
def _field_of_pictures(
    scene: Field, seen: Pictures, cameras: Cameras, generator: torch.Generator, strategy: Strategy, exposure: bool
) -> FieldStudent:
    place, stride = scene.world_from_local, learning_stride(scene, cameras)
    visible = visible_cells(scene, cameras, near=seen.near, opacities=seen.opacities)
    gains = Gains(len(seen.images)).to(scene.device) if exposure else None
    rung = PixelRung(
        PixelTable(cameras, seen.images, seen.masks),
        VisibleSampler(OccupancySampler(scene, stride, seen.near / place.scale, generator), scene),
        place.inverse().rays,
        scene.config.batch_samples,
        generator,
        gains,
    )
    trainee = FieldTrainee(scene, OccupancyGrid(scene, stride, visible=visible))
    return FieldStudent(trainee, [Stage(rung)], generator, gains)


def _begin(scene: Splats, cameras: Cameras, seen: Pictures, generator: torch.Generator) -> None:
    """At known points that no picture refutes, at most as many as there are splats, else where the pictures agree.

    Pictures that refute everything, as of thin things by rough cameras, leave the splats all over the box.
    """
    if seen.points is None:
        world, colours = agreeing_places(scene, cameras, seen.images, seen.near, generator)
        if len(world):
            start_splats(scene, world, colours, generator)
        return
    world = seen.points.to(scene.device)
    said = photo_evidence(world, cameras, seen.images, seen.near)
    kept = said.possible.nonzero()[:, 0]
    if not len(kept):
        raise ValueError("start: no camera sees any of the points; are they in the frame of the dataset?")
    order = torch.randperm(len(kept), generator=generator, device=generator.device).to(kept.device)
    kept = kept[order[: scene.config.count]]
    start_splats(scene, world[kept], said.colours[kept], generator)


def trainee_from_teacher(
    teacher: Representation, student: Representation, lesson: DistillSettings, generator: torch.Generator
) -> FieldStudent | SplatStudent:
    """A trainee that learns what a teacher shows, with no photographs needed."""
    return _taught(student, teacher, lesson, generator)


@singledispatch
def _taught(
    student: Representation, teacher: Representation, lesson: DistillSettings, generator: torch.Generator
) -> FieldStudent | SplatStudent:
    raise _not_learnt(student)


@_taught.register
def _taught_field(
    student: Field, teacher: Representation, lesson: DistillSettings, generator: torch.Generator
) -> FieldStudent:
    return _field(teacher, student, lesson, generator)


def _not_learnt(scene: Representation) -> TypeError:
    return TypeError(f"a {type(scene).__name__} learns nothing: fields and splats can be students")


def answer_bytes(teacher: Representation, student: Representation, size: int | None) -> int:
    """What is kept of a teacher's answers while its student learns: samples, pieces of pictures or whole ones."""
    if student.splat_count is not None:
        first = distillation_cameras(teacher, 1, size, torch.Generator())[[0]]
        return WHOLE_VIEWS * int(first.size.prod()) * 8  # four channels, 16 bits each
    cache = CacheSize()
    return ANSWER * cache.batches * cache.samples if isinstance(teacher, Field) else 4 * PIECES * PIECE**2


@singledispatch
def _field(
    teacher: Representation, student: Field, lesson: DistillSettings, generator: torch.Generator
) -> FieldStudent:
    cameras = distillation_cameras(teacher, VIEWS, lesson.size, generator)
    source = TeacherPixels(teacher, random_windows(cameras, PIECES, PIECE, generator).to(teacher.device))
    generator, place = on_device(generator, teacher.device), teacher.world_from_local
    stride = learning_stride(student, cameras)
    cloud = cloud_of(teacher, pixel_width(student.domain, place, cameras), generator)
    grid = OccupancyGrid(student, stride, visible=cells_of(cloud, student.domain))
    # The rate stays as it is: a model is not what the teacher shows, and is left behind.
    exact(voxels_of(cloud, student.domain, MODEL), student, generator)
    near = 0.0 if teacher.capture is None else teacher.capture.near / place.scale
    sampler = VisibleSampler(OccupancySampler(student, stride, near, generator), student)
    rung = PixelRung(source, sampler, place.inverse().rays, student.config.batch_samples, generator)
    return FieldStudent(FieldTrainee(student, grid), [Stage(rung)], generator)


@_field.register
def _field_of_field(
    teacher: Field, student: Field, lesson: DistillSettings, generator: torch.Generator
) -> FieldStudent:
    cameras = distillation_cameras(teacher, VIEWS, lesson.size, generator).to(teacher.device)
    generator = on_device(generator, teacher.device)
    near = 0.0 if teacher.capture is None else teacher.capture.near / teacher.world_from_local.scale
    local_rays = teacher.world_from_local.inverse().rays
    ladder = Ladder(teacher, student, cameras, local_rays, learning_stride(teacher, cameras), near, generator)
    if lesson.method != "volkit":
        return pvd_student(ladder, METHODS[lesson.method])
    # A teacher answers wherever its student is asked: penalties that guess where nothing was seen only blur.
    schedule = Schedule(rate=exact(teacher, student, generator), own_penalties=False)
    stages = plan_stages(ladder, student.config.batch_samples, lesson.photographs)
    return FieldStudent(FieldTrainee(student, schedule=schedule), stages, generator)


@_taught.register
def _taught_splats(
    student: Splats, teacher: Representation, lesson: DistillSettings, generator: torch.Generator
) -> SplatStudent:
    cameras = distillation_cameras(teacher, WHOLE_VIEWS, lesson.size, generator)
    cameras = cameras[torch.randperm(len(cameras), generator=generator)].to(teacher.device)
    generator = on_device(generator, teacher.device)
    first = cameras[slice(0, START_VIEWS)].resize(START_SIZE)
    if isinstance(teacher, Splats):
        wanted, columns = student.config, {name: getattr(teacher, name).detach() for name in PARAMETERS}
        columns["sh_rest"] = columns["sh_rest"][:, : sh_count(wanted.degree) - 1]  # bands are orthogonal
        student.replace_columns(flattened(columns) if wanted.surfels else columns)
        if len(student) > wanted.count:
            thin_splats(student, contributions(teacher, first), wanted.count, generator)
        return SplatStudent(student, TeacherViews(teacher, cameras), generator, MCMCStrategy(len(student)))
    looking = cameras if isinstance(teacher, Field) else first
    place_splats(student, surface_points(teacher, looking, len(student), generator), generator)
    return SplatStudent(student, TeacherViews(teacher, cameras), generator, MCMCStrategy(lesson.max_splats))
