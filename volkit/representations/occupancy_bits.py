"""Occupancy bits of a field's cells: instant-ngp's density grid bitfield."""

import torch

from volkit.geometry import morton_cells, morton_codes
from volkit.typing import Bool, Float, Tensor, UInt8

__all__ = ["OCCUPANCY_RESOLUTION", "dilate", "occupied_at", "pack_bits", "unpack_bits"]

OCCUPANCY_RESOLUTION = 128  # instant-ngp's density grid


def pack_bits(occupied: Bool[Tensor, " cell"]) -> UInt8[Tensor, " byte"]:
    """One bit a cell, Morton order: cell i is bit `i & 7` of byte `i >> 3`."""
    weights = 1 << torch.arange(8, device=occupied.device, dtype=torch.uint8)
    return (occupied.view(-1, 8) * weights).sum(-1, dtype=torch.uint8)


def unpack_bits(bits: UInt8[Tensor, " byte"]) -> Bool[Tensor, " cell"]:
    """Inverse of `pack_bits`."""
    places = torch.arange(8, device=bits.device, dtype=torch.uint8)
    return ((bits[:, None] >> places) & 1).bool().flatten()


def occupied_at(bits: UInt8[Tensor, " byte"], unit: Float[Tensor, "point 3"]) -> Bool[Tensor, " point"]:
    """Whether the cells that hold points of the unit cube are marked; false outside the cube."""
    inside = ((unit >= 0) & (unit <= 1)).all(-1)
    cells = (unit * OCCUPANCY_RESOLUTION).clamp(0, OCCUPANCY_RESOLUTION - 1).long()
    code = morton_codes(cells)
    return inside & ((bits[code >> 3] >> (code & 7).to(torch.uint8)) & 1).bool()


def dilate(occupied: Bool[Tensor, " cell"]) -> Bool[Tensor, " cell"]:
    """Cells (Morton order) that are marked or have a marked neighbour, corners included."""
    cells = morton_cells(torch.arange(len(occupied), device=occupied.device))
    linear = (cells[:, 0] * OCCUPANCY_RESOLUTION + cells[:, 1]) * OCCUPANCY_RESOLUTION + cells[:, 2]
    dense = torch.zeros(len(occupied), device=occupied.device)
    dense[linear] = occupied.float()
    dense = dense.view(1, 1, *(OCCUPANCY_RESOLUTION,) * 3)
    for axis in range(3):  # one axis at a time: 9 comparisons a cell instead of 27
        size, margin = [1, 1, 1], [0, 0, 0]
        size[axis], margin[axis] = 3, 1
        dense = torch.nn.functional.max_pool3d(dense, size, 1, margin)
    return dense.flatten()[linear] > 0
