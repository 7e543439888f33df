"""What is subtracted from the guided prediction: the second of the five parts."""

from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch

from volkit.guidance.combine import RandomScale
from volkit.guidance.step_predictions import StepPredictions
from volkit.typing import Tensor

__all__ = ["Critic", "NegativeWords", "NoSecond", "PriorElsewhere", "SampledNoise", "SecondScore", "SourceBranch"]


class SecondScore(Protocol):
    """A prediction to compare with."""

    def __call__(self, ask: StepPredictions) -> Tensor:
        """Shaped like the noised batch."""
        ...


@dataclass(frozen=True)
class SampledNoise:
    """The noise that was put in: `ε` (SDS), or for an inverted path the noise that was found (SDI)."""

    def __call__(self, ask: StepPredictions) -> Tensor:
        """The path's own noise."""
        return ask.noise


@dataclass(frozen=True)
class NoSecond:
    """Nothing: the combination is already a difference, or a score (LD)."""

    def __call__(self, ask: StepPredictions) -> Tensor:
        """Zero."""
        return torch.zeros_like(ask.noise)


@dataclass(frozen=True)
class Critic:
    """A network that knows what renders look like: `λ ε_φ(x_t; ∅_c) + (1 - λ) ε_φ(x_t; c)` (ESD).

    λ, `view_free`, is the share of the prediction that is not told the camera; 0 is VSD. `scale` guides the critic as
    the prior is guided (SwiftBrush; PG-SB by the same random scale). `anti_prior` γ adds `γ ‖ε_φ - ε_p‖²` to what the
    critic learns (Adversarial SD). `controlled` tells the critic the same control picture as the prior (LG-VSD).
    """

    view_free: float = 0.0
    scale: float | RandomScale = 1.0
    anti_prior: float = 0.0
    controlled: bool = False

    def __call__(self, ask: StepPredictions) -> Tensor:
        """The critic's prediction."""
        told = ask.conditions.named("critic").rows(len(ask.at.x))
        told = told if self.controlled else replace(told, control=None)
        prediction = ask.critic.eps(ask.at, told)
        if self.view_free:
            free = ask.critic.eps(ask.at, replace(told, camera=None))
            prediction = self.view_free * free + (1.0 - self.view_free) * prediction
        if self.scale != 1.0:
            null = ask.critic.eps(ask.at, ask.conditions.null.rows(len(ask.at.x)))
            scale = self.scale.drawn(ask) if isinstance(self.scale, RandomScale) else self.scale
            prediction = null + scale * (prediction - null)
        return prediction


@dataclass(frozen=True)
class NegativeWords:
    """`ε_neg` from `since` T on, nothing before: there ε_∅ alone points to the domain (NFSD)."""

    since: float = 0.2

    def __call__(self, ask: StepPredictions) -> Tensor:
        """The prediction under the negative prompt, zero at early times."""
        late = (ask.at.t >= self.since * len(ask.prior.schedule)).view(-1, *(1,) * (ask.at.x.ndim - 1))
        return ask.here("negative")[0] * late if late.any() else torch.zeros_like(ask.noise)


@dataclass(frozen=True)
class PriorElsewhere:
    """The prior at the path's second place: earlier without words (ISM), later with the prompt (Asynchronous SD)."""

    words: Literal["prompt", "null"]

    def __call__(self, ask: StepPredictions) -> Tensor:
        """Its prediction there."""
        return ask.second(self.words)[0]


@dataclass(frozen=True)
class SourceBranch:
    """The guided prediction for what there was at the start, under its own words (DDS)."""

    scale: float = 7.5

    def __call__(self, ask: StepPredictions) -> Tensor:
        """`ε_∅ + s (ε_src - ε_∅)` at the second place."""
        source, null = ask.second("source", "null")
        return null + self.scale * (source - null)
