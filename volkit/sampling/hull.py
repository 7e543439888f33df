"""Cells that photographs determine: seen by some camera, and transparent in none (the visual hull)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn import functional

from volkit.geometry import Cameras
from volkit.representations.field import Field
from volkit.representations.occupancy_bits import OCCUPANCY_RESOLUTION, occupancy_cells
from volkit.typing import Bool, Float, Int, Tensor, UInt8

__all__ = ["visible_cells"]

COARSE_RESOLUTION = OCCUPANCY_RESOLUTION // 2  # of a first test, each cell of which decides for eight


@torch.no_grad()
def visible_cells(
    field: Field,
    cameras: Cameras,
    *,
    near: float = 0.0,
    opacities: Sequence[UInt8[Tensor, "height width"]] | None = None,
) -> Bool[Tensor, " cell"]:
    """Cells that at least one camera has in view beyond `near`, with a margin of two cells.

    Occlusion is not considered. With the opacities of the cameras' pictures, cells whose whole footprint is
    transparent in one of them are left out as well, which gives the visual hull.

    Args:
        field: whose domain the cells divide.
        cameras: world frame.
        near: distance in world units from which a cell counts as in view.
        opacities: alpha of each camera's picture, 0 to 255; not used on contracted domains.

    Returns:
        A mask of `OCCUPANCY_RESOLUTION`^3 cells in Morton order.
    """
    all_cells = torch.arange(COARSE_RESOLUTION**3, device=field.device)
    # The eight children of a coarse cell follow each other in Morton order.
    visible_fine = _dilate(_in_view(field, all_cells, cameras, near)).repeat_interleave(8)
    if opacities is None or field.domain.contracted:  # far cells are long: their footprint is not a disc
        return visible_fine
    coarse = _possible_cells(field, all_cells, cameras, opacities, near)
    children = coarse[:, None] * 8 + torch.arange(8, device=coarse.device)
    remaining = torch.zeros_like(visible_fine)
    remaining[children] = _possible_children(field, coarse, visible_fine[children], cameras, opacities, near)
    return remaining


def _centres(field: Field, codes: Int[Tensor, " cell"], resolution: int) -> Float[Tensor, "cell 3"]:
    """World positions of the cells' centres."""
    unit = (occupancy_cells(codes.device)[codes] + 0.5) / resolution
    return field.world_from_local.points(field.domain.local_from_unit(unit))


def _project(
    cameras: Cameras, index: int, world: Float[Tensor, "point 3"], near: float
) -> tuple[Int[Tensor, " point"], Float[Tensor, " point"], Bool[Tensor, " point"]]:
    """Pixels, row by row, the first for points out of view; depths, and whether the points are in view."""
    (width, height), (pixels, depth) = cameras.size[index].tolist(), cameras.project(index, world)
    x, y = pixels.T.contiguous()  # rows of their own are several times as quick to compare
    seen = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (depth > near)
    return torch.where(seen, y.long() * width + x.long(), 0), depth, seen


def _in_view(field: Field, codes: Int[Tensor, " cell"], cameras: Cameras, near: float) -> Bool[Tensor, " cell"]:
    """Coarse cells whose centres some camera has in view."""
    unseen, world = codes, _centres(field, codes, COARSE_RESOLUTION)
    for index in range(len(cameras)):
        outside = ~_project(cameras, index, world, near)[2]
        unseen, world = unseen[outside], world[outside]  # most are seen by the first few
        if not len(unseen):
            break
    return torch.ones(len(codes), dtype=torch.bool, device=codes.device).index_fill_(0, unseen, False)


def _possible_cells(
    field: Field,
    codes: Int[Tensor, " cell"],
    cameras: Cameras,
    opacities: Sequence[UInt8[Tensor, "height width"]],
    near: float,
) -> Int[Tensor, " cell"]:
    """Coarse cells that no picture shows to be empty."""
    world, radius = _centres(field, codes, COARSE_RESOLUTION), _radius(field, COARSE_RESOLUTION)
    for index, opacity in enumerate(opacities):
        view = _View(cameras, index, opacity.to(codes.device) > 0, near)
        possible = ~view.empty(world, radius)
        codes, world = codes[possible], world[possible]
    return codes


