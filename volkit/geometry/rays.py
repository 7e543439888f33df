"""Rays, the intervals that samplers cut from them, and the points at which fields are evaluated."""

from dataclasses import dataclass, fields, replace
from typing import Self

import torch

from volkit.typing import Float, Int, Tensor

__all__ = ["Points", "RaySamples", "Rays"]


@dataclass(frozen=True)
class Rays:
    """Half lines `x(t) = origin + t * direction`, world or local frame, unit directions.

    Attributes:
        origins: where they start, in the frame's unit.
        directions: unit, so that `t` is a distance.
        time: of each ray, where the scene moves.
        appearance: index of the photograph, for per-photograph corrections.
    """

    origins: Float[Tensor, "ray 3"]
    directions: Float[Tensor, "ray 3"]
    time: Float[Tensor, " ray"] | None = None
    appearance: Int[Tensor, " ray"] | None = None  # index of the photograph, for per-photograph corrections

    def __len__(self) -> int:
        return self.origins.shape[0]

    def __getitem__(self, index: Tensor | slice) -> Self:
        return _map(self, lambda tensor: tensor[index])

    def to(self, device: torch.device | str) -> Self:
        """The same rays on another device."""
        return _map(self, lambda tensor: tensor.to(device))

    @staticmethod
    def cat(parts: "list[Rays]") -> "Rays":
        """Concatenate batches that carry the same optional members."""
        names = [f.name for f in fields(Rays) if getattr(parts[0], f.name) is not None]
        return Rays(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


@dataclass(frozen=True)
class RaySamples:
    """Packed intervals `[t0, t1]` sorted by ray; the samples of ray i are `offsets[i]:offsets[i + 1]` (CSR).

    Attributes:
        t0: distance along the ray at which an interval begins.
        t1: distance at which it ends.
        ray: index of each sample's ray.
        offsets: of each ray's first sample, and the number of samples at the end.
    """

    t0: Float[Tensor, " sample"]
    t1: Float[Tensor, " sample"]
    ray: Int[Tensor, " sample"]
    offsets: Int[Tensor, " ray+1"]

    def __len__(self) -> int:
        return self.t0.shape[0]

    @property
    def midpoints(self) -> Float[Tensor, " sample"]:
        """Where a field is evaluated: `(t0 + t1) / 2`."""
        return 0.5 * (self.t0 + self.t1)

    @property
    def lengths(self) -> Float[Tensor, " sample"]:
        """`t1 - t0`, in the frame's unit."""
        return self.t1 - self.t0

    def points(self, rays: Rays) -> "Points":
        """The points at the interval midpoints, looking along their rays; differentiable in origins and directions."""
        ray = self.ray.long()
        directions = rays.directions[ray]
        return Points(
            positions=torch.addcmul(rays.origins[ray], directions, self.midpoints[:, None]),
            directions=directions,
            time=None if rays.time is None else rays.time[ray],
            appearance=None if rays.appearance is None else rays.appearance[ray],
        )


@dataclass(frozen=True)
class Points:
    """The inputs of a field: positions, viewing directions, times, photographs.

    Attributes:
        positions: in the field's local frame.
        directions: unit, from the camera to the point, local frame.
        time: of each point, where the scene moves.
        appearance: index of the photograph, for per-photograph corrections.
    """

    positions: Float[Tensor, "point 3"]
    directions: Float[Tensor, "point 3"]
    time: Float[Tensor, " point"] | None = None
    appearance: Int[Tensor, " point"] | None = None

    def __len__(self) -> int:
        return self.positions.shape[0]

    def __getitem__(self, index: Tensor | slice) -> Self:
        return _map(self, lambda tensor: tensor[index])

    def at(self, positions: Float[Tensor, "point 3"]) -> Self:
        """The same points at other positions."""
        return replace(self, positions=positions)


def _map(value, change):
    members = {f.name: getattr(value, f.name) for f in fields(value)}
    return replace(value, **{name: change(member) for name, member in members.items() if member is not None})
