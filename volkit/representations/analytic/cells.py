"""Which cells of the occupancy lattice an analytic scene touches: exact, because its distances are."""

from collections.abc import Callable

import torch

from volkit.geometry import Domain, morton_codes
from volkit.representations.field import OCCUPANCY_RESOLUTION
from volkit.typing import Int, Tensor, UInt8

__all__ = ["touched_cells"]

BLOCK_CELLS = 4  # cells along an edge of the blocks that are looked at first


def touched_cells(distance: Callable[[Tensor], Tensor], domain: Domain, margin: float) -> UInt8[Tensor, " byte"]:
    """Bits of the cells whose centre is at most half their diagonal and `margin` from the inside, Morton order.

    No cell with matter is left out, as signed distances change by at most the way that is gone. Box domains only.
    """
    blocks = OCCUPANCY_RESOLUTION // BLOCK_CELLS
    near = _near(distance, domain, _lattice(blocks), blocks, margin)
    cells = (near[:, None] * BLOCK_CELLS + _lattice(BLOCK_CELLS)).reshape(-1, 3)
    cells = _near(distance, domain, cells, OCCUPANCY_RESOLUTION, margin)
    occupied = torch.zeros(OCCUPANCY_RESOLUTION**3, dtype=torch.uint8)
    occupied[morton_codes(cells)] = 1
    return (occupied.view(-1, 8) << torch.arange(8, dtype=torch.uint8)).sum(-1).to(torch.uint8)


def _lattice(count: int) -> Int[Tensor, "cell 3"]:
    axis = torch.arange(count)
    return torch.cartesian_prod(axis, axis, axis)


def _near(distance: Callable, domain: Domain, cells: Tensor, resolution: int, margin: float) -> Int[Tensor, "cell 3"]:
    centres = domain.local_from_unit((cells + 0.5) / resolution)
    return cells[distance(centres) <= 0.5 * domain.diagonal / resolution + margin]
