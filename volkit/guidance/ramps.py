"""Schedules over a run: ramps of numbers, and the draw of diffusion times."""

from dataclasses import dataclass
from typing import Protocol

import torch

from volkit.guidance.noise_schedule import NoiseSchedule
from volkit.typing import Int, Tensor

__all__ = ["Descending", "Ramp", "Times", "Uniform", "switch", "value"]


@dataclass(frozen=True)
class Ramp:
    """A piecewise linear function of the fraction of the run; two corners at one fraction make a jump.

    Attributes:
        corners: (fraction, value), by rising fraction.

    Example:
        >>> Ramp(((0.0, 1.0), (0.5, 3.0)))(0.25)
        2.0
    """

    corners: tuple[tuple[float, float], ...]

    def __call__(self, fraction: float) -> float:
        """The value at a fraction; constant before the first and after the last corner."""
        before = [corner for corner in self.corners if corner[0] <= fraction]
        after = [corner for corner in self.corners if corner[0] > fraction]
        if not before or not after:
            return (before or after)[-1 if before else 0][1]
        (f0, v0), (f1, v1) = before[-1], after[0]
        return v0 + (v1 - v0) * (fraction - f0) / (f1 - f0)


def switch(first: float, then: float, at: float) -> Ramp:
    """A ramp that jumps from one value to another at a fraction of the run.

    Example:
        >>> jump = switch(0.98, 0.5, at=0.2)
        >>> jump(0.1), jump(0.3)
        (0.98, 0.5)
    """
    return Ramp(((at, first), (at, then)))


def value(number: float | Ramp, fraction: float) -> float:
    """The value of a number or a ramp at a fraction of the run."""
    return number(fraction) if isinstance(number, Ramp) else number


class Times(Protocol):
    """Draws the diffusion times of a step."""

    def __call__(self, schedule: NoiseSchedule, count: int, fraction: float, generator: torch.Generator) -> Tensor:
        """`count` indices into the noise schedule."""
        ...


@dataclass(frozen=True)
class Uniform:
    """t ~ U{low T, ..., high T} (DreamFusion: .02 to .98).

    Attributes:
        low: share of T, a number or a ramp over the run.
        high: share of T, likewise.
        shared: one time for all views; else one for each.
    """

    low: float | Ramp = 0.02
    high: float | Ramp = 0.98
    shared: bool = False

    def __call__(
        self, schedule: NoiseSchedule, count: int, fraction: float, generator: torch.Generator
    ) -> Int[Tensor, " view"]:
        """Draw the times."""
        steps, device = len(schedule), schedule.alpha.device
        low = min(int(steps * value(self.low, fraction)), steps - 1)
        high = min(max(int(steps * value(self.high, fraction)), low), steps - 1)
        times = torch.randint(
            low, high + 1, (1 if self.shared else count,), generator=generator, device=generator.device
        )
        return times.to(device).expand(count)


@dataclass(frozen=True)
class Descending:
    """`t / T = high - (high - low) fraction^power`: coarse structure first, detail last.

    Attributes:
        high: share of T at the start.
        low: share of T at the end.
        power: 1/2 is HiFA, 1 is SDI.
    """

    high: float = 0.98
    low: float = 0.02
    power: float = 1.0

    def __call__(
        self, schedule: NoiseSchedule, count: int, fraction: float, generator: torch.Generator
    ) -> Int[Tensor, " view"]:
        """The same time for every view."""
        del generator
        share = self.high - (self.high - self.low) * fraction**self.power
        index = min(max(int(len(schedule) * share), 0), len(schedule) - 1)
        return torch.full((count,), index, device=schedule.alpha.device)
