"""What nobody can look into is full: fields keep shells there, and fog, that would become faces."""

import torch
from torch.nn import functional

from volkit.meshing.lattice import pieces
from volkit.typing import Bool, Float, Int, Tensor

__all__ = ["solid_inside"]

TUNNEL = 2  # lattice spacings: passages less than twice as wide are shut


def solid_inside(values: Float[Tensor, "x y z"], free: Int[Tensor, "place 3"], full: float) -> Float[Tensor, "x y z"]:
    """Values, positive in matter, with `full` wherever neither what lies beyond the lattice nor `free` places lead.

    A ball of the tunnel's radius must pass (morphological closing); within that radius of where it comes, nothing is
    changed.
    """
    pad = TUNNEL + 1
    matter = functional.pad(values > 0, (pad,) * 6)
    pools = pieces(~_wider(matter, TUNNEL))
    reached = pools[tuple((free + pad).unbind(-1))].unique()
    outside = torch.isin(pools, torch.cat([reached[reached > 0], pools[:1, 0, 0]]).unique())
    inner = (slice(pad, -pad),) * 3
    shore = _wider(outside, TUNNEL)
    return torch.where(_wider(shore, 1)[inner], torch.where(shore[inner] | (values > 0), values, full), full)


def _wider(mask: Bool[Tensor, "x y z"], by: int) -> Bool[Tensor, "x y z"]:
    """A mask and what is within so many spacings of it, along each axis."""
    grown = mask[None, None].float()
    for axis in range(3):
        kernel = [1, 1, 1]
        kernel[axis] = 2 * by + 1
        grown = functional.max_pool3d(grown, kernel, 1, [(k - 1) // 2 for k in kernel])
    return grown[0, 0] > 0
