"""Noise paths, by which a clean batch is noised: the first of the five parts of a method."""

import math
from dataclasses import dataclass, field
from typing import Protocol

import torch

from volkit.guidance.condition import Conditions
from volkit.guidance.noise_schedule import NoiseSchedule
from volkit.guidance.prior import Noised, Prior
from volkit.typing import Int, Tensor

__all__ = ["FixedNoise", "InvertedNoise", "NoisePath", "RandomNoise", "SharedNoise", "Trajectory"]


@dataclass(frozen=True)
class Trajectory:
    """The result of a noise path.

    Attributes:
        at: the noised batch.
        noise: `ε` that leads to it from the clean batch.
        second: a second noised batch, at which a method may evaluate another score.
        evaluated: predictions at `second` that the path has made on the way, by the name of their condition.
    """

    at: Noised
    noise: Tensor
    second: Noised | None = None
    evaluated: dict[str, Tensor] = field(default_factory=dict)


class NoisePath(Protocol):
    """Noises a clean batch of the prior's space."""

    def __call__(
        self, prior: Prior, x: Tensor, t: Int[Tensor, " view"], conditions: Conditions, generator: torch.Generator
    ) -> Trajectory:
        """Noise `x` to the times `t`."""
        ...


@dataclass(frozen=True)
class RandomNoise:
    """`x_t = α x + σ ε`, ε ~ N(0, 1).

    Attributes:
        same: one ε for all views; else one for each.
        later: not 0: a second point, the same x and ε at `t + later (t - t_min)`, t_min = .02 T (Asynchronous SD,
            ScaleDreamer).
    """

    same: bool = False
    later: float = 0.0

    def __call__(
        self, prior: Prior, x: Tensor, t: Int[Tensor, " view"], conditions: Conditions, generator: torch.Generator
    ) -> Trajectory:
        """Draw the noise."""
        del conditions
        noise = _draw_noise(x[:1] if self.same else x, generator).expand_as(x)
        at = Noised(prior.schedule.add_noise(x, noise, t), t)
        if not self.later:
            return Trajectory(at, noise)
        steps = len(prior.schedule)
        after = (t + self.later * (t - 0.02 * steps).clamp_min(0)).long().clamp_max(steps - 1)
        return Trajectory(at, noise, Noised(prior.schedule.add_noise(x, noise, after), after))


@dataclass(frozen=True)
class FixedNoise:
    """`x_t = α x + σ ε` with the same given ε at every step, which keeps the gradients of a view consistent.

    Attributes:
        noise: ε, shaped like the encoded batch.
    """

    noise: Tensor

    def __call__(
        self, prior: Prior, x: Tensor, t: Int[Tensor, " view"], conditions: Conditions, generator: torch.Generator
    ) -> Trajectory:
        """Add the noise."""
        del conditions, generator
        return Trajectory(Noised(prior.schedule.add_noise(x, self.noise, t), t), self.noise)


@dataclass(frozen=True)
class SharedNoise:
    """One ε for the batch and for the source; the noised source is the second point (DDS, arXiv 2304.07090).

    ValueError where `Conditions.source_pictures` is not given.
    """

    def __call__(
        self, prior: Prior, x: Tensor, t: Int[Tensor, " view"], conditions: Conditions, generator: torch.Generator
    ) -> Trajectory:
        """Draw the noise."""
        if conditions.source_pictures is None:
            raise ValueError("this method compares with the source: give conditions.source_pictures")
        noise = _draw_noise(x, generator)
        source = prior.encode(conditions.source_pictures)
        return Trajectory(
            Noised(prior.schedule.add_noise(x, noise, t), t),
            noise,
            Noised(prior.schedule.add_noise(source, noise, t), t),
        )


@dataclass(frozen=True)
class InvertedNoise:
    """Noise found by running the prior's probability flow backwards (DDIM inversion, Song et al. 2021).

    From the clean x in `steps` equal strides, `x_b = α_b x̂0 + σ_b ε_s(x_a, a)`.

    Attributes:
        steps: number of strides.
        scale: guidance scale of ε_s: 0 is the empty prompt alone (ISM), -6.5 is SDI (its code says -7.5).
        interval: not 0: length of the last stride as a share of all times (ISM's δ_T); its start is the second point.
        eta: η, share of random noise: `√(1 - η²) ε + η n` (after SDI).
    """

    steps: int = 10
    scale: float = 0.0
    interval: float = 0.0
    eta: float = 0.0

    def __call__(
        self, prior: Prior, x: Tensor, t: Int[Tensor, " view"], conditions: Conditions, generator: torch.Generator
    ) -> Trajectory:
        """Invert from x to the times t."""
        schedule = prior.schedule
        start = (t - round(self.interval * len(schedule))).clamp_min(0) if self.interval else t
        current, noise = Noised(x, torch.zeros_like(t)), torch.zeros_like(x)
        clean = x
        for k in range(1, self.steps + 1):
            noise = self._predict(prior, current, conditions)
            clean = x if k == 1 else schedule.remove_noise(current.x, noise, current.t)
            t_next = (start * k).div(self.steps, rounding_mode="floor")
            current = Noised(schedule.add_noise(clean, noise, t_next), t_next)
        if self.interval:
            noise = self._predict(prior, current, conditions)
            at = Noised(schedule.add_noise(schedule.remove_noise(current.x, noise, current.t), noise, t), t)
            return Trajectory(at, _noise_between(schedule, x, at), current, {} if self.scale else {"null": noise})
        noise = _noise_between(schedule, x, current)
        if self.eta:
            noise = math.sqrt(1.0 - self.eta**2) * noise + self.eta * _draw_noise(x, generator)
            current = Noised(schedule.add_noise(x, noise, t), t)
        return Trajectory(current, noise)

    def _predict(self, prior: Prior, current: Noised, conditions: Conditions) -> Tensor:
        null = prior.eps(current, conditions.null.expand(len(current.x)))
        if not self.scale:
            return null
        return null + self.scale * (prior.eps(current, conditions.prompt.expand(len(current.x))) - null)


def _noise_between(schedule: NoiseSchedule, x: Tensor, at: Noised) -> Tensor:
    """The noise that leads from x to a noised batch: `(x_t - α x) / σ`."""
    alpha, sigma = schedule.at(at.t, x)
    return (at.x - alpha * x) / sigma


def _draw_noise(x: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal noise shaped like x, drawn on the generator's device."""
    return torch.randn(x.shape, generator=generator, device=generator.device, dtype=x.dtype).to(x.device)
