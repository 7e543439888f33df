"""Operations that torch dispatches by device, differentiates and can trace: declared once, called like functions.

`torch.library.custom_op` does the same and imports torch's compiler when such an operation is first called, whether
anything is compiled or not: more than a second of CPU, which every short command would pay.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.library import Library, infer_schema

__all__ = ["Operator", "operator"]

NAMESPACE = "volkit"
_library = Library(NAMESPACE, "FRAGMENT")
Body = Callable[..., Any]


class Operator:
    """`torch.ops.volkit.NAME`, with what is known of it: shapes without data (`register_fake`), and a derivative.

    Without a derivative RuntimeError is raised where one is asked for: never zeros in silence.
    """

    def __init__(self, name: str, body: Body, mutates_args: tuple[str, ...]) -> None:
        self.name = f"{NAMESPACE}::{name}"
        _library.define(name + infer_schema(body, mutates_args=mutates_args), tags=(torch.Tag.pt2_compliant_tag,))
        _library.impl(name, body, "CompositeExplicitAutograd")
        self.overload = getattr(getattr(torch.ops, NAMESPACE), name).default
        self._shapes: Body | None = (lambda *arguments: None) if mutates_args else None  # it fills what it is given
        self._backward: Body | None = None
        self._keep: Body | None = None
        torch.library.register_fake(self.name, self._traced, lib=_library)
        if not mutates_args:  # what writes into its arguments has no derivative for torch
            torch.library.register_autograd(self.name, self._differentiated, setup_context=self._kept, lib=_library)

    def __call__(self, *arguments: Any) -> Any:
        return self.overload(*arguments)

    def register_fake(self, shapes: Body) -> Body:
        """Empty results for arguments without data, for tracing; a decorator."""
        self._shapes = shapes
        return shapes

    def register_autograd(self, backward: Body, *, setup_context: Body) -> None:
        """The derivative: `setup_context(ctx, inputs, output)` keeps what `backward(ctx, *gradients)` needs."""
        self._backward, self._keep = backward, setup_context

    def _traced(self, *arguments: Any) -> Any:
        if self._shapes is None:
            raise NotImplementedError(f"{self.name} cannot be traced: nothing says how large its results are")
        return self._shapes(*arguments)

    def _differentiated(self, ctx: Any, *gradients: Any) -> Any:
        if self._backward is None:
            raise RuntimeError(f"{self.name} has no derivative; detach what it is given")
        return self._backward(ctx, *gradients)

    def _kept(self, ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        if self._keep is not None:
            self._keep(ctx, inputs, output)


def operator(name: str, *, mutates_args: tuple[str, ...] = ()) -> Callable[[Body], Operator]:
    """Declare a function of tensors, numbers and lists of them, all annotated, as an Operator; a decorator."""
    return lambda body: Operator(name, body, mutates_args)
