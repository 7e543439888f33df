"""Samplers of rays: the interface, stratified sampling, and hierarchical sampling (NeRF, section 5.2)."""

from dataclasses import dataclass
from typing import Protocol

import torch

from volkit.geometry import Domain, Rays, RaySamples
from volkit.typing import Float, Tensor

__all__ = ["ImportanceSampler", "Sampler", "UniformSampler"]

WEIGHT_FLOOR = 1e-5  # NeRF's: no interval may have probability 0


class Sampler(Protocol):
    """Cuts rays of a field's local frame into intervals at whose midpoints the field is evaluated."""

    def __call__(self, rays: Rays) -> RaySamples:
        """Intervals of every ray, packed, sorted by ray then distance."""
        ...


@dataclass(frozen=True)
class UniformSampler:
    """A sampler of `count` intervals of equal length between entering and leaving a domain; local frame.

    Contracted domains are cut evenly in `t / (1 + t)`, t being distance in half extents, so that far intervals are
    longer. Rays that miss the domain have no samples.

    Attributes:
        domain: where rays are cut.
        count: intervals of each ray.
        near: distance at which rays begin, local units.
        generator: shifts the inner borders at random within their strata (NeRF, equation 2); None: no shift.

    Example:
        >>> rays = Rays(torch.tensor([[0.0, 0.0, -2.0]]), torch.tensor([[0.0, 0.0, 1.0]]))
        >>> UniformSampler(Domain.cube(1.0), count=2)(rays).t0.tolist()
        [1.0, 2.0]
    """

    domain: Domain
    count: int = 128
    near: float = 0.0
    generator: torch.Generator | None = None

    def __call__(self, rays: Rays) -> RaySamples:
        """Intervals of every ray."""
        enter, leave = self.domain.span(rays.origins, rays.directions, self.near)
        position = torch.linspace(0.0, 1.0, self.count + 1, device=enter.device, dtype=enter.dtype).repeat(len(rays), 1)
        if self.generator is not None:
            shift = torch.rand(len(rays), self.count - 1, generator=self.generator, device=enter.device)
            position[:, 1:-1] += (shift.to(position.dtype) - 0.5) / self.count
        if not self.domain.contracted:
            borders = torch.lerp(enter[:, None], leave[:, None], position)
        else:
            unit = 0.5 * max(self.domain.extent)
            first, last = enter[:, None] / unit, leave[:, None] / unit
            bent = torch.lerp(first / (1.0 + first), last / (1.0 + last), position)
            borders = unit * bent / (1.0 - bent)
        return _pack(borders, leave > enter)


def _pack(borders: Float[Tensor, "ray border"], hit: Tensor) -> RaySamples:
    """Intervals between neighbouring borders, of the rays that hit."""
    rays, count = borders.shape[0], borders.shape[1] - 1
    ray = hit.nonzero()[:, 0]
    lengths = torch.where(hit, count, 0)
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    t0, t1 = borders[ray, :-1].reshape(-1), borders[ray, 1:].reshape(-1)
    assert len(offsets) == rays + 1
    return RaySamples(t0, t1, ray.repeat_interleave(count).int(), offsets)


@dataclass(frozen=True)
class ImportanceSampler:
    """A sampler that cuts `samples` at `count` further places, drawn from the distribution given by `weights`.

    The places are quantiles of the distribution; rays without samples get none. Intervals must follow each other
    without gaps, as those of `UniformSampler` do. It takes the rays that `samples` were cut from, and raises ValueError
    for another number of rays.

    Attributes:
        samples: intervals of a first pass.
        weights: of each of them, such as `Integral.weights`.
        count: further places on each ray.
        generator: stratifies the quantiles at random; None: evenly spaced.
    """

    samples: RaySamples
    weights: Float[Tensor, " sample"]
    count: int = 128
    generator: torch.Generator | None = None

    def __call__(self, rays: Rays) -> RaySamples:
        """Intervals of the same rays."""
        lengths = self.samples.offsets.diff()
        if len(lengths) != len(rays):
            raise ValueError(f"importance sampling: weights are of {len(lengths)} rays, got {len(rays)}")
        width = int(lengths.max()) if len(lengths) else 0
        if width == 0:
            return self.samples
        position = torch.arange(width, device=lengths.device)
        # Short rays repeat their last border: intervals of length 0, dropped in the end.
        valid = position < lengths[:, None]
        index = (self.samples.offsets[:-1, None] + position).minimum(self.samples.offsets[1:, None] - 1).clamp_min(0)
        t0, t1 = self.samples.t0[index], self.samples.t1[index]
        borders = torch.cat([t0[:, :1], t1, self._draw_quantiles(valid, index, t0, t1)], 1).sort(1).values
        nonempty = (borders[:, 1:] > borders[:, :-1]) & (lengths > 0)[:, None]
        offsets = torch.nn.functional.pad(nonempty.sum(1).cumsum(0), (1, 0))
        return RaySamples(borders[:, :-1][nonempty], borders[:, 1:][nonempty], nonempty.nonzero()[:, 0].int(), offsets)

    def _draw_quantiles(self, valid: Tensor, index: Tensor, t0: Tensor, t1: Tensor) -> Float[Tensor, "ray place"]:
        """Inverse of the cumulated weights, linear within intervals."""
        weights = torch.where(valid, self.weights.detach()[index] + WEIGHT_FLOOR, 0.0)
        ends = weights.cumsum(1) / weights.sum(1, keepdim=True).clamp_min(WEIGHT_FLOOR)
        stratum = torch.arange(self.count, device=t0.device).repeat(len(index), 1)
        shift = torch.full_like(t0[:, :1], 0.5)
        if self.generator is not None:
            shift = torch.rand(stratum.shape, generator=self.generator, device=t0.device, dtype=t0.dtype)
        quantiles = (stratum + shift) / self.count
        interval = torch.searchsorted(ends, quantiles).clamp_max(weights.shape[1] - 1)
        starts = torch.where(interval > 0, ends.gather(1, (interval - 1).clamp_min(0)), 0.0)
        share = (quantiles - starts) / (ends.gather(1, interval) - starts).clamp_min(WEIGHT_FLOOR**2)
        return torch.lerp(t0.gather(1, interval), t1.gather(1, interval), share.clamp(0.0, 1.0))
