"""Products of planes and lines: the features of TensoRF (VM and CP), tri-planes and K-Planes."""

from array import array
from dataclasses import dataclass

import torch
from torch.nn import functional

from volkit.ops import backend
from volkit.ops.deposit import deposit
from volkit.ops.library import torch_op
from volkit.typing import Float, Tensor

__all__ = ["Factor", "plane_sample"]


@dataclass(frozen=True)
class Factor:
    """Where a factor is read: axes (u, v) for a plane [1, C, size_v, size_u], (w,) for a line [1, C,
    size_w, 1]."""

    axes: tuple[int, ...]

    def __post_init__(self):
        if len(self.axes) not in (1, 2) or min(self.axes) < 0:
            raise ValueError(f"a factor has one axis (a line) or two (a plane), got {self.axes}")


_MAX_FACTORS = 8  # kPlaneFactors in cuda_ext/include/volkit/plane_sample.h

Terms = tuple[tuple[Factor, ...], ...]


def plane_sample(
    positions: Float[Tensor, "point axis"],
    factors: list[Float[Tensor, "1 channel _ _"]],
    terms: Terms,
    *,
    reduce: bool = False,
    factor_grads: list[Tensor] | None = None,
) -> Float[Tensor, "point feature"]:
    """Read every factor at the points, multiply within each term, and concatenate the terms' channels.

    feature_(term, c)(x) = prod_(factor in term) factor_c(x[axes]), each factor interpolated linearly with
    the first and last texel at -1 and 1 and held constant beyond (`grid_sample`, align_corners, border).
    `factors` lists the tensors in the order of `terms` flattened; all factors of a term have the same
    number of channels. With `reduce` the result is [point, 1], the sum over all features. TensoRF's VM is
    terms ((Factor((0, 1)), Factor((2,))), (Factor((0, 2)), Factor((1,))), (Factor((1, 2)), Factor((0,))))
    over its own tensors (matMode, vecMode).

    Differentiable in every factor and in positions. Channels-last memory is read as it is, other layouts
    are copied. With `factor_grads` (tensors of the factors' shapes, channels-last) the factors' gradients
    are added into them in place and autograd gets none for the factors.

    Args:
        positions: coordinates, -1 to 1 within the factors.
        factors: planes and lines in the order of `terms` flattened.
        terms: which factors are multiplied, and the axes that each is read at.
        reduce: whether all features are summed.
        factor_grads: buffers for the factors' gradients.

    Returns:
        `[point, feature]`, the terms' channels one term after another, or `[point, 1]`.
    """
    _check(positions, factors, terms)
    grads = _check_grads(factors, factor_grads)
    if backend.choose("plane_sample", positions, *factors) == "reference":
        factors = [deposit(*each) for each in zip(factors, grads or [None] * len(factors), strict=True)]
        return _reference(positions, factors, terms, reduce)
    axes = [axis for term in terms for factor in term for axis in (*factor.axes, -1)[:2]]
    lengths = [len(term) for term in terms]
    factors = [factor.contiguous(memory_format=torch.channels_last) for factor in factors]
    return _plane_sample(positions, factors, grads, axes, lengths, reduce)


@torch_op("plane_sample")
def _plane_sample(
    positions: Tensor,
    factors: list[Tensor],
    factor_grads: list[Tensor],
    axes: list[int],
    lengths: list[int],
    reduce: bool,
) -> Tensor:
    output = positions.new_empty(positions.shape[0], 1 if reduce else _features(factors, lengths))
    where = positions.contiguous()
    _run("plane_sample", where, (factors, [], axes, lengths), reduce, output=output)
    return output


@_plane_sample.register_fake
def _(positions, factors, factor_grads, axes, lengths, reduce):
    return positions.new_empty(positions.shape[0], 1 if reduce else _features(factors, lengths))


def _features(factors: list[Tensor], lengths: list[int]) -> int:
    return sum(factors[sum(lengths[:term])].shape[1] for term in range(len(lengths)))


def _run(op: str, positions: Tensor, product, reduce: bool, **memory: Tensor) -> None:
    """Call a kernel with the fields of PlaneTask, of which the tables of factors and terms are in host
    memory."""
    factors, factor_grads, axes, lengths = product
    rows, terms = array("q"), array("q")
    for k, factor in enumerate(factors):
        gradient = factor_grads[k].data_ptr() if factor_grads else 0
        rows.extend((factor.data_ptr(), gradient, axes[2 * k], axes[2 * k + 1]))
        rows.extend(factor.shape[:1:-1] if axes[2 * k + 1] >= 0 else (factor.shape[2], 1))
    first = feature = 0
    for length in lengths:
        channels = factors[first].shape[1]
        terms.extend((first, length, channels, feature))
        first, feature = first + length, feature + channels
    points, columns = positions.shape
    backend.run(
        op,
        positions,
        positions=positions,
        points=points,
        axes=columns,
        factors=rows,
        factor_count=len(factors),
        terms=terms,
        term_count=len(lengths),
        features=feature,
        reduce=reduce,
        **memory,
    )


