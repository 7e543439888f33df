"""Edits of fields as wrappers: what is cropped or erased is really empty, for students as for pictures."""

from dataclasses import dataclass

import torch

from volkit.geometry import Domain, Points, Similarity
from volkit.ops.param_group import ParamGroup
from volkit.representations.field import Field, FieldSample
from volkit.typing import Bool, Float, Tensor

__all__ = ["Ball", "Cut", "Edited"]


@dataclass(frozen=True)
class Ball:
    """A solid ball."""

    centre: tuple[float, float, float]
    radius: float

    def contains(self, positions: Float[Tensor, "point 3"]) -> Bool[Tensor, " point"]:
        """Which positions lie inside."""
        return (positions - positions.new_tensor(self.centre)).square().sum(-1) <= self.radius**2


@dataclass(frozen=True)
class Cut:
    """Keep only the inside of a region (crop), or only its outside (erase); `region_from_local` says where it is."""

    region: Domain | Ball
    keep_inside: bool
    region_from_local: Similarity

    def keeps(self, positions: Float[Tensor, "point 3"]) -> Bool[Tensor, " point"]:
        """Which positions survive."""
        return self.region.contains(self.region_from_local.points(positions)) == self.keep_inside


class Edited(Field):
    """A field with cuts: density is zero wherever a cut says so, whatever the field answers there."""

    def __init__(self, field: Field, cuts: tuple[Cut, ...]) -> None:
        super().__init__(field.domain)
        self.field, self.cuts = field, cuts
        self.config, self.world_from_local, self.capture = field.config, field.world_from_local, field.capture
        self.frame = field.frame
        self.to(field.device)
        self.occupancy.copy_(field.occupancy)

    def density(self, positions: Float[Tensor, "point 3"]) -> Float[Tensor, " point"]:
        """The field's density, zero where cut."""
        return self.field.density(positions) * self._kept(positions)

    def query(self, points: Points) -> FieldSample:
        """The field's answer, density zero where cut."""
        answer = self.field.query(points)
        return FieldSample(answer.density * self._kept(points.positions), answer.channels)

    def param_groups(self) -> list[ParamGroup]:
        """The field's own."""
        return self.field.param_groups()

    def _kept(self, positions: Tensor) -> Tensor:
        kept = torch.ones_like(positions[:, 0], dtype=torch.bool)
        for cut in self.cuts:
            kept &= cut.keeps(positions)
        return kept
