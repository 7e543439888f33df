"""The interface of everything that can be asked point by point."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch

from volkit.geometry import Domain, Points, Similarity
from volkit.representations.occupancy_bits import OCCUPANCY_RESOLUTION
from volkit.representations.representation import Representation
from volkit.typing import Float, Tensor, UInt8

__all__ = ["OCCUPANCY_RESOLUTION", "Field", "FieldSample"]


@dataclass(frozen=True)
class FieldSample:
    """A field's answer: density in 1 / local unit, and named channels (`rgb` always)."""

    density: Float[Tensor, " point"]
    channels: dict[str, Float[Tensor, "point channel"]]

    @property
    def rgb(self) -> Float[Tensor, "point 3"]:
        """Display-referred colour, at least 0."""
        return self.channels["rgb"]


class Field(Representation):
    """Density and colour at points of its local frame; zero density outside its domain.

    `occupancy` marks the cells of the unit cube that may hold matter: one bit a cell, instant-ngp's Morton order
    (`x | y << 1 | z << 2`, bit `i & 7` of byte `i >> 3`), `OCCUPANCY_RESOLUTION` cells a side.
    """

    occupancy: UInt8[Tensor, " byte"]
    occupancy_questions: ClassVar[int] = 1 << 19  # densities that a refresh of the occupancy may cost

    def __init__(self, domain: Domain) -> None:
        super().__init__()
        self.domain = domain
        self.world_from_local = Similarity()
        self.capture = None
        bits = torch.full((OCCUPANCY_RESOLUTION**3 // 8,), 255, dtype=torch.uint8)
        self.register_buffer("occupancy", bits)

    @abstractmethod
    def density(self, positions: Float[Tensor, "point 3"]) -> Float[Tensor, " point"]:
        """Density at least 0, in 1 / local unit; differentiable in parameters and positions."""

    @abstractmethod
    def query(self, points: Points) -> FieldSample:
        """Density and channels; differentiable in parameters and positions."""

    def query_hidden(
        self, points: Points, *, colour: bool = True
    ) -> tuple[FieldSample, Float[Tensor, "point feature"] | None]:
        """As `query`, and with it what the colour head reads besides the direction, where there is such a head.

        Of those features the first stands for density, as in instant-ngp. Without `colour` no channel is answered.
        """
        return (self.query(points) if colour else FieldSample(self.density(points.positions), {})), None

    def penalties(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Weighted regularisers of the published method (total variation, L1), added to any loss; none by default."""
        return {}

    def refine(self, fraction: float) -> bool:
        """Grow to the resolution that suits this fraction of a training budget; true when parameters were replaced."""
        return False

    def bounds(self) -> Domain:
        """The domain's box; a contracted field is bounded by its inner box alone."""
        return Domain(self.domain.lower, self.domain.upper)
