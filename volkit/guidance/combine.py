"""Combinations of noise predictions, such as classifier-free guidance: the third of the five parts of a method."""

from dataclasses import dataclass
from typing import Protocol

import torch

from volkit.guidance.ramps import Ramp, value
from volkit.guidance.step_predictions import StepPredictions
from volkit.typing import Tensor

__all__ = ["Bounded", "Cfg", "Combination", "Linear", "MinNorm", "PerpNeg", "RandomScale"]


class Combination(Protocol):
    """Combines the predictions of a step to a guided one."""

    def __call__(self, predictions: StepPredictions) -> Tensor:
        """The guided noise, shaped like the noised batch."""
        ...


@dataclass(frozen=True)
class Cfg:
    """Classifier-free guidance, `ε_∅ + s (ε_y - ε_∅)`: s = 1 is the prompt alone (Ho and Salimans 2021).

    Attributes:
        scale: `s`, a number or a ramp over the run.
        rescale: `φ`, how far the standard deviation of the denoised picture is drawn to that of the prompt alone,
            `x̂0 ← φ x̂0 std(x̂0_y) / std(x̂0) + (1 - φ) x̂0` over the views of a group (Lin et al. 2023, section 3.4;
            MVDream).
    """

    scale: float | Ramp = 7.5
    rescale: float = 0.0

    def __call__(self, predictions: StepPredictions) -> Tensor:
        """The guided prediction."""
        scale = value(self.scale, predictions.fraction)
        if scale == 1.0:
            return predictions.evaluate("prompt")[0]
        prompt, null = predictions.evaluate("prompt", "null")
        guided = null + scale * (prompt - null)
        return _rescale(predictions, guided, prompt, self.rescale) if self.rescale else guided


@dataclass(frozen=True)
class Bounded:
    """The prediction of another combination with `x̂0` clamped to [-limit, limit], the range of pixels.

    `ε ← (x_t - α clip(x̂0)) / σ`: guidance beyond black and white would only saturate (static thresholding, Saharia
    et al. 2022, section 2.3). For combinations that predict noise in pixel space.

    Attributes:
        combine: the combination whose prediction is clamped.
        limit: largest magnitude of a number of `x̂0`.
    """

    combine: Combination
    limit: float = 1.0

    def __call__(self, predictions: StepPredictions) -> Tensor:
        """The bounded prediction."""
        schedule, eps = predictions.prior.schedule, self.combine(predictions)
        clean = schedule.remove_noise(predictions.at.x, eps, predictions.at.t)
        alpha, sigma = schedule.at(predictions.at.t, predictions.at.x)
        return (predictions.at.x - alpha * clean.clamp(-self.limit, self.limit)) / sigma


