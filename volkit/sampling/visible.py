"""Sampling by visibility: intervals without those behind opaque matter (instant-ngp, appendix E.3)."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch

from volkit.geometry import Rays, RaySamples
from volkit.representations.field import Field
from volkit.sampling.sampler import Sampler
from volkit.typing import Float, Int, Tensor

__all__ = ["VisibleSampler", "VisibleSamples", "cull_occluded"]

MIN_TRANSMITTANCE = 1e-4  # transmittance at which a ray ends: instant-ngp's bound
FIRST_SAMPLES = 16  # samples of every ray evaluated at once, doubled from round to round: measured on a solid object


class VisibleSamples(NamedTuple):
    """Visible samples, with their density and the transmittance up to them."""

    samples: RaySamples
    density: Float[Tensor, " sample"]
    transmittance: Float[Tensor, " sample"]


@torch.no_grad()
def cull_occluded(field: Field, rays: Rays, samples: RaySamples, stop: float = MIN_TRANSMITTANCE) -> VisibleSamples:
    """Evaluate density front to back, in rounds, and end a ray where `T = exp(-sum density * length) < stop`.

    Training on the visible samples costs a fraction: behind the first surface of a solid nothing is evaluated.
    """
    ray = samples.ray.long()
    lengths = samples.lengths
    density = torch.zeros_like(lengths)
    evaluated = torch.zeros_like(lengths, dtype=torch.bool)
    thickness = torch.zeros(len(rays), device=lengths.device)
    alive = torch.arange(len(rays), device=lengths.device)
    start, size = 0, FIRST_SAMPLES
    while len(alive):
        first = samples.offsets[alive] + start
        chosen = _ranges(first, torch.minimum(first + size, samples.offsets[alive + 1]))
        ray_of = ray[chosen]
        middle = 0.5 * (samples.t0[chosen] + samples.t1[chosen])
        values = field.density(torch.addcmul(rays.origins[ray_of], rays.directions[ray_of], middle[:, None]))
        density[chosen], evaluated[chosen] = values, True
        thickness.index_add_(0, ray_of, values * lengths[chosen])
        start, size = start + size, 2 * size
        more = samples.offsets[alive] + start < samples.offsets[alive + 1]
        alive = alive[more & (thickness[alive] < -math.log(stop))]
    transmittance = _transmittance(density * lengths, samples)
    visible = (evaluated & (transmittance > stop)).nonzero()[:, 0]
    return VisibleSamples(_select(samples, visible), density[visible], transmittance[visible])


@dataclass(frozen=True)
class VisibleSampler:
    """The samples of another sampler that are visible in the current field (`cull_occluded`)."""

    sampler: Sampler
    field: Field

    def __call__(self, rays: Rays) -> RaySamples:
        """Intervals of every ray up to where it ends."""
        return cull_occluded(self.field, rays, self.sampler(rays)).samples


def _ranges(first: Int[Tensor, " range"], last: Int[Tensor, " range"]) -> Int[Tensor, " index"]:
    """All indices of `first[i]:last[i]`, one range after the other."""
    counts = (last - first).clamp_min(0)
    before = counts.cumsum(0) - counts
    return torch.arange(int(counts.sum()), device=first.device) + (first - before).repeat_interleave(counts)


def _transmittance(thickness: Float[Tensor, " sample"], samples: RaySamples) -> Float[Tensor, " sample"]:
    """`exp(-sum ray_of the thickness before a sample)`; float64, since one running sum serves all rays."""
    if not len(samples):
        return thickness
    before = thickness.double().cumsum(0) - thickness
    first = samples.offsets[:-1].clamp_max(len(samples) - 1)
    return torch.exp(before[first][samples.ray.long()] - before).float()


def _select(samples: RaySamples, visible: Int[Tensor, " index"]) -> RaySamples:
    ray = samples.ray[visible]
    counts = torch.bincount(ray, minlength=len(samples.offsets) - 1)
    offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    return RaySamples(samples.t0[visible], samples.t1[visible], ray, offsets)
