"""The cells that photographs speak of: seen by some camera, and transparent in none (the visual hull)."""

from collections.abc import Sequence

import torch
from torch.nn import functional

from volkit.geometry import Cameras
from volkit.representations.field import Field
from volkit.representations.occupancy_bits import OCCUPANCY_RESOLUTION, occupancy_cells
from volkit.typing import Bool, Float, Int, Tensor, UInt8

__all__ = ["visible_cells"]

COARSE_RESOLUTION = OCCUPANCY_RESOLUTION // 2  # asked first: an eighth of the cells, each of which decides over eight


@torch.no_grad()
def visible_cells(
    field: Field,
    cameras: Cameras,
    *,
    near: float = 0.0,
    opacities: Sequence[UInt8[Tensor, "height width"]] | None = None,
) -> Bool[Tensor, " cell"]:
    """Cells (Morton order) that at least one camera sees beyond `near` (world units), with a margin of two cells.

    Whether something hides a cell is not considered. With the opacities of the cameras' pictures, cells whose whole
    footprint is transparent in one of them are not visible either: what is left is the visual hull.
    """
    seen = torch.zeros(COARSE_RESOLUTION**3, dtype=torch.bool, device=field.device)
    every = torch.arange(COARSE_RESOLUTION**3, device=field.device)
    world = _centres(field, every, COARSE_RESOLUTION)
    for index in range(len(cameras)):
        seen |= _inside(*cameras.project(index, world), cameras.size[index], near)
    # The eight children of a coarse cell follow each other in Morton order.
    marked = _grown(seen).repeat_interleave(8)
    if opacities is None or field.domain.contracted:  # far cells are long: their footprint is not a disc
        return marked
    hull = every[_unclear(field, every, COARSE_RESOLUTION, cameras, opacities, near)]
    children = (hull[:, None] * 8 + torch.arange(8, device=hull.device)).flatten()
    children = children[marked[children]]
    kept = torch.zeros_like(marked)
    kept[children] = _unclear(field, children, OCCUPANCY_RESOLUTION, cameras, opacities, near)
    return kept


def _centres(field: Field, codes: Int[Tensor, " cell"], resolution: int) -> Float[Tensor, "cell 3"]:
    """World positions of the cells' centres."""
    unit = (occupancy_cells(codes.device)[codes] + 0.5) / resolution
    return field.world_from_local.points(field.domain.local_from_unit(unit))


def _inside(pixels: Tensor, depth: Tensor, size: Tensor, near: float) -> Bool[Tensor, " cell"]:
    return ((pixels >= 0) & (pixels < size.to(pixels))).all(-1) & (depth > near)


def _unclear(
    field: Field,
    codes: Int[Tensor, " cell"],
    resolution: int,
    cameras: Cameras,
    opacities: Sequence[UInt8[Tensor, "height width"]],
    near: float,
) -> Bool[Tensor, " cell"]:
    """Cells that no picture shows to be empty; a ball around each cell stands for it."""
    radius = 0.5 * field.domain.diagonal / resolution * field.world_from_local.scale
    kept = torch.arange(len(codes), device=codes.device)
    world = _centres(field, codes, resolution)
    for index, opacity in enumerate(opacities):
        pixels, depth = cameras.project(index, world[kept])
        inside = _inside(pixels, depth, cameras.size[index], near)
        if not inside.any():
            continue
        # One radius for all cells of a picture, that of the nearest; 2 pixels more for rounding and for lenses.
        reach = int(radius * cameras.intrinsics[index, :2].max() / depth[inside].min()) + 2
        solid = (opacity > 0).float()[None, None].to(codes.device)
        grown = functional.max_pool2d(solid, 2 * reach + 1, 1, reach)[0, 0]
        column, row = pixels[inside].long().unbind(-1)
        clear = torch.zeros_like(inside)
        clear[inside] = grown[row, column] == 0
        kept = kept[~clear]
    return torch.zeros(len(codes), dtype=torch.bool, device=codes.device).index_fill_(0, kept, True)


def _grown(marked: Bool[Tensor, " cell"]) -> Bool[Tensor, " cell"]:
    """Marked coarse cells and their neighbours, Morton order."""
    cells = occupancy_cells(marked.device)[: COARSE_RESOLUTION**3].long()
    dense = torch.zeros(1, 1, COARSE_RESOLUTION, COARSE_RESOLUTION, COARSE_RESOLUTION, device=marked.device)
    dense[0, 0, cells[:, 0], cells[:, 1], cells[:, 2]] = marked.float()
    grown = functional.max_pool3d(dense, 3, 1, 1)[0, 0] > 0
    return grown[cells[:, 0], cells[:, 1], cells[:, 2]]
