"""The density grid of a snapshot as the occupancy bits of a field, and back.

Facts: NVlabs/instant-ngp `testbed_nerf.cu`: cascade k has 128^3 cells in Morton order over a cube of edge 2^k about the
centre; a cell counts where its optical thickness exceeds the smaller of 0.01 and the mean of the innermost cascade, and
where a finer cascade says so.
"""

import torch

from volkit.geometry import morton_cells, morton_codes
from volkit.representations.occupancy_bits import OCCUPANCY_RESOLUTION, pack_bits, unpack_bits
from volkit.typing import Bool, Float, Tensor, UInt8

__all__ = ["grid_of", "occupancy_of"]

CELLS = OCCUPANCY_RESOLUTION**3
MIN_OPTICAL_THICKNESS = 0.01  # optical thickness over instant-ngp's smallest step


def occupancy_of(grid: Float[Tensor, " value"]) -> UInt8[Tensor, " byte"]:
    """Bits of the outermost cascade, finer ones pooled into it."""
    threshold = grid[:CELLS].clamp_min(0.0).mean().clamp_max(MIN_OPTICAL_THICKNESS)
    inner, *outer = (grid > threshold).view(-1, CELLS)
    for cascade in outer:
        inner = cascade | _within(inner)
    return pack_bits(inner)


def grid_of(occupancy: UInt8[Tensor, " byte"], cascades: int) -> Float[Tensor, " value"]:
    """Cascades that give the same bits, the outermost being ours: thickness 1 or 0, since only the bits are known."""
    grids = [unpack_bits(occupancy.cpu())]
    middle = morton_codes((morton_cells(torch.arange(CELLS)) >> 1) + OCCUPANCY_RESOLUTION // 4)
    for _ in range(cascades - 1):
        grids.insert(0, grids[0][middle])
    return torch.cat(grids).half()


def _within(inner: Bool[Tensor, " cell"]) -> Bool[Tensor, " cell"]:
    """A cascade in the middle of the next: eight cells become one."""
    pooled = inner.view(-1, 8).any(-1)
    cells = morton_cells(torch.arange(len(pooled))) + OCCUPANCY_RESOLUTION // 4
    return torch.zeros_like(inner).index_put_((morton_codes(cells),), pooled)
