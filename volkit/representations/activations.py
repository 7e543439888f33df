"""Activations whose gradients are not what autograd would make of them."""

import torch

from volkit.typing import Float, Tensor

__all__ = ["truncated_exp"]

EXPONENT_LIMIT = 15.0  # instant-ngp's bound on the exponent in the backward pass


class _TruncatedExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, exponent: Tensor) -> Tensor:
        result = exponent.exp()
        ctx.save_for_backward(exponent)
        return result

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> Tensor:
        (exponent,) = ctx.saved_tensors
        return gradients[0] * exponent.clamp(-EXPONENT_LIMIT, EXPONENT_LIMIT).exp()


def truncated_exp(exponent: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """`exp(x)`, with `exp(clamp(x, -15, 15))` as its derivative so that neither end of training can explode."""
    return _TruncatedExp.apply(exponent)  # pyright: ignore[reportReturnType]
