"""Solids: regions of space with an inside."""

from collections.abc import Iterator
from dataclasses import dataclass

from volkit.geometry.domain import Domain, Triple
from volkit.typing import Bool, Float, Tensor

__all__ = ["Box"]


@dataclass(frozen=True)
class Box:
    """A solid box from `lower` to `upper`, along the axes; it unpacks into both. ValueError where it has no inside.

    >>> Box((0, 0, 0), (1, 2, 3)).domain.extent
    (1, 2, 3)
    """

    lower: Triple
    upper: Triple

    def __post_init__(self) -> None:
        if not all(low < high for low, high in zip(self.lower, self.upper, strict=True)):
            raise ValueError(f"box: lower {self.lower} must lie below upper {self.upper} on every axis")

    def __iter__(self) -> Iterator[Triple]:
        return iter((self.lower, self.upper))

    @property
    def domain(self) -> Domain:
        """The same box as the domain of a field."""
        return Domain(self.lower, self.upper)

    def contains(self, positions: Float[Tensor, "point 3"]) -> Bool[Tensor, " point"]:
        """Which positions lie inside."""
        return self.domain.contains(positions)
