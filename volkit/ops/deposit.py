"""Gradients that go into a buffer instead of into the graph, so that large ones are neither allocated nor
cleared."""

import torch
from torch import Tensor

from volkit.typing import Float

__all__ = ["deposit"]


class _Deposit(torch.autograd.Function):
    @staticmethod
    def forward(ctx, parameter: Tensor, buffer: Tensor) -> Tensor:
        ctx.buffer = buffer
        return parameter.view_as(parameter)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.buffer.add_(grad)
        return None, None


def deposit(parameter: Float[Tensor, "..."], buffer: Float[Tensor, "..."] | None) -> Float[Tensor, "..."]:
    """The parameter itself, whose gradient is added to `buffer` and goes no further; without a buffer, unchanged."""
    return parameter if buffer is None else _Deposit.apply(parameter, buffer)  # pyright: ignore
