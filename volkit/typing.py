"""Tensor aliases: `Float[Tensor, "ray 3"]` reads as dtype family, container, named axes."""

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

__all__ = ["Bool", "Float", "Int", "Tensor", "UInt8"]
