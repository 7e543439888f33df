"""Occupancy bits of a field's cells: instant-ngp's density grid bitfield."""

from functools import lru_cache

import torch

from volkit.geometry import morton_cells, morton_codes
from volkit.typing import Bool, Float, Int, Tensor, UInt8

__all__ = ["OCCUPANCY_RESOLUTION", "dilate", "occupancy_cells", "occupied_at", "pack_bits", "unpack_bits"]

OCCUPANCY_RESOLUTION = 128  # instant-ngp's density grid


@lru_cache
def occupancy_cells(device: torch.device) -> UInt8[Tensor, "cell 3"]:
    """The cells (x, y, z) of the lattice in Morton order, cached, as decoding takes longer than most uses.

    The first ones are the cells of a lattice 2, 4, ... times as coarse.
    """
    octants = morton_cells(torch.arange(8, device=device)).to(torch.uint8)
    cells = torch.zeros(1, 3, dtype=torch.uint8, device=device)
    while len(cells) < OCCUPANCY_RESOLUTION**3:
        cells = (2 * cells[:, None] + octants).flatten(0, 1)
    return cells


@lru_cache
def _spread(device: torch.device) -> Int[Tensor, " place"]:
    """Morton codes of the places along x; those along y and z are twice and four times as large."""
    places = torch.arange(OCCUPANCY_RESOLUTION, device=device)
    return morton_codes(torch.stack([places, 0 * places, 0 * places], -1))


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
    cells = (unit * OCCUPANCY_RESOLUTION).nan_to_num(0.0).clamp(0, OCCUPANCY_RESOLUTION - 1).long()
    x, y, z = _spread(bits.device)[cells].unbind(-1)
    code = x | y << 1 | z << 2
    return inside & ((bits[code >> 3] >> (code & 7).to(torch.uint8)) & 1).bool()


def dilate(occupied: Bool[Tensor, " cell"]) -> Bool[Tensor, " cell"]:
    """Cells (Morton order) that are marked or have a marked neighbour, corners included."""
    cells = occupancy_cells(occupied.device).long()
    linear = (cells[:, 0] * OCCUPANCY_RESOLUTION + cells[:, 1]) * OCCUPANCY_RESOLUTION + cells[:, 2]
    dense = torch.zeros_like(occupied)
    dense[linear] = occupied
    dense = dense.view((OCCUPANCY_RESOLUTION,) * 3)
    last = OCCUPANCY_RESOLUTION - 1
    for axis in range(3):  # one axis at a time: 6 neighbours a cell instead of 26
        before = dense.clone()
        dense.narrow(axis, 0, last).logical_or_(before.narrow(axis, 1, last))
        dense.narrow(axis, 1, last).logical_or_(before.narrow(axis, 0, last))
    return dense.flatten()[linear]
