"""Second scores, which are subtracted from the guided prediction: the second of the five parts of a method."""

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
    """The score that is subtracted from the guided prediction."""

    def __call__(self, predictions: StepPredictions) -> Tensor:
        """The prediction, shaped like the noised batch."""
        ...


@dataclass(frozen=True)
class SampledNoise:
    """The noise `ε` of the path: sampled (SDS, Poole et al. 2022) or inverted (SDI, Lukoianov et al. 2024)."""

    def __call__(self, predictions: StepPredictions) -> Tensor:
        """The noise of the path."""
        return predictions.noise


@dataclass(frozen=True)
class NoSecondScore:
    """Zero, for combinations that are differences already (CSD), or a plain score (LD)."""

    def __call__(self, predictions: StepPredictions) -> Tensor:
        """Zero."""
        return torch.zeros_like(predictions.noise)


@dataclass(frozen=True)
class Critic:
    """The score of the renders, by a network that is trained on them: `λ ε_φ(x_t; ∅_c) + (1 - λ) ε_φ(x_t; c)` (ESD).

    Attributes:
        view_free: λ, the share of the prediction without the camera c; 0 is VSD.
        scale: guidance scale of the critic (SwiftBrush), or a `RandomScale`, the same as the prior's (PG-SB).
        anti_prior: γ, weight of `γ ‖ε_φ - ε_p‖²` in the critic's loss (Adversarial SD).
        controlled: whether the critic takes the prior's control picture (LG-VSD).
    """

    view_free: float = 0.0
    scale: float | RandomScale = 1.0
    anti_prior: float = 0.0
    controlled: bool = False

    def __call__(self, predictions: StepPredictions) -> Tensor:
        """The critic's prediction."""
        condition = predictions.conditions.get("critic").expand(len(predictions.at.x))
        condition = condition if self.controlled else replace(condition, control=None)
        prediction = predictions.critic.eps(predictions.at, condition)
        if self.view_free:
            free = predictions.critic.eps(predictions.at, replace(condition, camera=None))
            prediction = self.view_free * free + (1.0 - self.view_free) * prediction
        if self.scale != 1.0:
            null = predictions.critic.eps(predictions.at, predictions.conditions.null.expand(len(predictions.at.x)))
            scale = self.scale.draw(predictions) if isinstance(self.scale, RandomScale) else self.scale
            prediction = null + scale * (prediction - null)
        return prediction


@dataclass(frozen=True)
class NegativePrompt:
    """`ε_neg` from time `since T` on, zero before, where ε_∅ alone points to the domain (NFSD, arXiv 2310.17590).

    Attributes:
        since: share of T.
    """

    since: float = 0.2

    def __call__(self, predictions: StepPredictions) -> Tensor:
        """The prediction under the negative prompt, zero at early times."""
        late = (predictions.at.t >= self.since * len(predictions.prior.schedule)).view(
            -1, *(1,) * (predictions.at.x.ndim - 1)
        )
        return predictions.evaluate("negative")[0] * late if late.any() else torch.zeros_like(predictions.noise)


@dataclass(frozen=True)
class PriorAtSecondPoint:
    """The prior at the path's second point: earlier without prompt (ISM), or later with it (Asynchronous SD).

    Attributes:
        words: which condition: `prompt` or `null`.
    """

    words: Literal["prompt", "null"]

    def __call__(self, predictions: StepPredictions) -> Tensor:
        """The prediction at the second point; ValueError where the path has none."""
        return predictions.evaluate_second(self.words)[0]


@dataclass(frozen=True)
class SourceBranch:
    """The guided prediction for the noised source, under the source's prompt (DDS, arXiv 2304.07090).

    Attributes:
        scale: of classifier-free guidance, `s`.
    """

    scale: float = 7.5

    def __call__(self, predictions: StepPredictions) -> Tensor:
        """`ε_∅ + s (ε_src - ε_∅)` at the second point."""
        source, null = predictions.evaluate_second("source", "null")
        return null + self.scale * (source - null)
