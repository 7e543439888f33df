"""What a critic learns: the noise in renders, so that it comes to know their score."""

from dataclasses import replace

import torch

from volkit.guidance.condition import Condition, Conditions
from volkit.guidance.guidance import Guidance
from volkit.guidance.prior import Noised, Prior, Score
from volkit.guidance.second_scores import Critic
from volkit.typing import Float, Tensor

__all__ = ["critic_loss", "denoising_loss"]


def denoising_loss(
    prior: Prior, learner: Score, x: Tensor, condition: Condition, generator: torch.Generator, anti_prior: float = 0.0
) -> Float[Tensor, ""]:
    """`E ‖ε_φ(α x + σ ε, t) - ε‖² + γ ‖ε_φ - ε_p‖²`, t ~ U{0, ..., T-1}, mean over numbers.

    ProlificDreamer (arXiv 2305.16213); γ is Adversarial SD's. On reference pictures in place of renders
    it is what personalises a prior (DreamCraft3D, arXiv 2310.16818).
    """
    together = prior.views
    t = torch.randint(len(prior.schedule), (len(x) // together,), generator=generator, device=generator.device)
    t = t.to(x.device).repeat_interleave(together)
    noise = torch.randn(x.shape, generator=generator, device=generator.device, dtype=x.dtype).to(x.device)
    at, told = Noised(prior.schedule.noised(x, noise, t), t), condition.rows(len(x))
    predicted = learner.eps(at, told)
    loss = (predicted - noise).square().mean()
    if anti_prior:
        with torch.no_grad():
            of_prior = prior.eps(at, told)
        loss = loss + anti_prior * (predicted - of_prior).square().mean()
    return loss


def critic_loss(
    guidance: Guidance,
    pictures: Float[Tensor, "view height width 3"],
    conditions: Conditions,
    generator: torch.Generator,
    camera_drop: float = 0.1,
) -> Float[Tensor, ""]:
    """What the critic of a guidance learns from pictures, of whichever particle: one critic serves them all.

    The camera is left out in a tenth of the steps, so that the critic knows the score without it as well.
    """
    second = guidance.method.second
    if not isinstance(second, Critic) or guidance.critic is None:
        raise ValueError("only methods with a critic train one: build Guidance(prior, vsd(), critic)")
    with torch.no_grad():
        x = guidance.prior.encode(pictures.detach())
    told = conditions.named("critic")
    told = told if second.controlled else replace(told, control=None)
    if float(torch.rand((), generator=generator, device=generator.device)) < camera_drop:
        told = replace(told, camera=None)
    return denoising_loss(guidance.prior, guidance.critic, x, told, generator, second.anti_prior)
