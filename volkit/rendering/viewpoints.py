"""Training cameras of a scene: those of its capture and variations of them, else a sphere around its content."""

import math
from dataclasses import replace
from functools import singledispatch

import torch

from volkit.geometry import Cameras, Domain
from volkit.representations.field import OCCUPANCY_RESOLUTION, Field
from volkit.representations.occupancy_bits import occupancy_cells
from volkit.representations.representation import Representation
from volkit.representations.splat_extent import core_sphere, whole_box
from volkit.representations.splats import Splats
from volkit.sampling.occupancy_grid import unpack_bits
from volkit.typing import Float, Tensor

__all__ = [
    "distillation_cameras",
    "occupied_sphere",
    "orbit_cameras",
    "random_windows",
    "vary_cameras",
    "visible_box",
    "visible_corners",
]

NEIGHBOUR_COUNT = 4  # a new camera lies between a camera of the teacher and one of this many nearest to it
STRAY_SHARE = 0.001  # of the occupied cells, at each face of the box: single cells of fog would make it twice as wide
ORBIT_FIELD_OF_VIEW = 0.69  # radians; that of the Blender scenes of NeRF


def distillation_cameras(teacher: Representation, count: int, size: int | None, generator: torch.Generator) -> Cameras:
    """World-frame cameras to render a teacher from; `size` is the longest side in pixels, by default the recorded one.

    With a capture: its training cameras and variations of them, so that no view is far from an observed one. Without:
    cameras on a sphere around the content. Cameras and generator are on the CPU, as captures are.
    """
    capture = teacher.capture
    if capture is None:
        return orbit_cameras(teacher, count, size or 400, generator)
    held_out = set(capture.held_out)
    trained = [i for i, name in enumerate(capture.names) if name not in held_out]
    cameras = capture.cameras[trained]
    if size is not None:
        cameras = cameras.resize(size)
    more = count - len(cameras)
    return cameras if more <= 0 else Cameras.cat([cameras, vary_cameras(cameras, more, generator)])


def vary_cameras(cameras: Cameras, count: int, generator: torch.Generator) -> Cameras:
    """New cameras between neighbours: centres and rotations blended by u ~ U(0, 1/2), rotations made orthonormal."""
    total, device = len(cameras), cameras.size.device
    if total < 2:
        return cameras[[0] * count]
    base = torch.randint(total, (count,), generator=generator, device=device)
    # Nearness counts position and viewing direction alike, in units of the capture's own spread.
    away = cameras.centres - cameras.centres.mean(0)
    spread = away.norm(dim=-1).mean().clamp_min(torch.finfo(away.dtype).tiny)
    pose = torch.cat([away / spread, cameras.forward], -1)
    near = torch.cdist(pose[base], pose).topk(min(NEIGHBOUR_COUNT + 1, total), largest=False).indices[:, 1:]
    pick = torch.randint(near.shape[1], (count, 1), generator=generator, device=device)
    other = near.gather(1, pick).squeeze(1)
    u = 0.5 * torch.rand(count, 1, 1, generator=generator, device=device)
    blended = torch.lerp(cameras.world_from_camera[base], cameras.world_from_camera[other], u)
    left, _, right = torch.linalg.svd(blended[:, :, :3])
    varied = torch.cat([left @ right, blended[:, :, 3:]], -1)
    return replace(cameras[base], world_from_camera=varied)


