"""The gradient of score distillation with respect to pictures: one formula, five parts."""

from dataclasses import dataclass, field

import torch
from torch.nn.functional import interpolate

from volkit.guidance.combine import Cfg, Combination
from volkit.guidance.condition import Conditions
from volkit.guidance.paths import NoisePath, RandomNoise
from volkit.guidance.prior import Prior, Score
from volkit.guidance.ramps import Times, Uniform
from volkit.guidance.ratio import Divergence, LogRatio, density_weight
from volkit.guidance.second_scores import SampledNoise, SecondScore
from volkit.guidance.step_predictions import StepPredictions
from volkit.guidance.weights import Shaping, Weight, sigma_squared
from volkit.typing import Float, Int, Tensor

__all__ = ["Guidance", "Method", "NoisyView"]


@dataclass(frozen=True)
class Method:
    """A method of score distillation: noise path, second score, combination, weight, times, and shaping functions.

    Attributes:
        path: how noise is added: drawn, fixed, or found by inversion.
        second: the score that is subtracted: the noise itself, a critic, nothing, ...
        combine: how the predictions of the prior are combined to one.
        weight: `w(α, σ)`.
        times: how diffusion times are drawn over the run.
        shaping: functions applied to the direction afterwards, in order.
        picture: weight of HiFA's term on the decoded picture.
        divergence: name of `h` in the weight `h(p_t / q_t)`.

    Example:
        >>> Method(combine=Cfg(7.5), weight=lambda alpha, sigma: sigma).second
        SampledNoise()
    """

    path: NoisePath = field(default_factory=RandomNoise)
    second: SecondScore = field(default_factory=SampledNoise)
    combine: Combination = field(default_factory=Cfg)
    weight: Weight = sigma_squared
    times: Times = field(default_factory=Uniform)
    shaping: tuple[Shaping, ...] = ()
    picture: float = 0.0
    divergence: Divergence = "reverse_kl"


@dataclass(frozen=True)
class NoisyView:
    """The result of a step: the gradient of `L = ½ Σ ‖x - sg(x - g)‖² / views`, x being the encoded pictures.

    Attributes:
        gradient: `∂L/∂pictures`, through the prior's encoder.
        direction: `g`, in the prior's space.
        t: the time of each group of views that the prior treats as one object.
        noised: `x_t`, the input of the prior.
    """

    gradient: Float[Tensor, "view height width 3"]
    direction: Tensor
    t: Int[Tensor, " group"]
    noised: Tensor

    @property
    def loss(self) -> float:
        """The value of L."""
        return 0.5 * float(self.direction.square().sum()) / len(self.gradient)


@dataclass(frozen=True)
class Guidance:
    """`g = w(t) h(r) A[combination - second score]`: a method of score distillation on a prior.

    `step` is a pure function of its arguments. A critic is trained beside it, see `critic_loss`.

    Attributes:
        prior: the diffusion model.
        method: the rule.
        critic: the second score of methods that train one.
        log_ratio: `log p_t / q_t`, for methods that weight by a divergence.
    """

    prior: Prior
    method: Method
    critic: Score | None = None
    log_ratio: LogRatio | None = None

    def step(
        self,
        pictures: Float[Tensor, "view height width 3"],
        conditions: Conditions,
        generator: torch.Generator,
        step: int = 0,
        fraction: float = 0.0,
    ) -> NoisyView:
        """The gradient of the method with respect to pictures, at a step of the run.

        Args:
            pictures: display-referred, in [0, 1]; no gradient is taken through how they were made.
            conditions: of the terms of the method.
            generator: draws noise and times; on the pictures' device.
            step: number of the step, for messages.
            fraction: share of the run that is done, 0 to 1, on which ramps depend.

        Raises:
            ValueError: the number of views does not suit the prior, or something that the method needs is missing.
            FloatingPointError: a part is not finite; the message names it, the step and the fix.
        """
        with torch.enable_grad():
            leaf = pictures.detach().requires_grad_()
            encoded = self.prior.encode(leaf)
        x = encoded.detach()
        with torch.no_grad():
            t = self._times(len(x), fraction, generator)
            trajectory = self.method.path(self.prior, x, t, conditions, generator)
            predictions = StepPredictions(self.prior, self.critic, conditions, trajectory, fraction, generator)
            combined = self.method.combine(predictions)
            direction = combined - self.method.second(predictions)
            for shape in self.method.shaping:
                direction = shape(direction, fraction)
            alpha, sigma = self.prior.schedule.at(t, x)
            g = self.method.weight(alpha, sigma) * self._density_weight(predictions) * direction
        _check(combined, f"the combination, {_kind(self.method.combine)} of {_kind(self.prior)}", step, t)
        _check(g, f"the second score, {_kind(self.method.second)}, or the weight", step, t)
        (gradient,) = torch.autograd.grad(encoded, leaf, g)
        if self.method.picture:
            gradient = gradient + self._picture_term(pictures, predictions, combined)
        _check(gradient, "the gradient through the encoder", step, t)
        return NoisyView(gradient / len(pictures), g, t, predictions.at.x)

    def _times(self, count: int, fraction: float, generator: torch.Generator) -> Int[Tensor, " group"]:
        """Views that the prior treats as one object share a time."""
        views = self.prior.views
        if count % views:
            raise ValueError(f"this prior takes {views} views at once and was given {count}: give a multiple")
        times = self.method.times(self.prior.schedule, count // views, fraction, generator)
        return times.repeat_interleave(views)

    def _density_weight(self, predictions: StepPredictions) -> Tensor | float:
        if self.method.divergence == "reverse_kl":
            return 1.0
        if self.log_ratio is None:
            raise ValueError(f"{self.method.divergence} weights by p_t / q_t: build Guidance(..., log_ratio=...)")
        count = len(predictions.at.x)
        prompt, critic = (predictions.conditions.get(name).expand(count) for name in ("prompt", "critic"))
        weight = density_weight(self.method.divergence, self.log_ratio(predictions.at, prompt, critic))
        return weight.to(predictions.at.x).view(-1, *(1,) * (predictions.at.x.ndim - 1))

    def _picture_term(self, pictures: Tensor, predictions: StepPredictions, combined: Tensor) -> Tensor:
        """`λ w (α / σ) (picture - decode(x̂0))` (HiFA)."""
        schedule = self.prior.schedule
        with torch.no_grad():
            clean = _resize(
                self.prior.decode(schedule.remove_noise(predictions.at.x, combined, predictions.at.t)), pictures
            )
            alpha, sigma = schedule.at(predictions.at.t.repeat_interleave(len(clean) // len(predictions.at.t)), clean)
            return self.method.picture * self.method.weight(alpha, sigma) * alpha / sigma * (pictures - clean)


def _resize(clean: Tensor, pictures: Tensor) -> Tensor:
    """The decoded pictures, which have the prior's size, at the size of the rendered ones."""
    if clean.shape == pictures.shape:
        return clean
    size = pictures.shape[1:3]
    return interpolate(clean.movedim(-1, 1), size, mode="bilinear", align_corners=False).movedim(1, -1)


def _kind(part: object) -> str:
    return type(part).__name__


def _check(values: Tensor, part: str, step: int, t: Tensor) -> None:
    finite = torch.isfinite(values)
    if not finite.all():
        broken = f"{int((~finite).sum())} of {values.numel()} numbers"
        raise FloatingPointError(
            f"guidance, step {step}, times {t.tolist()}: {part} is not finite in {broken}: "
            "lower the guidance scale or the learning rate, or use float32"
        )
