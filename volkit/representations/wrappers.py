"""Fields made of other fields: cut, in another frame, or several at once. Each is a kind of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import ClassVar

import torch
from torch import nn

from volkit.geometry import Domain, Points, Similarity
from volkit.ops.param_group import ParamGroup
from volkit.representations.field import Field, FieldSample
from volkit.representations.kinds import WrapperConfig
from volkit.representations.representation import Placement, Representation
from volkit.typing import Bool, Float, Tensor

__all__ = ["Ball", "Composed", "ComposedConfig", "Cut", "Edited", "EditedConfig", "Placed", "PlacedConfig", "innermost"]


@dataclass(frozen=True)
class Ball:
    """A solid ball, for `Crop` and `Erase`.

    Attributes:
        centre: in the frame in which it is used.
        radius: in the unit of that frame.
    """

    centre: tuple[float, float, float]
    radius: float

    def contains(self, positions: Float[Tensor, "point 3"]) -> Bool[Tensor, " point"]:
        """Which positions lie inside."""
        return (positions - positions.new_tensor(self.centre)).square().sum(-1) <= self.radius**2


@dataclass(frozen=True)
class Cut:
    """A cut of a field: the inside of a region (crop), or its outside (erase), is kept.

    Attributes:
        region: a box or a ball, in a frame of its own.
        keep_inside: whether the inside is kept.
        region_from_local: from the field's local frame to that of the region.
    """

    region: Domain | Ball
    keep_inside: bool
    region_from_local: Similarity

    def keeps(self, positions: Float[Tensor, "point 3"]) -> Bool[Tensor, " point"]:
        """Which local positions are kept."""
        return self.region.contains(self.region_from_local.points(positions)) == self.keep_inside


@dataclass(frozen=True)
class EditedConfig(WrapperConfig):
    """The configuration of `Edited`, a field with parts cut away.

    Attributes:
        cuts: regions that are kept or removed; a point is kept if every cut keeps it.
    """

    kind: ClassVar[str] = "edited"
    cuts: tuple[Cut, ...]

    def wrap(self, parts: tuple[Field, ...]) -> "Edited":
        """The one field with these cuts."""
        (field,) = _fields(self.kind, parts, 1)
        return Edited(field, self.cuts)


class Edited(Field):
    """A field with cuts: density is zero in the parts that are cut off.

    Its domain, placement, capture and provenance are the field's. Density is not differentiable across a cut.
    """

    def __init__(self, field: Field, cuts: tuple[Cut, ...]) -> None:
        super().__init__(field.domain, field.placement, field.capture, field.provenance)
        self.config = EditedConfig(cuts)
        self.field = field
        self.to(field.device)
        self.occupancy.copy_(field.occupancy)

    @property
    def parts(self) -> tuple[Representation, ...]:
        return (self.field,)

    def density(self, positions: Float[Tensor, "point 3"]) -> Float[Tensor, " point"]:
        """The field's density, zero where cut."""
        return self.field.density(positions) * self._survives(positions)

    def query(self, points: Points) -> FieldSample:
        """The field's answer, density zero where cut."""
        answer = self.field.query(points)
        return FieldSample(answer.density * self._survives(points.positions), answer.channels)

    def param_groups(self) -> list[ParamGroup]:
        """The field's own."""
        return self.field.param_groups()

    def _survives(self, positions: Tensor) -> Tensor:
        survives = torch.ones_like(positions[:, 0], dtype=torch.bool)
        for cut in self.config.cuts:
            survives &= cut.keeps(positions)
        return survives

    def _sizes(self) -> list[str]:
        return [f"{len(self.config.cuts)} cuts of {self.field}"]


@dataclass(frozen=True)
class PlacedConfig(WrapperConfig):
    """The frame of a placed field.

    Attributes:
        local_from_field: `x_local = local_from_field(x_field)`.
    """

    kind: ClassVar[str] = "placed"
    local_from_field: Similarity

    def wrap(self, parts: tuple[Field, ...]) -> "Placed":
        """The one field in this frame."""
        (field,) = _fields(self.kind, parts, 1)
        return Placed(field, self.local_from_field)


