"""The interface of fields, which are evaluated point by point, and a field of two functions."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch

from volkit.geometry import Domain, Points
from volkit.ops.param_group import ParamGroup
from volkit.representations.kinds import SceneConfig
from volkit.representations.occupancy_bits import OCCUPANCY_RESOLUTION
from volkit.representations.representation import WORLD, Capture, Placement, Representation
from volkit.typing import Float, Tensor, UInt8

__all__ = ["OCCUPANCY_RESOLUTION", "Box", "Field", "FieldSample", "FunctionField"]

Triple = tuple[float, float, float]
Box = tuple[Triple, Triple]  # lower and upper corner
ADAM_RATE = 1e-3  # of a user's parameters: Adam's default


@dataclass(frozen=True)
class FieldSample:
    """The values of a field at points.

    Attributes:
        density: in 1 / local unit, at least 0.
        channels: `rgb`, and the further channels of the scene, by name.
    """

    density: Float[Tensor, " point"]
    channels: dict[str, Float[Tensor, "point channel"]]

    @property
    def rgb(self) -> Float[Tensor, "point 3"]:
        """Display-referred colour, at least 0."""
        return self.channels["rgb"]


class Field(Representation):
    """Density and colour at points of a local frame; density is zero outside its domain.

    A user's field implements these two methods, and can be rendered, distilled, meshed and compared like any other:

    ```python
    class Ball(Field):
        def __init__(self):
            super().__init__(((-1, -1, -1), (1, 1, 1)))
            self.level = torch.nn.Parameter(torch.tensor(30.0))

        def density(self, positions):
            return self.level * (positions.norm(dim=-1) < 0.5)

        def query(self, points):
            return FieldSample(self.density(points.positions), {"rgb": points.positions.abs()})
    ```

    Attributes:
        occupancy: marks the cells of the unit cube that may hold matter: one bit a cell, instant-ngp's Morton order
            (`x | y << 1 | z << 2`, bit `i & 7` of byte `i >> 3`), `OCCUPANCY_RESOLUTION` cells a side.
        occupancy_evaluations: densities that a refresh of the occupancy may cost.
    """

    occupancy: UInt8[Tensor, " byte"]
    occupancy_evaluations: ClassVar[int] = 1 << 19

    def __init__(
        self,
        domain: Domain | Box,
        placement: Placement = WORLD,
        capture: Capture | None = None,
        provenance: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        super().__init__(domain_of(domain), placement, capture, provenance)
        self.config = SceneConfig()
        bits = torch.full((OCCUPANCY_RESOLUTION**3 // 8,), 255, dtype=torch.uint8)
        self.register_buffer("occupancy", bits)

    @abstractmethod
    def density(self, positions: Float[Tensor, "point 3"]) -> Float[Tensor, " point"]:
        """Density at least 0, in 1 / local unit; differentiable in parameters and positions."""

    @abstractmethod
    def query(self, points: Points) -> FieldSample:
        """Density and channels; differentiable in parameters and positions."""

    def param_groups(self) -> list[ParamGroup]:
        """All parameters in one group, under Adam at its default rate."""
        parameters = tuple(self.parameters())
        return [ParamGroup("parameters", parameters, ADAM_RATE)] if parameters else []

    def penalties(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Weighted regularisers of the published method (total variation, L1), added to any loss; none by default."""
        return {}

    def refine(self, fraction: float) -> bool:
        """Grow to the resolution due at this fraction of the training budget; true when parameters were replaced."""
        return False

    def bounds(self) -> Domain:
        """The domain's box; a contracted field is bounded by its inner box alone."""
        return Domain(self.domain.lower, self.domain.upper)


class FunctionField(Field):
    """A field of two functions, for density and colour.

    Outside the domain density is 0 whatever the function returns, and colours below 0 become 0. Functions that are
    modules are part of the field: their parameters are trained, moved and copied with it. Differentiable where the
    functions are.

    Args:
        density: positions `[point, 3]`, local frame, to `[point]` or `[point, 1]`, at least 0, in 1 / local unit.
        rgb: positions and unit directions from the camera, `[point, 3]` each, to display-referred `[point, 3]`.
        domain: a `Domain`, or the two corners of a box.

    Raises:
        ValueError: when evaluated, a function returns another shape.

    Example:
        >>> ball = FunctionField(lambda x: 30.0 * (x.norm(dim=-1) < 0.5), lambda x, d: x.abs(), Domain.cube(1.0))
        >>> ball.density(torch.zeros(1, 3))
        tensor([30.])
    """

    def __init__(
        self,
        density: Callable[[Tensor], Tensor],
        rgb: Callable[[Tensor, Tensor], Tensor],
        domain: Domain | Box,
    ) -> None:
        super().__init__(domain)
        self.density_function, self.rgb_function = density, rgb

    def density(self, positions: Float[Tensor, "point 3"]) -> Float[Tensor, " point"]:
        """The density function, 0 outside the domain."""
        answer = self.density_function(positions)
        if tuple(answer.shape) not in ((len(positions),), (len(positions), 1)):
            raise ValueError(f"density: {tuple(answer.shape)} for {len(positions)} positions; it must return [point]")
        return answer.flatten().to(positions.dtype) * self.domain.contains(positions)

    def query(self, points: Points) -> FieldSample:
        """Both functions."""
        rgb = self.rgb_function(points.positions, points.directions)
        if tuple(rgb.shape) != (len(points), 3):
            raise ValueError(f"rgb: {tuple(rgb.shape)} for {len(points)} points; it must return [point, 3]")
        return FieldSample(self.density(points.positions), {"rgb": rgb.relu().to(points.positions.dtype)})


def domain_of(domain: Domain | Box) -> Domain:
    """A domain, or the one of a box by its two corners."""
    if isinstance(domain, Domain):
        return domain
    lower, upper = ((float(x), float(y), float(z)) for x, y, z in domain)
    return Domain(lower, upper)
