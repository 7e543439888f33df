"""How much of a picture and how much noise there is at every time of a diffusion."""

from dataclasses import dataclass
from typing import Self

import torch

from volkit.typing import Float, Int, Tensor

__all__ = ["NoiseSchedule"]


@dataclass(frozen=True)
class NoiseSchedule:
    """`x_t = α_t x + σ_t ε` for the times 0 .. T-1: a table of α and one of σ.

    Diffusions have `α² + σ² = 1` (Ho et al. 2020, equation 4), rectified flows `α + σ = 1` (Liu et al. 2022).

    Attributes:
        alpha: how much of the picture is left at each time.
        sigma: how much noise there is.

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
        """`α x + σ ε`."""
        alpha, sigma = self.at(t, x)
        return alpha * x + sigma * noise

    def remove_noise(self, noised: Tensor, noise: Tensor, t: Int[Tensor, " view"]) -> Tensor:
        """What was there before this noise: `x̂0 = (x_t - σ ε) / α`."""
        alpha, sigma = self.at(t, noised)
        return (noised - sigma * noise) / alpha

    @staticmethod
    def from_alphas_cumprod(alphas_cumprod: Float[Tensor, " time"]) -> "NoiseSchedule":
        """Of a diffusion: `α = √ᾱ`, `σ = √(1 - ᾱ)`."""
        cumulated = alphas_cumprod.double()
        return NoiseSchedule(cumulated.sqrt(), (1.0 - cumulated).sqrt())

    @staticmethod
    def stable_diffusion(steps: int = 1000) -> "NoiseSchedule":
        """Betas whose roots grow linearly, .00085 to .012 (Rombach et al. 2022, their configuration)."""
        roots = torch.linspace(0.00085**0.5, 0.012**0.5, steps, dtype=torch.float64)
        return NoiseSchedule.from_alphas_cumprod((1.0 - roots.square()).cumprod(0))

    @staticmethod
    def rectified_flow(steps: int = 1000) -> "NoiseSchedule":
        """`α = 1 - τ`, `σ = τ` at τ = (t + 1) / T (Liu et al. 2022; Esser et al. 2024)."""
        sigma = torch.arange(1, steps + 1, dtype=torch.float64) / steps
        return NoiseSchedule(1.0 - sigma, sigma)
