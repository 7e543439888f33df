"""Adam, in place, with the gradient cleared in the same pass over memory."""

from dataclasses import dataclass

import torch
from torch import Tensor

from volkit.ops import backend
from volkit.typing import Float

__all__ = ["AdamRule", "adam_"]


@dataclass(frozen=True)
class AdamRule:
    """The constants of Adam (Kingma & Ba 2015, algorithm 1); the defaults are those of instant-ngp.

    Attributes:
        lr: learning rate, in units of the parameter a step.
        beta1: decay of the first moment.
        beta2: decay of the second.
        eps: added to the square root of the second moment.
    """

    lr: float
    beta1: float = 0.9
    beta2: float = 0.99
    eps: float = 1e-15


def adam_(
    param: Float[Tensor, "..."],
    grad: Float[Tensor, "..."],
    first: Float[Tensor, "..."],
    second: Float[Tensor, "..."],
    step: int,
    rule: AdamRule,
    *,
    touched_only: bool = False,
) -> None:
    """Advance a parameter and its two moments by one step, in place, and clear the gradient.

    m = β1 m + (1-β1) g,  v = β2 v + (1-β2) g²,  p = p - lr (m / (1-β1ᵗ)) / (sqrt(v / (1-β2ᵗ)) + ε)

    t is `step`, from 1. With `touched_only`, rows (along the first axis) whose gradient is exactly zero keep
    parameter and moments, as tiny-cuda-nn does for encodings; the bias correction still counts every step.
    All four tensors share shape, strides and dtype; any dense layout will do, `touched_only` needs contiguous
    rows. float64 takes the reference.
    Raises ValueError for a step below 1, or where shapes, strides or dtypes differ. Not differentiable.
    """
    _check(param, (grad, first, second), step, touched_only)
    if param.numel() == 0:
        return
    if backend.choose("adam_", param, grad, first, second) == "reference":
        _reference(param, grad, first, second, step, rule, touched_only)
        return
    rows = param.shape[0] if touched_only else 1
    backend.run(
        "adam",
        param,
        param=param,
        grad=grad,
        first=first,
        second=second,
        rows=rows,
        features=param.numel() // rows,
        rate=rule.lr / (1.0 - rule.beta1**step),
        root=(1.0 - rule.beta2**step) ** -0.5,
        beta1=rule.beta1,
        beta2=rule.beta2,
        eps=rule.eps,
        touched_only=touched_only,
    )
    # The kernel writes without torch's knowledge: graphs that saved one of these for backward must notice the change.
    torch.autograd.graph.increment_version((param, grad, first, second))


@torch.no_grad()
def _reference(
    param: Tensor, grad: Tensor, first: Tensor, second: Tensor, step: int, rule: AdamRule, touched_only: bool
) -> None:
    m = rule.beta1 * first + (1 - rule.beta1) * grad
    v = rule.beta2 * second + (1 - rule.beta2) * grad**2
    rate = rule.lr / (1 - rule.beta1**step)
    p = param - rate * m / ((v / (1 - rule.beta2**step)).sqrt() + rule.eps)
    if touched_only:
        row = (grad != 0).flatten(1).any(1) if grad.ndim > 1 else grad != 0
        row = row.reshape(-1, *[1] * (grad.ndim - 1))
        m, v, p = torch.where(row, m, first), torch.where(row, v, second), torch.where(row, p, param)
    first.copy_(m)
    second.copy_(v)
    param.copy_(p)
    grad.zero_()


def _check(param: Tensor, others: tuple[Tensor, ...], step: int, touched_only: bool) -> None:
    if step < 1:
        raise ValueError(f"adam_: step counts from 1, got {step}")
    for name, other in zip(("grad", "first", "second"), others, strict=True):
        if other.shape != param.shape or other.stride() != param.stride() or other.dtype != param.dtype:
            raise ValueError(
                f"adam_: {name} is {other.dtype} {tuple(other.shape)} strides {other.stride()}, "
                f"param is {param.dtype} {tuple(param.shape)} strides {param.stride()}; they must agree"
            )
    if not torch.ops.aten.is_non_overlapping_and_dense(param):
        raise ValueError(f"adam_: param with strides {param.stride()} is not dense in memory; make it contiguous")
    if touched_only and (param.ndim == 0 or not param.is_contiguous()):
        raise ValueError("adam_: touched_only needs contiguous rows along the first axis")
