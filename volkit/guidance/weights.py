"""How much a time of the diffusion counts: w(t)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from volkit.guidance.ramps import Ramp, value
from volkit.typing import Tensor

__all__ = [
    "WEIGHTS",
    "Clip",
    "Mirror",
    "RankWeighting",
    "Shaping",
    "Weight",
    "alpha",
    "alpha_over_sigma",
    "alpha_sigma_squared",
    "inverse_sigma_squared",
    "one",
    "sigma_over_alpha",
    "sigma_squared",
]


Weight = Callable[[Tensor, Tensor], Tensor]  # α and σ in, w out


GROWING_LIMIT = Ramp(((0.0, 0.5), (1.0, 2.0)))


def sigma_squared(alpha: Tensor, sigma: Tensor) -> Tensor:
    """`w = σ²` (DreamFusion)."""
    del alpha
    return sigma.square()


def one(alpha: Tensor, sigma: Tensor) -> Tensor:
    """`w = 1` (SJC, DDS)."""
    del sigma
    return alpha.new_ones(alpha.shape)


def sigma_over_alpha(alpha: Tensor, sigma: Tensor) -> Tensor:
    """`w = σ / α`: then SDS is `x - x̂0`, the distance to the one-step denoised picture (MVDream, ISM, SDI)."""
    return sigma / alpha


def alpha_over_sigma(alpha: Tensor, sigma: Tensor) -> Tensor:
    """`w = α / σ`: then `w ε = -∂ log p_t / ∂x` (LD)."""
    return alpha / sigma


def alpha(alpha: Tensor, sigma: Tensor) -> Tensor:
    """`w = α` (Balanced SD)."""
    del sigma
    return alpha


def alpha_sigma_squared(alpha: Tensor, sigma: Tensor) -> Tensor:
    """`w = α σ²` (Fantasia3D, late geometry)."""
    return alpha * sigma.square()


def inverse_sigma_squared(alpha: Tensor, sigma: Tensor) -> Tensor:
    """`w = 1 / σ²` (Fantasia3D, early texture)."""
    del alpha
    return 1.0 / sigma.square()


WEIGHTS: dict[str, Weight] = {
    weight.__name__: weight
    for weight in (
        sigma_squared,
        one,
        sigma_over_alpha,
        alpha_over_sigma,
        alpha,
        alpha_sigma_squared,
        inverse_sigma_squared,
    )
}


class Shaping(Protocol):
    """From one direction to another of the same shape."""

    def __call__(self, direction: Tensor, fraction: float) -> Tensor:
        """Reshaped in value, not in shape."""
        ...


@dataclass(frozen=True)
class Clip:
    """No element beyond ±limit; the limit grows with the run (Debiased SDS, arXiv 2303.15413: .5 to 2)."""

    limit: float | Ramp = GROWING_LIMIT

    def __call__(self, direction: Tensor, fraction: float) -> Tensor:
        """Clamp."""
        limit = value(self.limit, fraction)
        return direction.clamp(-limit, limit)


@dataclass(frozen=True)
class Mirror:
    """Views 2i and 2i+1 look from mirrored sides and share what they learn, mirrored (LD, arXiv 2411.13536).

    `g_a ← (1 - share) g_a + share flip(g_b)` and the reverse, for symmetric subjects; the last axis is the width. A
    quarter is what the authors' code gives to the mirrored view.
    """

    share: float = 0.25

    def __call__(self, direction: Tensor, fraction: float) -> Tensor:
        """Share between pairs."""
        del fraction
        if len(direction) % 2:
            raise ValueError(f"mirrored views come in pairs, and there are {len(direction)} views: give an even number")
        other = direction.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)
        return torch.lerp(direction, other.flip(-1), self.share)


@dataclass(frozen=True)
class RankWeighting:
    """Weaken what channels do not agree about: singular value i of `[channel, pixel]` times `1 - i / channels`.

    Then every channel gets back its mean and deviation. For the four channels of latents these are the weights 1, .75,
    .5, .25 of the authors' code (LD, arXiv 2411.13536).
    """

    def __call__(self, direction: Tensor, fraction: float) -> Tensor:
        """Weigh the ranks of every view."""
        del fraction
        matrix = direction.flatten(2)
        left, singular, right = torch.linalg.svd(matrix, full_matrices=False)
        rank = torch.arange(singular.shape[-1], device=singular.device, dtype=singular.dtype)
        weighted = (left * (singular * (1.0 - rank / matrix.shape[1]))[:, None]) @ right
        (now, mean), (before, wanted_mean) = (torch.std_mean(x, 2, keepdim=True) for x in (weighted, matrix))
        scale = before / now.clamp_min(torch.finfo(now.dtype).tiny)
        return ((weighted - mean) * scale + wanted_mean).view_as(direction)
