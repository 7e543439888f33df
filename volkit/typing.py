"""Tensor aliases: `Float[Tensor, "ray 3"]` reads as dtype family, container, named axes."""

from typing import TYPE_CHECKING, Any

from jaxtyping import Bool, Float, Int, UInt8

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Bool", "Float", "Int", "Tensor", "UInt8"]


def __getattr__(name: str) -> Any:
    """`Tensor`, when it is first asked for: what deals with arrays alone does not wait for torch."""
    if name != "Tensor":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from torch import Tensor

    return Tensor
