"""How much a time of the diffusion counts: w(t)."""

from collections.abc import Callable

from volkit.typing import Tensor

__all__ = [
    "WEIGHTS",
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
