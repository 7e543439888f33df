"""Trilinear reading of a sparse voxel grid in svox2's layout (Plenoxels)."""

import torch

from volkit.ops import backend
from volkit.ops.deposit import deposit
from volkit.ops.library import torch_op
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
    gradient of data is added into it in place and autograd gets none for data. float64 takes the reference.

    Args:
        positions: in grid coordinates.
        links: row of `data` that each voxel has, -1 for none.
        data: a row a voxel that is there.
        data_grad: buffer for the gradient of `data`.

    Example:
        >>> links = torch.arange(8, dtype=torch.int32).view(2, 2, 2)
        >>> data = torch.arange(8, dtype=torch.float32)[:, None]
        >>> voxel_sample(torch.tensor([[0.5, 0.5, 0.5]]), links, data)
        tensor([[3.5000]])
    """
    _check(positions, links, data, data_grad)
    if backend.choose("voxel_sample", positions, links, data) == "reference":
        return _reference(positions, links, deposit(data, data_grad))
    return _voxel_sample(positions, links, data, data_grad)


@torch_op("voxel_sample")
def _voxel_sample(positions: Tensor, links: Tensor, data: Tensor, data_grad: Tensor | None) -> Tensor:
    output = data.new_empty(positions.shape[0], data.shape[1])
    _run("voxel_sample", positions, links, data.shape, data=data.contiguous(), output=output)
    return output


@_voxel_sample.register_fake
def _(positions, links, data, data_grad):
    return data.new_empty(positions.shape[0], data.shape[1])


def _run(op: str, positions: Tensor, links: Tensor, shape: torch.Size, **memory: Tensor | None) -> None:
    """Call a kernel with the fields of VoxelTask."""
    size_x, size_y, size_z = links.shape
    backend.run(
        op,
        positions,
        positions=positions.contiguous(),
        points=positions.shape[0],
        links=links.contiguous(),
        size_x=size_x,
        size_y=size_y,
        size_z=size_z,
        rows=shape[0],
        channels=shape[1],
        **memory,
    )


@torch.library.custom_op("volkit::voxel_sample_grad", mutates_args=("data_grad",))
def _voxel_sample_grad(
    grad: Tensor,
    positions: Tensor,
    links: Tensor,
    data: Tensor,
    data_grad: Tensor | None,
    wants_positions: bool,
) -> Tensor:
    grad = grad.contiguous()
    if data_grad is not None:
        scratch = torch.empty(positions.shape[0], 8, dtype=torch.int32) if positions.device.type == "cpu" else None
        _run("voxel_sample_data_grad", positions, links, data.shape, grad=grad, data_grad=data_grad, scratch=scratch)
    if not wants_positions:
        return positions.new_empty(0)
    position_grad = positions.new_empty(positions.shape)
    found = {"data": data.contiguous(), "grad": grad, "position_grad": position_grad}
    _run("voxel_sample_position_grad", positions, links, data.shape, **found)
    return position_grad


@_voxel_sample_grad.register_fake
def _(grad, positions, links, data, data_grad, wants_positions):
    return positions.new_empty(positions.shape if wants_positions else 0)


def _keep(ctx, inputs, output) -> None:
    positions, links, data, data_grad = inputs
    ctx.save_for_backward(positions, links, data)
    ctx.buffer = data_grad


def _backward(ctx, grad):
    positions, links, data = ctx.saved_tensors
    wants_positions, _, wants_data, _ = ctx.needs_input_grad
    buffer, fresh = ctx.buffer if wants_data else None, None
    if wants_data and buffer is None:
        buffer = fresh = torch.zeros_like(data, memory_format=torch.contiguous_format)
    position_grad = _voxel_sample_grad(grad, positions, links, data, buffer, wants_positions)
    return position_grad if wants_positions else None, None, fresh, None


_voxel_sample.register_autograd(_backward, setup_context=_keep)


def _check(positions: Tensor, links: Tensor, data: Tensor, data_grad: Tensor | None) -> None:
    if positions.dim() != 2 or positions.shape[1] != 3 or links.dim() != 3 or data.dim() != 2:
        raise ValueError(
            f"voxel_sample takes positions [point, 3], links [x, y, z] and data [row, channel], "
            f"got {tuple(positions.shape)}, {tuple(links.shape)} and {tuple(data.shape)}"
        )
    if links.dtype != torch.int32:
        raise ValueError(f"links are int32 row numbers, -1 for none, got {links.dtype}")
    if positions.shape[0] and not links.numel():
        raise ValueError(f"a voxel grid of shape {tuple(links.shape)} has no voxel to read")
    if data_grad is not None and not (
        data_grad.shape == data.shape and data_grad.dtype == data.dtype and data_grad.is_contiguous()
    ):
        raise ValueError(
            f"data_grad must be contiguous {data.dtype} {tuple(data.shape)} as data is, "
            f"got {data_grad.dtype} {tuple(data_grad.shape)}"
        )


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
