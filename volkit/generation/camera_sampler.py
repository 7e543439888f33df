"""Where a prior looks from: cameras drawn on a sphere around an object."""

import math
from dataclasses import dataclass, replace

import torch

from volkit.geometry import Cameras
from volkit.guidance.ramps import Ramp, value
from volkit.typing import Float, Tensor

__all__ = ["CameraSampler"]


@dataclass(frozen=True)
class CameraSampler:
    """Cameras that look at the origin, up is +Z; degrees, and lengths in the object's frame.

    Azimuth is counted from the front, -Y. Of the views `front` of them, on average, stand normally about it with a
    deviation of 45 degrees, as web pictures do; the others stand evenly, each in a stretch of its own, so that every
    step sees all sides. `turn` is the share of the circle, about the front, that is looked from. Elevations are
    uniform on the sphere between two circles. Numbers may be ramps over the run.
    """

    size: float | Ramp = 64  # pixels a side
    distance: tuple[float, float] = (4.0, 4.0)
    field_of_view: tuple[float, float] = (40.0, 40.0)
    elevation: tuple[float, float] = (-10.0, 60.0)
    front: float = 0.0
    turn: float | Ramp = 1.0

    def draw(self, count: int, fraction: float, generator: torch.Generator, together: int = 1) -> Cameras:
        """`count` cameras for one step; `together` neighbours share height and distance and stand evenly around."""
        groups, device = count // together, generator.device
        uniform = torch.rand(5, groups, generator=generator, device=device)
        about_front = torch.randn(groups, generator=generator, device=device) / 8.0  # 45 degrees in turns
        even = (torch.arange(groups, device=device) + uniform[0]) / groups - 0.5
        azimuth = torch.where(uniform[1] < self.front, about_front, even) * value(self.turn, fraction)
        azimuth = (azimuth[:, None] + torch.arange(together, device=device) / together).flatten()
        low, high = (math.sin(math.radians(degrees)) for degrees in self.elevation)
        height, distance, view = (
            torch.lerp(uniform.new_tensor(a), uniform.new_tensor(b), u).repeat_interleave(together)
            for (a, b), u in zip(((low, high), self.distance, self.field_of_view), uniform[2:], strict=True)
        )
        return self.at(azimuth * 360.0, height.asin().rad2deg(), distance, view, round(value(self.size, fraction)))

    def final(self) -> "CameraSampler":
        """As it is at the end of a run."""
        return replace(self, size=value(self.size, 1.0), turn=value(self.turn, 1.0))

    def turntable(self, count: int, size: int, elevation: float | None = None) -> Cameras:
        """`count` cameras evenly around from the front on, in the middle of all ranges, to look at what there is."""
        angle = 0.5 * sum(self.elevation) if elevation is None else elevation
        turn = torch.arange(count) * (360.0 / count)
        distance, view = (torch.full((count,), 0.5 * sum(ends)) for ends in (self.distance, self.field_of_view))
        return self.at(turn, torch.full((count,), angle), distance, view, size)

    @staticmethod
    def at(
        azimuth: Float[Tensor, " camera"],
        elevation: Float[Tensor, " camera"],
        distance: Float[Tensor, " camera"],
        field_of_view: Float[Tensor, " camera"],
        size: int,
    ) -> Cameras:
        """Square pictures by cameras at these places; positive azimuths lie to the right of who looks at the front."""
        turn, angle = azimuth.deg2rad(), elevation.deg2rad()
        outward = torch.stack([turn.sin() * angle.cos(), -turn.cos() * angle.cos(), angle.sin()], -1)
        origin, up = outward.new_zeros(3), outward.new_tensor([0.0, 0.0, 1.0])
        cameras = Cameras.looking_at(distance[:, None] * outward, origin, up, 1.0, (size, size))
        cameras.intrinsics[:, :2] = (0.5 * size / (0.5 * field_of_view.deg2rad()).tan())[:, None]
        return cameras
