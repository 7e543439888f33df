"""Who learns what from whom: fields by rays, splats by whole views; from photographs, from fields, from splats."""

from dataclasses import dataclass

import torch

from volkit.distill.densify import Chain
from volkit.distill.exact import exact
from volkit.distill.exact.flat import flattened
from volkit.distill.exact.surface import splats_on, surface_points
from volkit.distill.importance import contributions
from volkit.distill.pixels import Gains, PixelRung, PixelTable
from volkit.distill.plan import Ladder, plan
from volkit.distill.pvd import METHODS
from volkit.distill.pvd_start import pvd_student
from volkit.distill.splat_student import SplatStudent
from volkit.distill.splat_views import FIRST, PhotographViews, TeacherViews
from volkit.distill.student import Recipe, Stage, Student
from volkit.distill.views import distillation_cameras
from volkit.geometry import Cameras
from volkit.jobs.devices import on_device
from volkit.jobs.training import batch_samples
from volkit.render.renderer import renderer_for
from volkit.representations import Field, Representation, Splats
from volkit.representations.splats import PARAMETERS
from volkit.sampling.occupancy import OccupancySampler, learning_stride
from volkit.sampling.occupancy_grid import OccupancyGrid, visible_cells
from volkit.sampling.visible import VisibleSampler
from volkit.typing import Tensor, UInt8

__all__ = ["Lesson", "Pictures", "trainee_of_pictures", "trainee_of_teacher"]

VIEWS = 400  # cameras that a field is asked from, ray by ray: four times a usual capture
WHOLE_VIEWS = 120  # pictures that are asked for as a whole, which cost more
START_SIZE = 200  # longest side of the pictures that splats are laid on


@dataclass(frozen=True)
class Pictures:
    """Posed pictures to learn from, 8 bits a channel; `near` is in world units."""

    cameras: Cameras
    images: tuple[UInt8[Tensor, "height width channel"], ...]
    masks: tuple[UInt8[Tensor, "height width"] | None, ...] = ()
    near: float = 0.0

    @property
    def opacities(self) -> tuple[UInt8[Tensor, "height width"], ...] | None:
        """Alpha channels, where there are any."""
        return tuple(image[..., 3] for image in self.images) if self.images[0].shape[-1] == 4 else None


@dataclass(frozen=True)
class Lesson:
    """How a teacher is learnt from: size of its pictures, method, photographs for a last stage, most splats."""

    size: int | None = None
    method: str = "volkit"
    photographs: PixelTable | None = None
    max_splats: int = 60_000


def trainee_of_pictures(
    scene: Representation,
    seen: Pictures,
    generator: torch.Generator,
    *,
    exposure: bool = False,
    max_splats: int = 60_000,
) -> Student | SplatStudent:
    """A trainee that learns a scene from posed pictures alone."""
    cameras = seen.cameras.to(scene.device)
    if isinstance(scene, Splats):
        return SplatStudent(scene, PhotographViews(cameras, seen.images, seen.masks), generator, Chain(max_splats))
    assert isinstance(scene, Field)
    place, stride = scene.world_from_local, learning_stride(scene, cameras)
    visible = visible_cells(scene, cameras, near=seen.near, opacities=seen.opacities)
    gains = Gains(len(seen.images)).to(scene.device) if exposure else None
    rung = PixelRung(
        PixelTable(cameras, seen.images, seen.masks),
        VisibleSampler(OccupancySampler(scene, stride, seen.near / place.scale, generator), scene),
        place.inverse().rays,
        batch_samples(scene.config.kind),
        generator,
        gains,
    )
    return Student(scene, [Stage(rung)], generator, OccupancyGrid(scene, stride, visible=visible), gains)


def trainee_of_teacher(
    teacher: Representation, student: Representation, lesson: Lesson, generator: torch.Generator
) -> Student | SplatStudent:
    """A trainee that learns what a teacher shows, with no photographs needed."""
    if isinstance(student, Splats):
        return _splats(teacher, student, lesson, generator)
    assert isinstance(student, Field)
    if isinstance(teacher, Field):
        return _field(teacher, student, lesson, generator)
    near = 0.0 if teacher.capture is None else teacher.capture.near
    cameras = distillation_cameras(teacher, WHOLE_VIEWS, lesson.size, generator)
    seen = Pictures(cameras, tuple(_picture(teacher, cameras, index) for index in range(len(cameras))), near=near)
    return trainee_of_pictures(student, seen, on_device(generator, student.device))


def _field(teacher: Field, student: Field, lesson: Lesson, generator: torch.Generator) -> Student:
    cameras = distillation_cameras(teacher, VIEWS, lesson.size, generator).to(teacher.device)
    generator = on_device(generator, teacher.device)
    near = 0.0 if teacher.capture is None else teacher.capture.near / teacher.world_from_local.scale
    local_rays = teacher.world_from_local.inverse().rays
    ladder = Ladder(teacher, student, cameras, local_rays, learning_stride(teacher, cameras), near, generator)
    if lesson.method != "volkit":
        return pvd_student(ladder, METHODS[lesson.method])
    # A teacher answers wherever its student is asked: penalties that guess where nothing was seen only blur.
    recipe = Recipe(rate=exact(teacher, student, generator), own_penalties=False)
    stages = plan(ladder, batch_samples(student.config.kind), lesson.photographs)
    return Student(student, stages, generator, recipe=recipe)


def _splats(teacher: Representation, student: Splats, lesson: Lesson, generator: torch.Generator) -> SplatStudent:
    cameras = distillation_cameras(teacher, WHOLE_VIEWS, lesson.size, generator)
    cameras = cameras[torch.randperm(len(cameras), generator=generator)].to(teacher.device)
    generator = on_device(generator, teacher.device)
    first = cameras[slice(0, FIRST)].resized(START_SIZE)
    if isinstance(teacher, Splats):
        most = contributions(teacher, first).topk(min(lesson.max_splats, len(teacher))).indices
        columns = {name: getattr(teacher, name).detach()[most] for name in PARAMETERS}
        student.replaced(flattened(columns) if student.config.surfels else columns)
        return SplatStudent(student, TeacherViews(teacher, cameras), generator, Chain(len(student)))
    renderer = renderer_for(teacher, normals=True)
    with torch.no_grad():
        pictures = [renderer(teacher, first[[index]]) for index in range(len(first))]
    splats_on(student, surface_points(pictures, first), generator)
    return SplatStudent(student, TeacherViews(teacher, cameras), generator, Chain(lesson.max_splats))


@torch.no_grad()
def _picture(teacher: Representation, cameras: Cameras, index: int) -> UInt8[Tensor, "height width 4"]:
    """One view as a photograph would hold it: colour not yet multiplied by opacity."""
    picture = renderer_for(teacher)(teacher, cameras[[index]].to(teacher.device))
    opacity = picture.opacity[0, ..., None]
    value = torch.cat([picture.rgb[0] / opacity.clamp_min(1e-4), opacity], -1)
    return (value.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).cpu()
