"""Numbers that change in the course of a run, and the times that are drawn from it."""

from dataclasses import dataclass
from typing import Protocol

import torch

from volkit.guidance.noise_schedule import NoiseSchedule
from volkit.typing import Int, Tensor

__all__ = ["Descending", "Ramp", "Times", "Uniform", "switch", "value"]


@dataclass(frozen=True)
class Ramp:
    """Piecewise linear in the spent fraction of the run: corners (fraction, value); two at one fraction are a jump."""

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
    """A jump from one value to another."""
    return Ramp(((at, first), (at, then)))


def value(number: float | Ramp, fraction: float) -> float:
    """The value of a constant or of a ramp."""
    return number(fraction) if isinstance(number, Ramp) else number


class Times(Protocol):
    """Which time of the diffusion a step asks about."""

    def __call__(self, schedule: NoiseSchedule, count: int, fraction: float, generator: torch.Generator) -> Tensor:
        """`count` times."""
        ...


@dataclass(frozen=True)
class Uniform:
    """t ~ U{low T, ..., high T}, of its own for every view or `shared` by all (DreamFusion: .02 to .98)."""

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
    """`t = high - (high - low) fraction^power`: noise first, detail last.

    Power 1/2 is HiFA; power 1 is SDI.
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