@torch.library.custom_op("volkit::plane_sample_grad", mutates_args=("factor_grads",))
def _plane_sample_grad(
    grad: Tensor,
    positions: Tensor,
    factors: list[Tensor],
    factor_grads: list[Tensor],
    axes: list[int],
    lengths: list[int],
    reduce: bool,
    wants_positions: bool,
) -> Tensor:
    where, grad = positions.contiguous(), grad.contiguous()
    product = (factors, factor_grads, axes, lengths)
    if factor_grads:
        _run("plane_sample_factor_grad", where, product, reduce, grad=grad)
    if not wants_positions:
        return positions.new_empty(0)
    position_grad = torch.empty_like(where)
    _run("plane_sample_position_grad", where, product, reduce, grad=grad, position_grad=position_grad)
    return position_grad


@_plane_sample_grad.register_fake
def _(grad, positions, factors, factor_grads, axes, lengths, reduce, wants_positions):
    return positions.new_empty(positions.shape if wants_positions else 0)


def _keep(ctx, inputs, output) -> None:
    positions, factors, ctx.buffers, ctx.axes, ctx.lengths, ctx.reduce = inputs
    ctx.save_for_backward(positions, *factors)


def _backward(ctx, grad):
    positions, *factors = ctx.saved_tensors
    wants_positions, wants_factors = ctx.needs_input_grad[0], any(ctx.needs_input_grad[1])
    buffers = list(ctx.buffers) if wants_factors else []
    if wants_factors and not buffers:
        buffers = [torch.zeros_like(factor, memory_format=torch.channels_last) for factor in factors]
    numbers = (ctx.axes, ctx.lengths, ctx.reduce)
    position_grad = _plane_sample_grad(grad, positions, factors, buffers, *numbers, wants_positions)
    fresh = buffers if wants_factors and not ctx.buffers else [None] * len(factors)
    return position_grad if wants_positions else None, fresh, [None] * len(ctx.buffers), None, None, None


_plane_sample.register_autograd(_backward, setup_context=_keep)


def _check(positions: Tensor, factors: list[Tensor], terms: Terms) -> None:
    flat = [factor for term in terms for factor in term]
    if positions.dim() != 2 or not flat or len(flat) != len(factors):
        raise ValueError(
            f"plane_sample takes positions [point, axis] and one tensor per factor of the terms, "
            f"got {tuple(positions.shape)}, {len(factors)} tensors and {len(flat)} factors"
        )
    for factor, tensor in zip(flat, factors, strict=True):
        line = len(factor.axes) == 1
        if tensor.dim() != 4 or tensor.shape[0] != 1 or (line and tensor.shape[3] != 1):
            form = "[1, channel, size, 1]" if line else "[1, channel, size_v, size_u]"
            raise ValueError(f"the factor of axes {factor.axes} is {form}, got {tuple(tensor.shape)}")
        if max(factor.axes) >= positions.shape[1]:
            raise ValueError(f"a factor of axes {factor.axes} needs more than {positions.shape[1]} coordinates")
    place = 0
    for term in terms:
        channels = {tensor.shape[1] for tensor in factors[place : place + len(term)]}
        if len(channels) != 1:
            raise ValueError(f"the factors of one term have equal channels, got {sorted(channels)}")
        if len(term) > _MAX_FACTORS:
            raise ValueError(f"a term has at most {_MAX_FACTORS} factors, got {len(term)}")
        place += len(term)


def _check_grads(factors: list[Tensor], grads: list[Tensor] | None) -> list[Tensor]:
    if grads is None:
        return []
    if len(grads) != len(factors) or len({grad.data_ptr() for grad in grads}) != len(grads):
        raise ValueError(f"{len(factors)} factors need as many separate factor_grads, got {len(grads)}")
    for grad, factor in zip(grads, factors, strict=True):
        dense = grad.is_contiguous(memory_format=torch.channels_last)
        if grad.shape != factor.shape or grad.dtype != factor.dtype or not dense:
            raise ValueError(
                f"factor_grads must be channels-last {factor.dtype} {tuple(factor.shape)} as its factor, "
                f"got {grad.dtype} {tuple(grad.shape)} with strides {grad.stride()}"
            )
    return grads


def _reference(positions: Tensor, factors: list[Tensor], terms: Terms, reduce: bool) -> Tensor:
    remaining = iter(factors)
    features = []
    for term in terms:
        product = None
        for factor in term:
            where = positions[:, list(factor.axes)]
            if len(factor.axes) == 1:
                where = torch.cat([torch.zeros_like(where), where], 1)
            read = functional.grid_sample(
                next(remaining),
                where[None, :, None],
                mode="bilinear",
                padding_mode="border",
                align_corners=True,
            )[0, :, :, 0]
            product = read if product is None else product * read
        features.append(product)
    feature = torch.cat(features).T
    return feature.sum(1, keepdim=True) if reduce else feature
