"""Activations whose gradients are not what autograd would make of them."""

import torch

from volkit.typing import Float, Tensor

__all__ = ["reviving_relu", "truncated_exp"]

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


class _RevivingRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, raw: Tensor) -> Tensor:
        ctx.save_for_backward(raw)
        return raw.relu()

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> Tensor:
        (raw,) = ctx.saved_tensors
        # A descent step lowers what has a positive gradient: below 0 only the wish to grow is let through.
        return torch.where((raw > 0) | (gradients[0] < 0), gradients[0], 0.0)


def reviving_relu(raw: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """`max(x, 0)` that passes gradients below 0 when they ask for more: density that died can come back.

    Where x > 0 the derivative is the true one. Elsewhere it is 1 instead of 0 for losses that fall as x grows.
    """
    return _RevivingRelu.apply(raw)  # pyright: ignore[reportReturnType]
