"""Sampling of a prior by DDIM, from noise or from a noised picture."""

import torch

from volkit.guidance.combine import Cfg, Combination
from volkit.guidance.condition import Conditions
from volkit.guidance.paths import Trajectory
from volkit.guidance.prior import Noised, Prior
from volkit.guidance.step_predictions import StepPredictions
from volkit.typing import Tensor

__all__ = ["denoise", "sample"]


@torch.no_grad()
def denoise(
    prior: Prior,
    at: Noised,
    conditions: Conditions,
    generator: torch.Generator,
    combine: Combination | None = None,
    steps: int = 50,
) -> Tensor:
    """Integrate the probability flow from a noised batch to a clean one (DDIM, Song et al. 2021, equation 12, η = 0).

    `x_s = α_s x̂0 + σ_s ε_s(x_t, t)` in equal strides of time. From a picture noised to an intermediate time it is
    SDEdit (Meng et al. 2022).
    """
    combine, clean = combine or Cfg(), at.x
    start, schedule = at.t, prior.schedule
    for k in range(steps, 0, -1):
        predictions = StepPredictions(prior, None, conditions, Trajectory(at, torch.zeros_like(at.x)), 0.0, generator)
        noise = combine(predictions)
        clean = schedule.remove_noise(at.x, noise, at.t)
        earlier = (start * (k - 1)).div(steps, rounding_mode="floor")
        at = Noised(schedule.add_noise(clean, noise, earlier), earlier)
    return clean


def sample(
    prior: Prior,
    shape: tuple[int, ...],
    conditions: Conditions,
    generator: torch.Generator,
    combine: Combination | None = None,
    steps: int = 50,
) -> Tensor:
    """Sample a prior, in its own space, from noise of the shape [view, channel, row, column]."""
    device = prior.schedule.alpha.device
    noise = torch.randn(shape, generator=generator, device=generator.device).to(device)
    # The last time whose α is not zero: schedules that end in pure noise have no x̂0 there.
    last = int((prior.schedule.alpha > 1e-4).nonzero().max())
    at = Noised(noise, torch.full((shape[0],), last, device=device))
    return denoise(prior, at, conditions, generator, combine, steps)
