"""Muon, in place: momentum, orthogonalised, so that a weight matrix moves equally far in every direction."""

from dataclasses import dataclass

import torch
from torch import Tensor

from volkit.typing import Float

__all__ = ["MuonRule", "muon_", "orthogonalise"]

QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan et al. 2024: steepest at 0, singular values end within [0.7, 1.2]
NEWTON_SCHULZ_STEPS = 5
UPDATE_RMS = 0.2  # of an update's entries, as Adam's are (Liu et al. 2025, section 2.2): one range of rates for both


@dataclass(frozen=True)
class MuonRule:
    """The constants of Muon; source: see `muon_`.

    Attributes:
        lr: learning rate, in the scale of Adam's.
        momentum: μ, decay of the momentum.
    """

    lr: float
    momentum: float = 0.95


@torch.no_grad()
def muon_(
    param: Float[Tensor, "out into"],
    grad: Float[Tensor, "out into"],
    momentum: Float[Tensor, "out into"],
    rule: MuonRule,
) -> None:
    """Advance a weight matrix and its momentum by one step, in place, and clear the gradient.

    m = μ m + (1-μ) g,  p = p - 0.2 sqrt(max(out, in)) lr orthogonalised(μ m + (1-μ) g)

    Raises ValueError where the parameter is no matrix or shapes differ. Not differentiable.
    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; the factor is from
    Liu et al. 2025, "Muon is scalable for LLM training", equation 4.
    """
    if param.dim() != 2 or not param.shape == grad.shape == momentum.shape:
        shapes = [tuple(tensor.shape) for tensor in (param, grad, momentum)]
        raise ValueError(f"muon_: parameter, gradient and momentum must be matrices of one shape, got {shapes}")
    momentum.lerp_(grad, 1.0 - rule.momentum)
    direction = orthogonalise(torch.lerp(grad, momentum, rule.momentum))
    param.sub_(direction, alpha=rule.lr * UPDATE_RMS * max(param.shape) ** 0.5)
    grad.zero_()


def orthogonalise(matrix: Float[Tensor, "out into"]) -> Float[Tensor, "out into"]:
    """About `U Vᵀ` of `matrix = U S Vᵀ`: five steps of `X <- a X + (b A + c A²) X`, `A = X Xᵀ`.

    Singular values end near 1, not at it, but for those below a thousandth of the largest, which stay smaller;
    products are rounded to bfloat16 where the processor multiplies them faster. Zero stays zero, NaN spreads.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.t() if tall else matrix).to(_product_dtype(matrix))
    x = x / (x.norm() + 1e-20)
    a, b, c = QUINTIC
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.t()
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.t() if tall else x).to(matrix.dtype)


def _product_dtype(matrix: Tensor) -> torch.dtype:
    fast = matrix.is_cuda or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.bfloat16 if fast and matrix.dtype == torch.float32 else matrix.dtype
