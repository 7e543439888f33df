"""Cells that photographs determine: seen by some camera, and transparent in none (the visual hull)."""

from collections.abc import Sequence

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
    visible = torch.zeros(COARSE_RESOLUTION**3, dtype=torch.bool, device=field.device)
    all_cells = torch.arange(COARSE_RESOLUTION**3, device=field.device)
    world = _centres(field, all_cells, COARSE_RESOLUTION)
    for index in range(len(cameras)):
        visible |= _inside(*cameras.project(index, world), cameras.size[index], near)
    # The eight children of a coarse cell follow each other in Morton order.
    visible_fine = _dilate(visible).repeat_interleave(8)
    if opacities is None or field.domain.contracted:  # far cells are long: their footprint is not a disc
        return visible_fine
    hull = all_cells[_not_transparent(field, all_cells, COARSE_RESOLUTION, cameras, opacities, near)]
    children = (hull[:, None] * 8 + torch.arange(8, device=hull.device)).flatten()
    children = children[visible_fine[children]]
    remaining = torch.zeros_like(visible_fine)
    remaining[children] = _not_transparent(field, children, OCCUPANCY_RESOLUTION, cameras, opacities, near)
    return remaining


def _centres(field: Field, codes: Int[Tensor, " cell"], resolution: int) -> Float[Tensor, "cell 3"]:
    """World positions of the cells' centres."""
    unit = (occupancy_cells(codes.device)[codes] + 0.5) / resolution
    return field.world_from_local.points(field.domain.local_from_unit(unit))


def _inside(pixels: Tensor, depth: Tensor, size: Tensor, near: float) -> Bool[Tensor, " cell"]:
    return ((pixels >= 0) & (pixels < size.to(pixels))).all(-1) & (depth > near)


def _not_transparent(
    field: Field,
    codes: Int[Tensor, " cell"],
    resolution: int,
    cameras: Cameras,
    opacities: Sequence[UInt8[Tensor, "height width"]],
    near: float,
) -> Bool[Tensor, " cell"]:
    """Cells that no picture shows to be empty, by the footprint of a ball around each cell."""
    radius = 0.5 * field.domain.diagonal / resolution * field.world_from_local.scale
    remaining = torch.arange(len(codes), device=codes.device)
    world = _centres(field, codes, resolution)
    for index, opacity in enumerate(opacities):
        pixels, depth = cameras.project(index, world[remaining])
        inside = _inside(pixels, depth, cameras.size[index], near)
        if not inside.any():
            continue
        # One radius for all cells of a picture, that of the nearest; 2 pixels more for rounding and for lenses.
        reach = int(radius * cameras.intrinsics[index, :2].max() / depth[inside].min()) + 2
        opaque = (opacity > 0).float()[None, None].to(codes.device)
        dilated = functional.max_pool2d(opaque, 2 * reach + 1, 1, reach)[0, 0]
        column, row = pixels[inside].long().unbind(-1)
        clear = torch.zeros_like(inside)
        clear[inside] = dilated[row, column] == 0
        remaining = remaining[~clear]
    return torch.zeros(len(codes), dtype=torch.bool, device=codes.device).index_fill_(0, remaining, True)


def _dilate(visible: Bool[Tensor, " cell"]) -> Bool[Tensor, " cell"]:
    """Visible coarse cells and their neighbours, Morton order."""
    cells = occupancy_cells(visible.device)[: COARSE_RESOLUTION**3].long()
    dense = torch.zeros(1, 1, COARSE_RESOLUTION, COARSE_RESOLUTION, COARSE_RESOLUTION, device=visible.device)
    dense[0, 0, cells[:, 0], cells[:, 1], cells[:, 2]] = visible.float()
    dilated = functional.max_pool3d(dense, 3, 1, 1)[0, 0] > 0
    return dilated[cells[:, 0], cells[:, 1], cells[:, 2]]
