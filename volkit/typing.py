"""Tensor aliases: `Float[Tensor, "ray 3"]` reads as dtype family, container, named axes."""

from typing import TYPE_CHECKING, Any

from jaxtyping import Bool, Float, Int, UInt8

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Bool", "Float", "Int", "Tensor", "UInt8"]


def __getattr__(name: str) -> Any:
    """Import `Tensor` on first use, so that modules which need arrays only do not wait for torch."""
    if name != "Tensor":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from torch import Tensor

    return Tensor
