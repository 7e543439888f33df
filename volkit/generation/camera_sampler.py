"""Random cameras on a sphere around an object, for pictures under a prior."""

import math
from dataclasses import dataclass, replace

import torch

from volkit.geometry import Cameras
from volkit.guidance.ramps import Ramp, value
from volkit.typing import Float, Tensor

__all__ = ["CameraSampler"]


@dataclass(frozen=True)
class CameraSampler:
    """Draws cameras that look at the origin, +Z up; angles in degrees, lengths in the object's frame.

    Azimuth is counted from the front, -Y. A share of the views is normally distributed about the front with a standard
    deviation of 45 degrees, as web pictures are; the others are stratified over the circle, so that every step covers
    all sides. Elevations are uniform on the sphere. `size` and `turn` may be ramps over the run.

    Attributes:
        size: pixels a side.
        distance: range of the distance from the origin.
        field_of_view: range of the angle.
        elevation: range of the elevation.
        front: share of the views about the front.
        turn: share of the circle, about the front, that is used.
    """

    size: float | Ramp = 64
    distance: tuple[float, float] = (4.0, 4.0)
    field_of_view: tuple[float, float] = (40.0, 40.0)
    elevation: tuple[float, float] = (-10.0, 60.0)
    front: float = 0.0
    turn: float | Ramp = 1.0

    def draw(self, count: int, fraction: float, generator: torch.Generator, together: int = 1) -> Cameras:
        """`count` random cameras of one step; groups of `together` share height and distance, evenly around."""
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
        """The sampler with the values that its ramps have at the end of a run."""
        return replace(self, size=value(self.size, 1.0), turn=value(self.turn, 1.0))

    def turntable(self, count: int, size: int, elevation: float | None = None) -> Cameras:
        """`count` cameras evenly around, from the front on, with the mean of all ranges, for previews."""
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
        """Cameras of square pictures at these angles; azimuths grow to the right of someone who looks at the front."""
        turn, angle = azimuth.deg2rad(), elevation.deg2rad()
        outward = torch.stack([turn.sin() * angle.cos(), -turn.cos() * angle.cos(), angle.sin()], -1)
        origin, up = outward.new_zeros(3), outward.new_tensor([0.0, 0.0, 1.0])
        cameras = Cameras.looking_at(distance[:, None] * outward, origin, up, 1.0, (size, size))
        cameras.intrinsics[:, :2] = (0.5 * size / (0.5 * field_of_view.deg2rad()).tan())[:, None]
        return cameras
