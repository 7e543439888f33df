"""Fields made of other fields: seen in another frame, or several at once."""

import torch
from torch import nn

from volkit.geometry import Domain, Points, Similarity
from volkit.ops.param_group import ParamGroup
from volkit.representations.field import Field, FieldSample
from volkit.typing import Float, Tensor

__all__ = ["Composed", "Placed"]


class Placed(Field):
    """Another field's answers in another frame: `x_local = local_from_field(x_field)`.

    Density is per local unit, so `density_local = density_field / scale`; directions are turned with the frame. The
    domain is the axis-aligned box about the turned one, and density is 0 between the two.
    """

    def __init__(self, field: Field, local_from_field: Similarity) -> None:
        super().__init__(_moved(field.domain, local_from_field))
        self.config = field.config
        self.field, self.local_from_field = field, local_from_field
        self.field_from_local = local_from_field.inverse()
        self.capture = field.capture
        self.to(field.device)

    def density(self, positions: Float[Tensor, "point 3"]) -> Float[Tensor, " point"]:
        """Density in 1 / local unit."""
        return self.field.density(self.field_from_local.points(positions)) / self.local_from_field.scale

    def query(self, points: Points) -> FieldSample:
        """Density and all channels of the inner field."""
        sample = self.field.query(_seen_from(points, self.field_from_local))
        return FieldSample(sample.density / self.local_from_field.scale, sample.channels)

    def param_groups(self) -> list[ParamGroup]:
        """Those of the inner field."""
        return self.field.param_groups()


class Composed(Field):
    """Several fields of one local frame at once: densities add, channels are their density-weighted means."""

    def __init__(self, fields: list[Field]) -> None:
        if not fields:
            raise ValueError("composed: give at least one field")
        if len({field.domain.contracted for field in fields}) > 1:
            raise ValueError("composed: all domains must be boxes, or all contracted; convert one of them first")
        corners = [(field.domain.lower, field.domain.upper) for field in fields]
        lower = tuple(min(axis) for axis in zip(*(low for low, _ in corners), strict=True))
        upper = tuple(max(axis) for axis in zip(*(high for _, high in corners), strict=True))
        super().__init__(Domain(lower, upper, fields[0].domain.contracted))  # pyright: ignore[reportArgumentType]
        self.config = fields[0].config
        self.parts = nn.ModuleList(fields)
        self.capture = next((field.capture for field in fields if field.capture is not None), None)
        self.to(fields[0].device)

    def density(self, positions: Float[Tensor, "point 3"]) -> Float[Tensor, " point"]:
        """Density in 1 / local unit."""
        return torch.stack([part.density(positions) for part in self._fields()]).sum(0)

    def query(self, points: Points) -> FieldSample:
        """Density and those channels that every part has."""
        samples = [part.query(points) for part in self._fields()]
        densities = torch.stack([sample.density for sample in samples])
        total = densities.sum(0)
        # Where nothing is, any share will do: equal ones keep the gradient finite.
        tiny = torch.finfo(total.dtype).tiny
        shares = torch.where(total > tiny, densities / total.clamp_min(tiny), 1.0 / len(samples))
        names = [name for name in samples[0].channels if all(name in sample.channels for sample in samples)]
        mixed = {
            name: sum_over([share[:, None] * s.channels[name] for share, s in zip(shares, samples, strict=True)])
            for name in names
        }
        return FieldSample(total, mixed)

    def param_groups(self) -> list[ParamGroup]:
        """Those of all parts, numbered."""
        return [
            ParamGroup(f"{index}.{group.name}", group.parameters, group.lr, group.sparse)
            for index, part in enumerate(self._fields())
            for group in part.param_groups()
        ]

    def _fields(self) -> list[Field]:
        return list(self.parts)  # pyright: ignore[reportReturnType]


def sum_over(terms: list[Tensor]) -> Tensor:
    """Sum of tensors of one shape."""
    return torch.stack(terms).sum(0)


def _seen_from(points: Points, frame: Similarity) -> Points:
    return Points(frame.points(points.positions), frame.vectors(points.directions), points.time, points.appearance)


def _moved(domain: Domain, frame: Similarity) -> Domain:
    ends = torch.tensor([domain.lower, domain.upper], dtype=torch.float64, device="cpu")
    x, y, z = torch.meshgrid(*ends.unbind(-1), indexing="ij")
    corners = frame.points(torch.stack([x, y, z], -1).reshape(-1, 3))
    lower, upper = corners.amin(0).tolist(), corners.amax(0).tolist()
    return Domain(tuple(lower), tuple(upper), domain.contracted)