def _possible_children(
    field: Field,
    coarse: Int[Tensor, " cell"],
    possible: Bool[Tensor, "cell child"],
    cameras: Cameras,
    opacities: Sequence[UInt8[Tensor, "height width"]],
    near: float,
) -> Bool[Tensor, "cell child"]:
    """Children of coarse cells that no picture shows to be empty.

    Where a picture is opaque at a coarse cell's centre or beside it, it is so within the footprints of all children,
    which reach two pixels beyond the centre: most are decided by that alone.
    """
    world = _centres(field, coarse, COARSE_RESOLUTION)
    codes = (coarse[:, None] * 8 + torch.arange(8, device=coarse.device)).flatten()
    fine = _centres(field, codes, OCCUPANCY_RESOLUTION)
    radius = _radius(field, OCCUPANCY_RESOLUTION)
    possible = possible.flatten()
    for index, opacity in enumerate(opacities):
        view = _View(cameras, index, opacity.to(coarse.device) > 0, near)
        opaque, nearest = view.opaque(world)
        tested = (possible.view(-1, 8) & ~opaque[:, None]).flatten().nonzero()[:, 0]
        # One radius serves a picture: no child that is left out here is nearer than its parent by more than a radius.
        possible[tested] = ~view.empty(fine[tested], radius, nearest - radius)
    return possible.view(-1, 8)


def _radius(field: Field, resolution: int) -> float:
    """Radius of the ball around a cell, world units."""
    return 0.5 * field.domain.diagonal / resolution * field.world_from_local.scale


class _View(NamedTuple):
    """One picture: where it is opaque, and what its camera has in view."""

    cameras: Cameras
    index: int
    marked: Bool[Tensor, "height width"]
    near: float

    def opaque(self, world: Float[Tensor, "point 3"]) -> tuple[Bool[Tensor, " point"], float]:
        """Whether points are in view at an opaque pixel or beside one, and the smallest depth of those that are."""
        pixels, depth, seen = _project(self.cameras, self.index, world, self.near)
        opaque = seen & _dilate_picture(self.marked, 1).flatten()[pixels]
        return opaque, _nearest(depth, opaque)

    def empty(
        self, world: Float[Tensor, "point 3"], radius: float, nearest: float = math.inf
    ) -> Bool[Tensor, " point"]:
        """Whether balls around points are in view and transparent, their footprints as large as at depth `nearest`.

        One size for all points, that of the nearest; 2 pixels more for rounding and for lenses.
        """
        pixels, depth, seen = _project(self.cameras, self.index, world, self.near)
        size = radius * float(self.cameras.intrinsics[self.index, :2].max())
        nearest, whole = min(nearest, _nearest(depth, seen)), max(self.marked.shape)
        reach = int(size / nearest) + 2 if nearest > size / whole else whole
        return seen & ~_dilate_picture(self.marked, reach).flatten()[pixels]


def _nearest(depth: Float[Tensor, " point"], chosen: Bool[Tensor, " point"]) -> float:
    """Smallest depth of the chosen points; infinity where there is none."""
    return float(depth.masked_fill(~chosen, math.inf).min()) if len(depth) else math.inf


def _dilate_picture(marked: Bool[Tensor, "height width"], reach: int) -> Bool[Tensor, "height width"]:
    """Pixels with a marked one in the square of `2 reach + 1` pixels around them.

    One axis at a time, by doubling what a pixel stands for: the logarithm of `reach` counts, not `reach`.
    """
    for axis, margin in ((1, (reach, reach)), (0, (0, 0, reach, reach))):
        marked, width = functional.pad(marked, margin), 1
        while width < 2 * reach + 1:
            step = min(width, 2 * reach + 1 - width)
            length = marked.shape[axis] - step
            marked, width = marked.narrow(axis, 0, length) | marked.narrow(axis, step, length), width + step
    return marked


def _dilate(visible: Bool[Tensor, " cell"]) -> Bool[Tensor, " cell"]:
    """Visible coarse cells and their neighbours, Morton order."""
    cells = occupancy_cells(visible.device)[: COARSE_RESOLUTION**3].long()
    dense = torch.zeros(1, 1, COARSE_RESOLUTION, COARSE_RESOLUTION, COARSE_RESOLUTION, device=visible.device)
    dense[0, 0, cells[:, 0], cells[:, 1], cells[:, 2]] = visible.float()
    dilated = functional.max_pool3d(dense, 3, 1, 1)[0, 0] > 0
    return dilated[cells[:, 0], cells[:, 1], cells[:, 2]]
