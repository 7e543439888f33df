"""Losses of the networks that learn beside a scene: critics, personalised priors, and density ratios."""

import math
from dataclasses import replace

import torch
from torch import nn
from torch.nn.functional import softplus

from volkit.guidance.condition import Condition, Conditions
from volkit.guidance.guidance import Guidance
from volkit.guidance.noise_schedule import NoiseSchedule
from volkit.guidance.prior import Noised, Prior, Score
from volkit.guidance.second_scores import Critic
from volkit.typing import Float, Tensor

__all__ = ["Discriminator", "critic_loss", "denoising_loss"]


def denoising_loss(
    prior: Prior, learner: Score, x: Tensor, condition: Condition, generator: torch.Generator, anti_prior: float = 0.0
) -> Float[Tensor, ""]:
    """Denoising loss `E ‖ε_φ(α x + σ ε, t) - ε‖² + γ ‖ε_φ - ε_p‖²`, t ~ U{0, ..., T-1}, mean over numbers.

    ProlificDreamer (arXiv 2305.16213); γ is Adversarial SD's. On reference pictures instead of renders it
    personalises a prior (DreamCraft3D, arXiv 2310.16818). Differentiable in the learner's parameters.
    """
    views = prior.views
    t = torch.randint(len(prior.schedule), (len(x) // views,), generator=generator, device=generator.device)
    t = t.to(x.device).repeat_interleave(views)
    noise = torch.randn(x.shape, generator=generator, device=generator.device, dtype=x.dtype).to(x.device)
    at, condition = Noised(prior.schedule.add_noise(x, noise, t), t), condition.expand(len(x))
    predicted = learner.eps(at, condition)
    loss = (predicted - noise).square().mean()
    if anti_prior:
        with torch.no_grad():
            of_prior = prior.eps(at, condition)
        loss = loss + anti_prior * (predicted - of_prior).square().mean()
    return loss


def critic_loss(
    guidance: Guidance,
    pictures: Float[Tensor, "view height width 3"],
    conditions: Conditions,
    generator: torch.Generator,
    camera_drop: float = 0.1,
) -> Float[Tensor, ""]:
    """`denoising_loss` of the critic of a guidance on rendered pictures; all particles share one critic.

    The camera is dropped in a tenth of the steps, so that the critic learns the score without it as well.
    ValueError where the method has no critic.
    """
    second = guidance.method.second
    if not isinstance(second, Critic) or guidance.critic is None:
        raise ValueError("only methods with a critic train one: build Guidance(prior, vsd(), critic)")
    with torch.no_grad():
        x = guidance.prior.encode(pictures.detach())
    condition = conditions.get("critic")
    condition = condition if second.controlled else replace(condition, control=None)
    if float(torch.rand((), generator=generator, device=generator.device)) < camera_drop:
        condition = replace(condition, camera=None)
    return denoising_loss(guidance.prior, guidance.critic, x, condition, generator, second.anti_prior)


class Discriminator(nn.Module):
    """`log r = log p_t(x_t) - log q_t(x_t)` by a small convolutional network that also takes α and σ.

    The logistic loss `E_p[log(1 + e^-D)] + E_q[log(1 + e^D)]` is least where D is the log ratio (Goodfellow et al.
    2014; f-distill, arXiv 2502.15681). r is divided by its mean over the batch, as f-distill does: a ratio has mean 1
    among renders.
    """

    def __init__(self, channels: int, schedule: NoiseSchedule, generator: torch.Generator, width: int = 32) -> None:
        super().__init__()
        self.schedule = schedule
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator, device=generator.device)))
            self.time = nn.Linear(2, width)
            self.first = nn.Conv2d(channels, width, 3, padding=1)
            self.second = nn.Conv2d(width, width, 3, stride=2, padding=1)
            self.last = nn.Linear(width, 1)

    def forward(self, at: Noised, prompt: Condition, critic: Condition) -> Float[Tensor, " view"]:
        """The log ratio, normalised over the batch."""
        del prompt, critic  # one discriminator a prompt
        raw = self.raw(at)
        return (raw - (raw.logsumexp(0) - math.log(len(raw)))).to(at.x.dtype)

    def raw(self, at: Noised) -> Float[Tensor, " view"]:
        """D before normalisation."""
        weight = self.first.weight
        levels = torch.stack([self.schedule.alpha[at.t], self.schedule.sigma[at.t]], -1).to(weight)
        hidden = torch.nn.functional.silu(self.first(at.x.to(weight)) + self.time(levels)[:, :, None, None])
        return self.last(torch.nn.functional.silu(self.second(hidden)).mean((-2, -1)))[:, 0]

    def loss(self, drawn: Tensor, renders: Tensor, generator: torch.Generator) -> Float[Tensor, ""]:
        """The logistic loss of clean batches in the prior's space: samples of the prior, and encoded renders."""
        return softplus(-self._logits(drawn, generator)).mean() + softplus(self._logits(renders, generator)).mean()

    def _logits(self, x: Tensor, generator: torch.Generator) -> Float[Tensor, " view"]:
        steps, device = len(self.schedule), generator.device
        t = torch.randint(steps // 50, steps, (len(x),), generator=generator, device=device).to(x.device)
        noise = torch.randn(x.shape, generator=generator, device=device, dtype=x.dtype).to(x.device)
        return self.raw(Noised(self.schedule.add_noise(x, noise, t), t))
