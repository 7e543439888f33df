"""Dense blocks as sums of products by alternating least squares: vector-matrix terms (TensoRF) and rank-one terms (CP).

A block is asked for through bounds: `low <= f <= high` at every node, `low = high` where one value is right,
an open side where more is as good as enough (empty space, the inside of a solid). The squared distance to the bounds
is majorised by the squared distance to the current value's projection on them, so every half step is linear least
squares and none makes the fit worse. Weights say how much a node counts.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional

from volkit.typing import Float, Tensor

__all__ = ["CP_AXES", "VM_AXES", "Block", "cp_factors", "vm_factors"]

# Axes of each factor, in the order of TensoRF's tensors: a plane (v, u) and its line for VM (matMode, vecMode).
VM_AXES = ((1, 0), (2,), (2, 0), (1,), (2, 1), (0,))
CP_AXES = ((2,), (1,), (0,))
MODES = ((1, 0, 2), (2, 0, 1), (2, 1, 0))  # a plane's axes and its line's
RIDGE = 1e-4  # of the mean diagonal: texels that no weighted node determines stay near zero


@dataclass(frozen=True)
class Block:
    """What the nodes of a dense lattice may hold, and how much each of them counts (weights at most 1)."""

    low: Float[Tensor, "x y z"]
    high: Float[Tensor, "x y z"]
    weight: Float[Tensor, "x y z"]

    def nearest(self, values: Float[Tensor, "x y z"]) -> Float[Tensor, "x y z"]:
        """Values moved into the bounds."""
        return torch.minimum(torch.maximum(values, self.low), self.high)


def vm_factors(block: Block, rank: int, sweeps: int) -> list[Float[Tensor, "rank ..."]]:
    """`f(x) = sum_m sum_r plane_mr(x_u, x_v) line_mr(x_w)` over the three modes, `rank` terms each; by `VM_AXES`.

    Starts from the truncated singular value decomposition of every mode's residual, then solves planes and lines
    in turn. Planes and lines of a term come out with equal mean square.
    """
    value = torch.zeros_like(block.low)
    parts, terms = [], []
    for mode in MODES:
        residual = _unfolded(block.nearest(value) - value, mode)
        lines = torch.linalg.eigh(residual.t() @ residual).eigenvectors[:, -rank:]
        lines = functional.pad(lines, (0, rank - lines.shape[1]))
        terms.append((residual @ lines, lines))
        parts.append(_folded(residual @ lines @ lines.t(), value.shape, mode))
        value = value + parts[-1]
    for _ in range(sweeps):
        for place, mode in enumerate(MODES):
            others = value - parts[place]
            planes, lines = terms[place]
            weight = _unfolded(block.weight, mode)
            wanted = weight * _unfolded(block.nearest(value) - others, mode)
            planes = _weighted_solve(weight, wanted, lines)
            value = others + _folded(planes @ lines.t(), value.shape, mode)
            wanted = weight * _unfolded(block.nearest(value) - others, mode)
            lines = _weighted_solve(weight.t(), wanted.t(), planes)
            terms[place] = (planes, lines)
            parts[place] = _folded(planes @ lines.t(), value.shape, mode)
            value = others + parts[place]
    sizes, out = block.low.shape, []
    for (v, u, _), term in zip(MODES, terms, strict=True):
        planes, lines = _balanced(list(term))
        out += [planes.t().reshape(-1, sizes[v], sizes[u]), lines.t()]
    return out


def cp_factors(block: Block, rank: int, sweeps: int, generator: torch.Generator) -> list[Float[Tensor, "rank size"]]:
    """`f(x) = sum_r z_r(x_2) y_r(x_1) x_r(x_0)`: by `CP_AXES`, equal mean squares within a term.

    Every node enters each solve with `value + weight (nearest - value)`, so that all lines of an axis share one
    normal matrix, the elementwise product of two Gram matrices.
    """
    sizes = block.low.shape
    lines = [torch.rand(size, rank, generator=generator, device=generator.device).to(block.low) for size in sizes]
    value = torch.zeros_like(block.low)
    for _ in range(sweeps):
        for axis in range(3):
            first, second = (lines[k] for k in range(3) if k != axis)
            wanted = value + block.weight * (block.nearest(value) - value)
            ensure_uv = wanted.movedim(axis, 0).reshape(sizes[axis], -1)
            pairs = (first[:, None] * second).reshape(-1, rank)
            gram = (first.t() @ first) * (second.t() @ second)
            lines[axis] = _solved(gram, ensure_uv @ pairs)
            folded = (lines[axis] @ pairs.t()).view(sizes[axis], len(first), len(second))
            value = folded.movedim(0, axis)
    balanced = _balanced(lines)
    return [balanced[axis].t() for (axis,) in CP_AXES]


def _unfolded(dense: Tensor, mode: tuple[int, int, int]) -> Tensor:
    """[v u, w]: one row for each texel of the plane."""
    return dense.permute(mode).reshape(-1, dense.shape[mode[2]])


def _folded(matrix: Tensor, shape: torch.Size, mode: tuple[int, int, int]) -> Tensor:
    dense = matrix.view([shape[axis] for axis in mode])
    return dense.permute([mode.index(axis) for axis in range(3)])


def _weighted_solve(weight: Tensor, wanted: Tensor, factor: Tensor) -> Tensor:
    """Rows x_n that minimise `sum_k weight_nk (wanted_nk / weight_nk - x_n . factor_k)^2`."""
    rank = factor.shape[1]
    row, column = torch.triu_indices(rank, rank, device=factor.device)
    half = weight @ (factor[:, row] * factor[:, column])
    gram = half.new_empty(len(half), rank, rank)
    gram[:, row, column] = half
    gram[:, column, row] = half
    return _solved(gram, wanted @ factor)


def _solved(gram: Tensor, right: Tensor) -> Tensor:
    """Rows x with `gram x = right`, one Gram matrix for all rows or one a row; slightly regularised."""
    diagonal = gram.diagonal(dim1=-2, dim2=-1)
    ridge = RIDGE * diagonal.mean() + 1e-12  # 1e-12: nothing at all to fit
    lower = torch.linalg.cholesky(gram + ridge * torch.eye(gram.shape[-1], device=gram.device, dtype=gram.dtype))
    if gram.dim() == 2:
        return torch.cholesky_solve(right.t(), lower).t()
    return torch.cholesky_solve(right[..., None], lower)[..., 0]


def _balanced(factors: list[Tensor]) -> list[Tensor]:
    """The same products with every factor of a term equally large, so that one learning rate suits them all."""
    sizes = torch.stack([factor.square().mean(0).sqrt() for factor in factors])
    mean = sizes.clamp_min(1e-12).log().mean(0).exp()
    return [factor * (mean / size.clamp_min(1e-12)) for factor, size in zip(factors, sizes, strict=True)]
