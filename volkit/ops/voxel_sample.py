"""Trilinear reading of a sparse voxel grid in svox2's layout (Plenoxels)."""

import torch

from volkit.typing import Float, Int, Tensor

__all__ = ["voxel_sample"]


def voxel_sample(
    positions: Float[Tensor, "point 3"],
    links: Int[Tensor, "x y z"],
    data: Float[Tensor, "row channel"],
    *,
    data_grad: Float[Tensor, "row channel"] | None = None,
) -> Float[Tensor, "point channel"]:
    """Interpolate rows of `data` between the eight voxels around each point.

    value(x) = sum_corner w_corner(x) data[links[corner]], w trilinear; a corner with link -1 counts as 0.
    Positions are in grid coordinates: voxel centres at integers, clamped to [0, size - 1] (svox2: sparse
    links, dense rows).

    Differentiable in data and positions (0 along an axis where the clamp holds). With `data_grad` the
    gradient of data is added into it in place and autograd gets none for data.
    """
    _check(positions, links, data)
    return _reference(positions, links, data)


def _check(positions: Tensor, links: Tensor, data: Tensor) -> None:
    if positions.dim() != 2 or positions.shape[1] != 3 or links.dim() != 3 or data.dim() != 2:
        raise ValueError(
            f"voxel_sample takes positions [point, 3], links [x, y, z] and data [row, channel], "
            f"got {tuple(positions.shape)}, {tuple(links.shape)} and {tuple(data.shape)}"
        )
    if links.dtype != torch.int32:
        raise ValueError(f"links are int32 row numbers, -1 for none, got {links.dtype}")


def _reference(positions: Tensor, links: Tensor, data: Tensor) -> Tensor:
    last = torch.tensor(links.shape, device=positions.device) - 1
    clamped = torch.minimum(positions.clamp_min(0), last.to(positions.dtype))
    # NaN passes through the clamp and makes any integer; the corner must exist even so.
    corner = torch.minimum(clamped.detach().long().clamp_min(0), (last - 1).clamp_min(0))
    fraction = clamped - corner
    result = data.new_zeros(positions.shape[0], data.shape[1])
    for number in range(8):
        step = torch.tensor([number >> 2 & 1, number >> 1 & 1, number & 1], device=positions.device)
        weight = torch.where(step == 1, fraction, 1 - fraction).prod(1)
        x, y, z = torch.minimum(corner + step, last).unbind(1)
        row = links[x, y, z].long()
        result = result + torch.where(row >= 0, weight, 0)[:, None] * data[row.clamp_min(0)]
    return result
