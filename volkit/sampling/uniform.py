"""Stratified sampling: the same number of intervals on every ray."""

from dataclasses import dataclass

import torch

from volkit.geometry import Domain, Rays, RaySamples
from volkit.typing import Float, Tensor

__all__ = ["UniformSampler", "packed"]


@dataclass(frozen=True)
class UniformSampler:
    """`count` intervals between entering and leaving a domain, of equal length on each ray; local frame.

    With a generator the inner borders are shifted at random inside their strata (NeRF, equation 2). Contracted
    domains are cut evenly in `t / (1 + t)` of distance in half extents, so that far intervals are longer. Rays that
    miss have no samples.
    """

    domain: Domain
    count: int = 128
    near: float = 0.0
    generator: torch.Generator | None = None

    def __call__(self, rays: Rays) -> RaySamples:
        """Intervals of every ray."""
        enter, leave = self.domain.span(rays.origins, rays.directions, self.near)
        place = torch.linspace(0.0, 1.0, self.count + 1, device=enter.device, dtype=enter.dtype).repeat(len(rays), 1)
        if self.generator is not None:
            shift = torch.rand(len(rays), self.count - 1, generator=self.generator, device=enter.device)
            place[:, 1:-1] += (shift.to(place.dtype) - 0.5) / self.count
        if not self.domain.contracted:
            borders = torch.lerp(enter[:, None], leave[:, None], place)
        else:
            unit = 0.5 * max(self.domain.extent)
            first, last = enter[:, None] / unit, leave[:, None] / unit
            bent = torch.lerp(first / (1.0 + first), last / (1.0 + last), place)
            borders = unit * bent / (1.0 - bent)
        return packed(borders, leave > enter)


def packed(borders: Float[Tensor, "ray border"], hit: Tensor) -> RaySamples:
    """Intervals between neighbouring borders, of the rays that hit."""
    rays, count = borders.shape[0], borders.shape[1] - 1
    ray = hit.nonzero()[:, 0]
    lengths = torch.where(hit, count, 0)
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    t0, t1 = borders[ray, :-1].reshape(-1), borders[ray, 1:].reshape(-1)
    assert len(offsets) == rays + 1
    return RaySamples(t0, t1, ray.repeat_interleave(count).int(), offsets)
