"""Noise schedules of diffusions, and the quantities that networks predict."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch

from volkit.typing import Float, Int, Tensor

__all__ = ["PREDICTIONS", "NoiseSchedule", "Prediction"]


@dataclass(frozen=True)
class NoiseSchedule:
    """`x_t = α_t x + σ_t ε` for the times 0 .. T-1: a table of α and one of σ.

    Diffusions have `α² + σ² = 1` (Ho et al. 2020, equation 4), rectified flows `α + σ = 1` (Liu et al. 2022).

    Attributes:
        alpha: factor of the picture at each time.
        sigma: standard deviation of the noise.

    Example:
        >>> schedule = NoiseSchedule.rectified_flow(steps=4)
        >>> schedule.alpha.tolist(), schedule.sigma.tolist()
        ([0.75, 0.5, 0.25, 0.0], [0.25, 0.5, 0.75, 1.0])
    """

    alpha: Float[Tensor, " time"]
    sigma: Float[Tensor, " time"]

    def __len__(self) -> int:
        return len(self.alpha)

    def to(self, device: torch.device | str) -> Self:
        """The same tables on another device."""
        return type(self)(self.alpha.to(device), self.sigma.to(device))

    def at(self, t: Int[Tensor, " view"], like: Tensor) -> tuple[Tensor, Tensor]:
        """α and σ of every view's time, shaped and typed to multiply `like` [view, ...]."""
        shape = (-1, *(1,) * (like.ndim - 1))
        return self.alpha[t].to(like.dtype).view(shape), self.sigma[t].to(like.dtype).view(shape)

    def add_noise(self, x: Tensor, noise: Tensor, t: Int[Tensor, " view"]) -> Tensor:
        """`x_t = α x + σ ε`."""
        alpha, sigma = self.at(t, x)
        return alpha * x + sigma * noise

    def remove_noise(self, noised: Tensor, noise: Tensor, t: Int[Tensor, " view"]) -> Tensor:
        """The clean batch under a noise prediction: `x̂0 = (x_t - σ ε) / α`."""
        alpha, sigma = self.at(t, noised)
        return (noised - sigma * noise) / alpha

    @staticmethod
    def from_alphas_cumprod(alphas_cumprod: Float[Tensor, " time"]) -> "NoiseSchedule":
        """The schedule of a variance-preserving diffusion: `α = √ᾱ`, `σ = √(1 - ᾱ)`."""
        cumulated = alphas_cumprod.double()
        return NoiseSchedule(cumulated.sqrt(), (1.0 - cumulated).sqrt())

    @staticmethod
    def stable_diffusion(steps: int = 1000) -> "NoiseSchedule":
        """The schedule of Stable Diffusion: √β grows linearly, β from .00085 to .012 (Rombach et al. 2022)."""
        roots = torch.linspace(0.00085**0.5, 0.012**0.5, steps, dtype=torch.float64)
        return NoiseSchedule.from_alphas_cumprod((1.0 - roots.square()).cumprod(0))

    @staticmethod
    def rectified_flow(steps: int = 1000) -> "NoiseSchedule":
        """A rectified flow: `α = 1 - τ`, `σ = τ` at τ = (t + 1) / T (Liu et al. 2022; Esser et al. 2024)."""
        sigma = torch.arange(1, steps + 1, dtype=torch.float64) / steps
        return NoiseSchedule(1.0 - sigma, sigma)


@dataclass(frozen=True)
class Prediction:
    """A parametrisation of the network's output: to ε, and from a clean batch and ε; α and σ come last."""

    eps: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # (output, x_t, α, σ)
    target: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # (x, ε, α, σ)


# By the names that diffusers' schedulers give them; v after Salimans and Ho 2022, flow after Liu et al. 2022.
PREDICTIONS = {
    "epsilon": Prediction(lambda out, x_t, alpha, sigma: out, lambda x, eps, alpha, sigma: eps),
    "v_prediction": Prediction(
        lambda out, x_t, alpha, sigma: alpha * out + sigma * x_t, lambda x, eps, alpha, sigma: alpha * eps - sigma * x
    ),
    "sample": Prediction(lambda out, x_t, alpha, sigma: (x_t - alpha * out) / sigma, lambda x, eps, alpha, sigma: x),
    "flow_prediction": Prediction(
        lambda out, x_t, alpha, sigma: x_t + alpha * out, lambda x, eps, alpha, sigma: eps - x
    ),
}
