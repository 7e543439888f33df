"""What is subtracted from the guided prediction: the second of the five parts."""

from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch

from volkit.guidance.combine import RandomScale
from volkit.guidance.step_predictions import StepPredictions
from volkit.typing import Tensor

__all__ = [
    "Critic",
    "NegativePrompt",
    "NoSecondScore",
    "PriorAtSecondPoint",
    "SampledNoise",
    "SecondScore",
    "SourceBranch",
]


class SecondScore(Protocol):
    """A prediction to compare with."""

    def __call__(self, predictions: StepPredictions) -> Tensor:
        """Shaped like the noised batch."""
        ...


@dataclass(frozen=True)
class SampledNoise:
    """The noise that was put in: `ε` (SDS), or for an inverted path the noise that was found (SDI)."""

    def __call__(self, predictions: StepPredictions) -> Tensor:
        """The path's own noise."""
        return predictions.noise


@dataclass(frozen=True)
class NoSecondScore:
    """Nothing: the combination is already a difference, or a score (LD)."""

    def __call__(self, predictions: StepPredictions) -> Tensor:
        """Zero."""
        return torch.zeros_like(predictions.noise)


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

    def __call__(self, predictions: StepPredictions) -> Tensor:
        """The critic's prediction."""
        told = predictions.conditions.get("critic").expand(len(predictions.at.x))
        told = told if self.controlled else replace(told, control=None)
        prediction = predictions.critic.eps(predictions.at, told)
        if self.view_free:
            free = predictions.critic.eps(predictions.at, replace(told, camera=None))
            prediction = self.view_free * free + (1.0 - self.view_free) * prediction
        if self.scale != 1.0:
            null = predictions.critic.eps(predictions.at, predictions.conditions.null.expand(len(predictions.at.x)))
            scale = self.scale.draw(predictions) if isinstance(self.scale, RandomScale) else self.scale
            prediction = null + scale * (prediction - null)
        return prediction


@dataclass(frozen=True)
class NegativePrompt:
    """`ε_neg` from `since` T on, nothing before: there ε_∅ alone points to the domain (NFSD)."""

    since: float = 0.2

    def __call__(self, predictions: StepPredictions) -> Tensor:
        """The prediction under the negative prompt, zero at early times."""
        late = (predictions.at.t >= self.since * len(predictions.prior.schedule)).view(
            -1, *(1,) * (predictions.at.x.ndim - 1)
        )
        return predictions.evaluate("negative")[0] * late if late.any() else torch.zeros_like(predictions.noise)


@dataclass(frozen=True)
class PriorAtSecondPoint:
    """The prior at the path's second place: earlier without words (ISM), later with the prompt (Asynchronous SD)."""

    words: Literal["prompt", "null"]

    def __call__(self, predictions: StepPredictions) -> Tensor:
        """Its prediction there."""
        return predictions.evaluate_second(self.words)[0]


@dataclass(frozen=True)
class SourceBranch:
    """The guided prediction for what there was at the start, under its own words (DDS)."""

    scale: float = 7.5

    def __call__(self, predictions: StepPredictions) -> Tensor:
        """`ε_∅ + s (ε_src - ε_∅)` at the second place."""
        source, null = predictions.evaluate_second("source", "null")
        return null + self.scale * (source - null)
