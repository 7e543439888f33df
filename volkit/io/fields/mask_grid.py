"""Masks at the corners of a grid, to and from the occupancy bits of a field.

Such are TensoRF's alpha mask, svox2's links and DVGO's mask: bits [z, y, x] at corners that span a box of their own,
extended beyond it by the outermost ones. A point is occupied where any of the 8 corners around it is set.
"""

from functools import lru_cache

import numpy as np
import torch

from volkit.geometry import Domain
from volkit.representations.occupancy_bits import OCCUPANCY_RESOLUTION, occupancy_cells, pack_bits, unpack_bits
from volkit.typing import Bool, Float, Int, Tensor, UInt8

__all__ = ["mask_from_occupancy", "occupancy_from_mask"]


def occupancy_from_mask(
    mask: Bool[Tensor, "z y x"], box: Float[Tensor, "2 3"], domain: Domain
) -> UInt8[Tensor, " byte"]:
    """Set every cell with an occupied point, by sums over boxes of corners in an integral volume."""
    if box.shape != (2, 3) or not bool((box[1] > box[0]).all()):
        raise ValueError("its alpha mask has no box")
    sizes = torch.tensor(mask.shape).flip(0)
    edges = torch.linspace(0.0, 1.0, OCCUPANCY_RESOLUTION + 1)[:, None].expand(-1, 3)
    grid = (domain.local_from_unit(edges) - box[0]) / (box[1] - box[0]) * (sizes - 1)
    first = [_clamp_index(grid[:-1, axis].floor(), int(sizes[axis])) for axis in range(3)]
    last = [_clamp_index(grid[1:, axis].floor() + 2, int(sizes[axis])) for axis in range(3)]
    total = mask.permute(2, 1, 0).to(torch.int32)
    for axis in range(3):
        total = total.cumsum(axis, dtype=torch.int32)
        zero = torch.zeros_like(total.narrow(axis, 0, 1))
        total = torch.cat([zero, total], axis)
        total = total.index_select(axis, last[axis]) - total.index_select(axis, first[axis])
    return pack_bits((total > 0).flatten()[_morton_order()])


def mask_from_occupancy(
    occupancy: UInt8[Tensor, " byte"], domain: Domain
) -> tuple[tuple[int, ...], np.ndarray, Float[Tensor, "2 3"]]:
    """Shape, packed bits and box of a mask with a corner at the centre of every cell, so that no cell is lost."""
    side = OCCUPANCY_RESOLUTION
    dense = torch.zeros(side**3, dtype=torch.bool)
    dense[_morton_order()] = unpack_bits(occupancy.cpu())
    dense = dense.view(side, side, side).permute(2, 1, 0)
    ends = torch.tensor([0.5 / side, 1.0 - 0.5 / side])[:, None].expand(-1, 3)
    return (1, 1, side, side, side), np.packbits(dense.numpy().reshape(-1)), domain.local_from_unit(ends)


@lru_cache
def _morton_order() -> Int[Tensor, " cell"]:
    """Index into a flat [x, y, z] grid, for every cell in Morton order."""
    x, y, z = occupancy_cells(torch.device("cpu")).long().unbind(-1)
    return (x * OCCUPANCY_RESOLUTION + y) * OCCUPANCY_RESOLUTION + z


def _clamp_index(index: Tensor, size: int) -> Tensor:
    return index.nan_to_num(0.0).clamp(0, size).long()
