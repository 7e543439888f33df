"""How operations become torch's own: dispatched by name, with shapes for tracing, and gradients."""

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["TorchOp", "torch_op"]

LIBRARY = torch.library.Library("volkit", "FRAGMENT")


class TorchOp:
    """A function as `torch.ops.volkit.NAME`; its annotations are its schema, and it changes none of its arguments.

    As `torch.library.custom_op`, whose first call imports the compiler: a second and a half that no drawing needs.
    """

    def __init__(self, name: str, function: Callable[..., Any], gradient: bool = True) -> None:
        self.name = f"volkit::{name}"
        LIBRARY.define(name + torch.library.infer_schema(function, mutates_args=()))
        LIBRARY.impl(name, function, "CompositeExplicitAutograd")
        self._call = getattr(torch.ops.volkit, name).default
        if not gradient:
            self.register_autograd(self._refuse, setup_context=lambda ctx, inputs, output: None)

    def __call__(self, *arguments: Any) -> Any:
        """The op on tensors."""
        return self._call(*arguments)

    def register_fake(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """What shapes the results have, for tracing without data."""
        return torch.library.register_fake(self.name, function, lib=LIBRARY)

    def register_autograd(self, backward: Callable[..., Any], *, setup_context: Callable[..., Any]) -> None:
        """Its gradient, and what is kept for it."""
        torch.library.register_autograd(self.name, backward, setup_context=setup_context, lib=LIBRARY)

    def _refuse(self, ctx: Any, *gradients: Any) -> Any:
        raise RuntimeError(f"{self.name} has no gradient")


def torch_op(name: str, *, gradient: bool = True) -> Callable[[Callable[..., Any]], TorchOp]:
    """Make an op of a function; without a `gradient` a backward pass that reaches it is an error.

    >>> @torch_op("halved")
    ... def halved(values: torch.Tensor) -> torch.Tensor:
    ...     return 0.5 * values
    >>> halved(torch.ones(2)).tolist()
    [0.5, 0.5]
    """
    return lambda function: TorchOp(name, function, gradient)
