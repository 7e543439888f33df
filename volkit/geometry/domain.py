"""The part of space that a field covers, and its map onto the unit cube."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch

from volkit.typing import Bool, Float, Tensor

__all__ = ["Box", "Domain"]

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Domain:
    """A box, or all of space contracted around a box.

    Box: `u = (x - lower) / (upper - lower)`. Contracted: `y = (x - centre) / half`,
    `c = y` where `m = max|y| <= 1` else `(2 - 1/m) y / m`, `u = (c + 2) / 4`: the box fills the middle half of
    the unit cube and infinity is its face (mip-NeRF 360, equation 10, in the maximum norm as nerfacto does).
    Positions are in the representation's local frame.

    Attributes:
        lower: corner of the box with the smallest coordinates, local units.
        upper: corner of the box with the largest coordinates, local units.
        contracted: whether all of space is covered, contracted outside the box.

    Raises:
        ValueError: `lower` does not lie below `upper` on every axis.

    Example:
        >>> Domain.cube(2.0).extent
        (4.0, 4.0, 4.0)
    """

    lower: Triple
    upper: Triple
    contracted: bool = False

    def __post_init__(self) -> None:
        if not all(low < high for low, high in zip(self.lower, self.upper, strict=True)):
            raise ValueError(f"domain: lower {self.lower} must lie below upper {self.upper} on every axis")

    @classmethod
    def cube(cls, half: float, contracted: bool = False) -> Self:
        """The cube `[-half, half]^3`."""
        return cls((-half, -half, -half), (half, half, half), contracted)

    @property
    def centre(self) -> Triple:
        """Centre of the box."""
        x, y, z = (0.5 * (low + high) for low, high in zip(self.lower, self.upper, strict=True))
        return x, y, z

    @property
    def extent(self) -> Triple:
        """Edge lengths of the box."""
        x, y, z = (high - low for low, high in zip(self.lower, self.upper, strict=True))
        return x, y, z

    @property
    def diagonal(self) -> float:
        """Length of the box's diagonal."""
        return sum(edge * edge for edge in self.extent) ** 0.5

    @property
    def unit_edge(self) -> float:
        """Edge of the unit cube in local units, along the longest axis; a contracted box fills half of it."""
        return max(self.extent) * (2.0 if self.contracted else 1.0)

    def to_cube(self) -> "Domain":
        """The smallest cube about the same centre that holds this box."""
        half = 0.5 * max(self.extent)
        x, y, z = self.centre
        return Domain((x - half, y - half, z - half), (x + half, y + half, z + half), self.contracted)

    def grow(self, share: float) -> "Domain":
        """The box enlarged on either side by this share of each edge."""
        x, y, z = self.centre
        a, b, c = ((0.5 + share) * edge for edge in self.extent)
        return Domain((x - a, y - b, z - c), (x + a, y + b, z + c), self.contracted)

    def union(self, other: "Domain") -> "Domain":
        """The smallest box that holds both boxes; contracted as this one.

        Example:
            >>> Domain.cube(1.0).union(Domain((0.0, 0.0, 0.0), (3.0, 1.0, 1.0))).upper
            (3.0, 1.0, 1.0)
        """
        x0, y0, z0 = map(min, self.lower, other.lower)
        x1, y1, z1 = map(max, self.upper, other.upper)
        return Domain((x0, y0, z0), (x1, y1, z1), self.contracted)

    def unit_from_local(self, positions: Float[Tensor, "point 3"]) -> Float[Tensor, "point 3"]:
        """Map local positions to the unit cube; outside a box the result leaves [0, 1].

        Differentiable in the positions.

        Example:
            >>> Domain.cube(1.0).unit_from_local(torch.zeros(1, 3))
            tensor([[0.5000, 0.5000, 0.5000]])
        """
        lower = positions.new_tensor(self.lower)
        extent = positions.new_tensor(self.extent)
        if not self.contracted:
            return (positions - lower) / extent
        y = (positions - positions.new_tensor(self.centre)) / (0.5 * extent)
        norm = y.abs().amax(-1, keepdim=True).clamp_min(1.0)
        return ((2.0 - 1.0 / norm) * y / norm + 2.0) * 0.25

    def local_from_unit(self, unit: Float[Tensor, "point 3"]) -> Float[Tensor, "point 3"]:
        """Inverse of `unit_from_local`; the cube's face maps far away, not to infinity."""
        lower = unit.new_tensor(self.lower)
        extent = unit.new_tensor(self.extent)
        if not self.contracted:
            return lower + unit * extent
        c = unit * 4.0 - 2.0
        norm = c.abs().amax(-1, keepdim=True)
        y = torch.where(norm > 1.0, c / norm / (2.0 - norm).clamp_min(1e-4), c)
        return unit.new_tensor(self.centre) + 0.5 * extent * y

    def to_centred(self, positions: Float[Tensor, "point 3"]) -> Float[Tensor, "point 3"]:
        """Positions as `(x - centre) / half`, half of the longest edge: the box lies in [-1, 1], infinity at 2.

        A contracted box is scaled by each of its own edges.
        """
        if not self.contracted:
            return (positions - positions.new_tensor(self.centre)) * (2.0 / max(self.extent))
        return self.unit_from_local(positions) * 4.0 - 2.0

    def contains(self, positions: Float[Tensor, "point 3"]) -> Bool[Tensor, " point"]:
        """Which positions lie in the domain: inside the box, or everywhere when contracted."""
        if self.contracted:
            return torch.ones_like(positions[:, 0], dtype=torch.bool)
        unit = self.unit_from_local(positions)
        return ((unit >= 0) & (unit <= 1)).all(-1)

    def span(
        self, origins: Float[Tensor, "ray 3"], directions: Float[Tensor, "ray 3"], near: float = 0.0
    ) -> tuple[Float[Tensor, " ray"], Float[Tensor, " ray"]]:
        """Distances at which rays enter and leave (slab test), at least `near`; `far <= near` means a miss.

        A contracted domain ends at 1e3 half extents, where the contraction has 0.05 % of the cube left.

        Args:
            origins: where rays start, local frame.
            directions: unit, so that distances are in local units.
            near: least distance at which a ray enters, local units.

        Returns:
            Distances `(enter, leave)` of each ray.
        """
        lower, upper = origins.new_tensor(self.lower), origins.new_tensor(self.upper)
        if self.contracted:
            far = torch.full_like(origins[:, 0], 1e3 * 0.5 * max(self.extent))
            return torch.full_like(far, near), far
        tiny = torch.finfo(directions.dtype).tiny
        safe = torch.where(directions.abs() < tiny, torch.full_like(directions, tiny), directions)
        a, b = (lower - origins) / safe, (upper - origins) / safe
        enter = torch.minimum(a, b).amax(-1).clamp_min(near)
        return enter, torch.maximum(a, b).amin(-1)


@dataclass(frozen=True)
class Box:
    """A solid axis-aligned box, which unpacks into its two corners.

    Attributes:
        lower: corner with the smallest coordinates.
        upper: corner with the largest coordinates.

    Raises:
        ValueError: `lower` does not lie below `upper` on every axis.

    Example:
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