class Placed(Field):
    """A field in another local frame: `x_local = local_from_field(x_field)`.

    Density is per local unit, so `density_local = density_field / scale`; directions are turned with the frame. The
    domain is the axis-aligned box about the turned one, and density is 0 between the two.
    """

    def __init__(self, field: Field, local_from_field: Similarity) -> None:
        super().__init__(_transform_domain(field.domain, local_from_field), Placement(frame=field.frame), field.capture)
        self.config = PlacedConfig(local_from_field)
        self.field = field
        self.field_from_local = local_from_field.inverse()
        self.to(field.device)

    @property
    def parts(self) -> tuple[Representation, ...]:
        return (self.field,)

    def density(self, positions: Float[Tensor, "point 3"]) -> Float[Tensor, " point"]:
        """Density in 1 / local unit."""
        return self.field.density(self.field_from_local.points(positions)) / self.config.local_from_field.scale

    def query(self, points: Points) -> FieldSample:
        """Density and all channels of the inner field."""
        sample = self.field.query(_transform_points(points, self.field_from_local))
        return FieldSample(sample.density / self.config.local_from_field.scale, sample.channels)

    def param_groups(self) -> list[ParamGroup]:
        """Those of the inner field."""
        return self.field.param_groups()

    def _sizes(self) -> list[str]:
        return [f"{self.field}"]


@dataclass(frozen=True)
class ComposedConfig(WrapperConfig):
    """The configuration of `Composed`, the union of several fields; it has no members of its own."""

    kind: ClassVar[str] = "composed"

    def wrap(self, parts: tuple[Field, ...]) -> "Composed":
        """These fields at once."""
        return Composed(_fields(self.kind, parts))


class Composed(Field):
    """Several fields of one local frame at once: densities add, channels are density-weighted means.

    It has the channels that all fields have, and the first capture among them. The fields are shared, not copied.
    Differentiable in whatever they are.

    Raises:
        ValueError: no field, or boxes among contracted domains.
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        if not fields:
            raise ValueError("composed: give at least one field")
        if len({field.domain.contracted for field in fields}) > 1:
            raise ValueError("composed: all domains must be boxes, or all contracted; convert one of them first")
        domain = reduce(Domain.union, (field.domain for field in fields))
        capture = next((field.capture for field in fields if field.capture is not None), None)
        super().__init__(domain, Placement(frame=fields[0].frame), capture)
        self.config = ComposedConfig()
        self.fields = nn.ModuleList(fields)
        self.to(fields[0].device)

    @property
    def parts(self) -> tuple[Representation, ...]:
        return tuple(self._fields())

    def density(self, positions: Float[Tensor, "point 3"]) -> Float[Tensor, " point"]:
        """Density in 1 / local unit."""
        return torch.stack([part.density(positions) for part in self._fields()]).sum(0)

    def query(self, points: Points) -> FieldSample:
        """Density and those channels that every part has."""
        samples = [part.query(points) for part in self._fields()]
        densities = torch.stack([sample.density for sample in samples])
        total = densities.sum(0)
        # In empty space equal shares keep the gradient finite.
        tiny = torch.finfo(total.dtype).tiny
        shares = torch.where(total > tiny, densities / total.clamp_min(tiny), 1.0 / len(samples))
        names = [name for name in samples[0].channels if all(name in sample.channels for sample in samples)]
        mixed = {
            name: torch.stack(
                [share[:, None] * s.channels[name] for share, s in zip(shares, samples, strict=True)]
            ).sum(0)
            for name in names
        }
        return FieldSample(total, mixed)

    def param_groups(self) -> list[ParamGroup]:
        """The groups of all parts, numbered; a part that occurs twice counts once."""
        return [
            replace(group, name=f"{index}.{group.name}")
            for index, part in enumerate(dict.fromkeys(self._fields()))
            for group in part.param_groups()
        ]

    def _fields(self) -> list[Field]:
        return [field for field in self.fields if isinstance(field, Field)]

    def _sizes(self) -> list[str]:
        return [str(part) for part in self.parts]


def innermost(scene: Representation) -> Representation:
    """The scene inside all wrappers; of several parts the first. A scene without a wrapper is its own."""
    while scene.parts:
        scene = scene.parts[0]
    return scene


def _fields(kind: str, parts: Sequence[Representation], count: int | None = None) -> list[Field]:
    fields = [part for part in parts if isinstance(part, Field)]
    if len(fields) < len(parts) or not fields or len(fields) != (count or len(fields)):
        raise ValueError(f"{kind}: is made of {count or 'some'} fields, not of {[part.config.kind for part in parts]}")
    return fields


def _transform_points(points: Points, frame: Similarity) -> Points:
    return Points(frame.points(points.positions), frame.vectors(points.directions), points.time, points.appearance)


def _transform_domain(domain: Domain, frame: Similarity) -> Domain:
    ends = torch.tensor([domain.lower, domain.upper], dtype=torch.float64, device="cpu")
    x, y, z = torch.meshgrid(*ends.unbind(-1), indexing="ij")
    corners = frame.points(torch.stack([x, y, z], -1).reshape(-1, 3))
    lower, upper = corners.amin(0).tolist(), corners.amax(0).tolist()
    return Domain(tuple(lower), tuple(upper), domain.contracted)
