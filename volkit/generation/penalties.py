"""Regularisers of fields under a prior: against fog, scattered matter, and surfaces that face away or are rough.

Each is a sum over rays; callers divide by the number of pictures.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional

from volkit.geometry import Points, RaySamples
from volkit.guidance.ramps import Ramp
from volkit.representations.field import Field
from volkit.typing import Float, Tensor

__all__ = ["Penalties", "distortion", "entropy", "field_normals", "orientation", "roughness", "visible_samples"]

DIFFERENCE_SHARE = 1e-2  # of the domain's longest edge, over which density is differentiated
MIN_NORMAL_WEIGHT = 1e-3  # weight of a sample below which its normal does not count
MAX_NORMAL_SAMPLES = 1 << 13  # samples of a step with normals: each costs four evaluations of density


@dataclass(frozen=True)
class Penalties:
    """Weights of the regularisers, each a number or a ramp over the run; a weight of 0 costs nothing.

    Attributes:
        opacity: of the mean of `sqrt(A² + .01)`, for empty space where the prior allows it (DreamFusion).
        entropy: of opacity, for pixels that are either covered or empty.
        distortion: of the samples of a ray (mip-NeRF 360).
        orientation: of visible surfaces that face away (Ref-NeRF).
        smoothness: of normals.
    """

    opacity: float | Ramp = 0.0
    entropy: float | Ramp = 0.0
    distortion: float | Ramp = 0.0
    orientation: float | Ramp = 0.0
    smoothness: float | Ramp = 0.0


def entropy(opacity: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """`-Σ A log A + (1 - A) log(1 - A)` in bits."""
    a = opacity.clamp(1e-4, 1.0 - 1e-4)
    return -(a * a.log2() + (1.0 - a) * (1.0 - a).log2()).sum()


def distortion(weights: Float[Tensor, " sample"], samples: RaySamples, length: float) -> Float[Tensor, ""]:
    """`Σ_ij w_i w_j |s_i - s_j| + ⅓ Σ_i w_i² δ_i` of every ray, s in units of `length` (mip-NeRF 360, equation 15).

    Samples of a ray are sorted, so that two running sums do for the double one.
    """
    midpoint, width = samples.midpoints / length, samples.lengths / length
    start = samples.offsets[:-1][samples.ray.long()]
    both = torch.stack([weights, weights * midpoint], -1)
    before = functional.pad(both.double().cumsum(0), (0, 0, 1, 0))  # float64: the sum runs over all rays
    mass, moment = (before[:-1] - before[start]).to(weights).unbind(-1)
    between = 2.0 * (weights * (midpoint * mass - moment)).sum()
    return between + (weights.square() * width).sum() / 3.0


def orientation(
    weights: Float[Tensor, " sample"], normals: Float[Tensor, "sample 3"], directions: Float[Tensor, "sample 3"]
) -> Float[Tensor, ""]:
    """`Σ w max(0, n·d)²`, zero where visible normals face the camera (Ref-NeRF, equation 11)."""
    return (weights.detach() * (normals * directions).sum(-1).clamp_min(0.0).square()).sum()


def roughness(
    field: Field, points: Points, weights: Float[Tensor, " sample"], normals: Tensor, noise: Tensor
) -> Float[Tensor, ""]:
    """`Σ w |n(x) - n(x + ξ)|²`, ξ of the length of a step, small for smooth surfaces (NeRFactor, equation 1)."""
    moved = points.positions + DIFFERENCE_SHARE * max(field.domain.extent) * noise
    return (weights.detach() * (normals - field_normals(field, moved)).square().sum(-1)).sum()


def field_normals(field: Field, positions: Float[Tensor, "point 3"]) -> Float[Tensor, "point 3"]:
    """`-∇ρ / |∇ρ|` by differences at the corners of a tetrahedron; differentiable in the field's parameters."""
    corners = positions.new_tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    corners_of = positions[:, None] + DIFFERENCE_SHARE * max(field.domain.extent) / 3.0**0.5 * corners
    density = field.density(corners_of.reshape(-1, 3)).view(-1, 4, 1)
    return -functional.normalize((density * corners).sum(1), dim=-1, eps=1e-6)


def visible_samples(weights: Float[Tensor, " sample"], generator: torch.Generator) -> Tensor:
    """Indices of samples with a visible weight, at most `MAX_NORMAL_SAMPLES` random ones."""
    chosen = (weights.detach() > MIN_NORMAL_WEIGHT).nonzero()[:, 0]
    if len(chosen) <= MAX_NORMAL_SAMPLES:
        return chosen
    return chosen[
        torch.randint(len(chosen), (MAX_NORMAL_SAMPLES,), generator=generator, device=generator.device).to(
            chosen.device
        )
    ]
