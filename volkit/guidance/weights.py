"""Weights w(t) of diffusion times, and functions that shape the direction afterwards."""

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
    """Changes the direction after weighting."""

    def __call__(self, direction: Tensor, fraction: float) -> Tensor:
        """The changed direction, of the same shape."""
        ...


@dataclass(frozen=True)
class Clip:
    """Clamp every element to ±limit (Debiased SDS, arXiv 2303.15413: from .5 to 2 over the run).

    Attributes:
        limit: a number, or a ramp over the run.
    """

    limit: float | Ramp = GROWING_LIMIT

    def __call__(self, direction: Tensor, fraction: float) -> Tensor:
        """The clamped direction."""
        limit = value(self.limit, fraction)
        return direction.clamp(-limit, limit)


@dataclass(frozen=True)
class Mirror:
    """Mix the directions of mirrored views 2i and 2i + 1, for symmetric subjects (LD, arXiv 2411.13536).

    `g_a ← (1 - share) g_a + share flip(g_b)` and the reverse; the last axis is the width. ValueError for an odd number
    of views.

    Attributes:
        share: weight of the mirrored view; a quarter in the authors' code.
    """

    share: float = 0.25

    def __call__(self, direction: Tensor, fraction: float) -> Tensor:
        """The mixed directions."""
        del fraction
        if len(direction) % 2:
            raise ValueError(f"mirrored views come in pairs, and there are {len(direction)} views: give an even number")
        other = direction.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)
        return torch.lerp(direction, other.flip(-1), self.share)


@dataclass(frozen=True)
class RankWeighting:
    """Weaken the components on which channels disagree: singular value i of `[channel, pixel]` by `1 - i / channels`.

    Mean and standard deviation of every channel are restored afterwards. For the four channels of latents these are the
    weights 1, .75, .5, .25 of the authors' code (LD, arXiv 2411.13536).
    """

    def __call__(self, direction: Tensor, fraction: float) -> Tensor:
        """The weighted directions, view by view."""
        del fraction
        matrix = direction.flatten(2)
        left, singular, right = torch.linalg.svd(matrix, full_matrices=False)
        rank = torch.arange(singular.shape[-1], device=singular.device, dtype=singular.dtype)
        weighted = (left * (singular * (1.0 - rank / matrix.shape[1]))[:, None]) @ right
        (now, mean), (before, wanted_mean) = (torch.std_mean(x, 2, keepdim=True) for x in (weighted, matrix))
        scale = before / now.clamp_min(torch.finfo(now.dtype).tiny)
        return ((weighted - mean) * scale + wanted_mean).view_as(direction)
