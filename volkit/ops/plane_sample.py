"""Products of planes and lines: the features of TensoRF (VM and CP), tri-planes and K-Planes."""

from dataclasses import dataclass

import torch
from torch.nn import functional

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


Terms = tuple[tuple[Factor, ...], ...]


def plane_sample(
    positions: Float[Tensor, "point axis"],
    factors: list[Float[Tensor, "1 channel _ _"]],
    terms: Terms,
    *,
    reduce: bool = False,
    factor_grads: list[Tensor] | None = None,
) -> Float[Tensor, "point feature"]:
    """Read every factor at the points, multiply within each term, and join the terms' channels.

    feature_(term, c)(x) = prod_(factor in term) factor_c(x[axes]), each factor interpolated linearly with
    the first and last texel at -1 and 1 and held constant beyond (`grid_sample`, align_corners, border).
    `factors` lists the tensors in the order of `terms` flattened; all factors of a term have the same
    number of channels. With `reduce` the result is [point, 1], the sum over all features. TensoRF's VM is
    terms ((Factor((0, 1)), Factor((2,))), (Factor((0, 2)), Factor((1,))), (Factor((1, 2)), Factor((0,))))
    over its own tensors (matMode, vecMode).

    Differentiable in every factor and in positions. Channels-last memory is read as it is, other layouts
    are copied. With `factor_grads` (tensors of the factors' shapes, channels-last) the factors' gradients
    are added into them in place and autograd gets none for the factors.
    """
    _check(positions, factors, terms)
    return _reference(positions, factors, terms, reduce)


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
        place += len(term)


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