def _rescale(predictions: StepPredictions, guided: Tensor, prompt: Tensor, amount: float) -> Tensor:
    schedule, views = predictions.prior.schedule, predictions.prior.views

    def spread(clean: Tensor) -> Tensor:
        std = clean.reshape(len(clean) // views, -1).std(-1).repeat_interleave(views)
        return std.view(-1, *(1,) * (clean.ndim - 1))

    clean = schedule.remove_noise(predictions.at.x, guided, predictions.at.t)
    ratio = spread(schedule.remove_noise(predictions.at.x, prompt, predictions.at.t)) / spread(clean)
    alpha, sigma = schedule.at(predictions.at.t, predictions.at.x)
    return (predictions.at.x - alpha * clean * (1.0 + amount * (ratio - 1.0))) / sigma


@dataclass(frozen=True)
class RandomScale:
    """Classifier-free guidance with `s ~ U(low, high)`, drawn anew at every step (PG-SB of SNOOPI, arXiv 2412.02687).

    Attributes:
        low: smallest scale.
        high: largest scale.
    """

    low: float
    high: float

    def __call__(self, predictions: StepPredictions) -> Tensor:
        """The guided prediction."""
        return Cfg(self.draw(predictions))(predictions)

    def draw(self, predictions: StepPredictions) -> float:
        """The scale of this step, from the step's one uniform number."""
        return self.low + (self.high - self.low) * predictions.uniform


@dataclass(frozen=True)
class Linear:
    """`c_y ε_y + c_neg ε_neg + c_∅ ε_∅ + c_src ε_src + c_ε ε`; a prediction whose coefficient is 0 is not evaluated.

    Every coefficient is a number or a ramp over the run. Source: the form of CSD's code (arXiv 2310.19415).

    Attributes:
        prompt: `c_y`, of the prediction under the prompt.
        negative: `c_neg`, under the negative prompt.
        null: `c_∅`, the empty prompt.
        source: `c_src`, the prompt of the source.
        noise: `c_ε`, of the noise that was added.

    Example:
        >>> rule = Linear(prompt=7.5, null=-6.5)  # classifier-free guidance of scale 7.5
        >>> rule.prompt + rule.null
        1.0
    """

    prompt: float | Ramp = 0.0
    negative: float | Ramp = 0.0
    null: float | Ramp = 0.0
    source: float | Ramp = 0.0
    noise: float | Ramp = 0.0

    def __call__(self, predictions: StepPredictions) -> Tensor:
        """The sum of the terms whose coefficient is not zero at this step."""
        names = ("prompt", "negative", "null", "source")
        now = {name: value(getattr(self, name), predictions.fraction) for name in names}
        wanted = [name for name in names if now[name]]
        total = value(self.noise, predictions.fraction) * predictions.noise
        for name, eps in zip(wanted, predictions.evaluate(*wanted), strict=True):
            total = total + now[name] * eps
        return total


@dataclass(frozen=True)
class PerpNeg:
    """`ε_∅ + s (e₊ + Σ_i w_i e_i^⊥)` with `e = ε - ε_∅`, `e_i^⊥ = e_i - ⟨e_i, e₊⟩ / ‖e₊‖² e₊`.

    The predictions for the other sides of the object are subtracted (w < 0), without their component along the prompt
    (Perp-Neg, Armandpour et al. 2023). Weights and conditions are `Conditions.beside_weights` and `.beside`.

    Attributes:
        scale: `s`, a number or a ramp over the run.
    """

    scale: float | Ramp = 7.5

    def __call__(self, predictions: StepPredictions) -> Tensor:
        """The guided prediction."""
        beside = [f"beside{i}" for i in range(len(predictions.conditions.beside))]
        prompt, null, *others = predictions.evaluate("prompt", "null", *beside)
        main = prompt - null
        direction = main
        weights = () if predictions.conditions.beside_weights is None else predictions.conditions.beside_weights
        for weight, other in zip(weights, others, strict=True):
            away = other - null
            parallel = _dot(away, main) / _dot(main, main).clamp_min(torch.finfo(main.dtype).tiny)
            direction = direction + weight.to(main).view(-1, *(1,) * (main.ndim - 1)) * (away - parallel * main)
        return null + value(self.scale, predictions.fraction) * direction


@dataclass(frozen=True)
class MinNorm:
    """The shortest vector between `c = λ (ε_y - ε_∅)` and `d = ε_∅`: a step along it worsens neither of the two.

    `a c + (1 - a) d` with `a = clip(⟨d - c, d⟩ / ‖d - c‖², 0, 1)` (Balanced SD; MGDA, Désidéri 2012).

    Attributes:
        scale: `λ`.
    """

    scale: float = 15.0

    def __call__(self, predictions: StepPredictions) -> Tensor:
        """The balanced direction."""
        prompt, null = predictions.evaluate("prompt", "null")
        wanted = self.scale * (prompt - null)
        difference = null - wanted
        share = _dot(difference, null) / _dot(difference, difference).clamp_min(torch.finfo(null.dtype).tiny)
        share = share.clamp(0.0, 1.0)
        return share * wanted + (1.0 - share) * null


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product per view, shaped to multiply."""
    return (a * b).sum(tuple(range(1, a.ndim)), keepdim=True)