def random_windows(cameras: Cameras, count: int, side: int, generator: torch.Generator) -> Cameras:
    """`count` cameras of random crops, at most `side` pixels wide and high, of pictures in random order.

    Every picture is cropped once before any is cropped again. Crops lie anywhere inside, so that centres occur most.
    """
    rounds = [torch.randperm(len(cameras), generator=generator) for _ in range(-(-count // len(cameras)))]
    chosen = cameras[torch.cat(rounds)[:count]]
    size = chosen.size.clamp_max(side)
    free = chosen.size - size + 1
    corner = (torch.rand(count, 2, generator=generator) * free).long()
    focal, centre = chosen.intrinsics.split(2, -1)
    return replace(chosen, intrinsics=torch.cat([focal, centre - corner], -1), size=size)


@singledispatch
def occupied_sphere(scene: Representation) -> tuple[Float[Tensor, "3"], float]:
    """Centre and radius, world frame, of a sphere around a field's occupied cells, most splats, a mesh's box."""
    return _sphere(scene, torch.tensor([scene.domain.lower, scene.domain.upper], device=scene.device))


@occupied_sphere.register
def _of_splats(splats: Splats) -> tuple[Float[Tensor, "3"], float]:
    middle, radius = core_sphere(splats)
    return splats.world_from_local.points(middle[None])[0], radius * splats.world_from_local.scale


@occupied_sphere.register
def _of_cells(field: Field) -> tuple[Float[Tensor, "3"], float]:
    cells = occupancy_cells(field.device)[unpack_bits(field.occupancy)]
    whole = torch.tensor([[0.0] * 3, [1.0] * 3], device=cells.device)
    unit = (cells + 0.5) / OCCUPANCY_RESOLUTION if len(cells) else whole
    return _sphere(field, field.domain.local_from_unit(torch.stack([unit.amin(0), unit.amax(0)])))


@singledispatch
def visible_box(scene: Representation) -> Domain:
    """The box, local frame, that a picture should show: nearly all occupied cells or splats, or a mesh's vertices.

    Of an unbounded scene it is the inner box. Single cells and splats far away are left out.
    """
    return scene.bounds()


visible_box.register(Splats, whole_box)


@visible_box.register
@torch.no_grad()
def _box_of_cells(scene: Field) -> Domain:
    cells = occupancy_cells(scene.device)[unpack_bits(scene.occupancy)].cpu()
    inner = (0.25, 0.75) if scene.domain.contracted else (0.0, 1.0)  # of the unit cube: where the box is
    cells = cells[(((cells + 0.5) / OCCUPANCY_RESOLUTION - 0.5).abs() < inner[1] - 0.5).all(-1)]
    if not len(cells):
        return scene.bounds()
    order, trimmed = cells.sort(0).values, int(STRAY_SHARE * len(cells))
    ends = torch.stack([order[trimmed], order[len(order) - 1 - trimmed] + 1]) / OCCUPANCY_RESOLUTION
    lower, upper = scene.domain.local_from_unit(ends.float()).tolist()
    return Domain(tuple(lower), tuple(upper))


def visible_corners(scene: Representation) -> Float[Tensor, "8 3"]:
    """The corners of `visible_box`, world frame, on the CPU."""
    box = visible_box(scene)
    corners = torch.cartesian_prod(*(torch.tensor(pair) for pair in zip(box.lower, box.upper, strict=True)))
    return scene.world_from_local.points(corners)


def _sphere(scene: Representation, corners: Float[Tensor, "2 3"]) -> tuple[Float[Tensor, "3"], float]:
    world = scene.world_from_local.points(corners)
    return world.mean(0), float((world[1] - world[0]).norm()) / 2


def orbit_cameras(scene: Representation, count: int, size: int, generator: torch.Generator | None = None) -> Cameras:
    """Cameras spread over a sphere that frames the occupied cells: a spiral, jittered where a generator is given.

    On the CPU, as the cameras of captures.
    """
    centre, radius = occupied_sphere(scene)
    k = torch.arange(count, device="cpu") + 0.5
    height = 1.0 - 2.0 * k / count
    turn = k * math.pi * (3.0 - math.sqrt(5.0))
    if generator is not None:
        turn = turn + 0.5 * torch.rand(count, generator=generator, device=turn.device)
    ring = (1.0 - height**2).clamp_min(0.0).sqrt()
    shell = torch.stack([ring * turn.cos(), ring * turn.sin(), height], -1)
    distance = 1.05 * radius / math.sin(ORBIT_FIELD_OF_VIEW / 2)
    focal = 0.5 * size / math.tan(ORBIT_FIELD_OF_VIEW / 2)
    centre = centre.to(shell)
    return Cameras.looking_at(centre + distance * shell, centre, shell.new_tensor([0.0, 0.0, 1.0]), focal, (size, size))
