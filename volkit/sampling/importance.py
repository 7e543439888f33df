"""Hierarchical sampling: new intervals where earlier ones had weight (NeRF, section 5.2)."""

from dataclasses import dataclass

import torch

from volkit.geometry import Rays, RaySamples
from volkit.sampling.uniform import packed
from volkit.typing import Float, Tensor

__all__ = ["ImportanceSampler"]

FLOOR = 1e-5  # NeRF's: no interval may have probability 0


@dataclass(frozen=True)
class ImportanceSampler:
    """`count` intervals a ray, drawn by inverting the distribution that `weights` give to `samples`.

    The intervals' borders are the old samples' first and last borders and `count - 1` quantiles between, evenly spaced
    or, with a generator, stratified at random. Answers for the rays that `samples` were cut from, and only for them.
    """

    samples: RaySamples
    weights: Float[Tensor, " sample"]
    count: int = 128
    generator: torch.Generator | None = None

    def __call__(self, rays: Rays) -> RaySamples:
        """Intervals of the same rays; those without samples get none."""
        lengths = self.samples.offsets.diff()
        if len(lengths) != len(rays):
            raise ValueError(f"importance sampling: weights are of {len(lengths)} rays, got {len(rays)}")
        hit = lengths > 0
        width = int(lengths.max()) if len(lengths) else 0
        if width == 0:
            return self.samples
        place = torch.arange(width, device=lengths.device)
        index = (self.samples.offsets[:-1, None] + place).clamp_max(len(self.samples) - 1)
        valid = place < lengths[:, None]
        weights = torch.where(valid, self.weights.detach()[index] + FLOOR, 0.0)
        cumulated = weights.cumsum(1) / weights.sum(1, keepdim=True).clamp_min(FLOOR)
        quantiles = self._quantiles(len(rays), weights)
        found = torch.searchsorted(cumulated, quantiles).minimum((lengths[:, None] - 1).clamp_min(0))
        before = torch.where(found > 0, cumulated.gather(1, (found - 1).clamp_min(0)), 0.0)
        share = (quantiles - before) / (cumulated.gather(1, found) - before).clamp_min(1e-9)
        chosen = index.gather(1, found)
        borders = torch.lerp(self.samples.t0[chosen], self.samples.t1[chosen], share.clamp(0.0, 1.0))
        return packed(borders.cummax(1).values, hit)

    def _quantiles(self, rays: int, like: Tensor) -> Tensor:
        even = torch.linspace(0.0, 1.0, self.count + 1, device=like.device, dtype=like.dtype).repeat(rays, 1)
        if self.generator is not None:
            shift = torch.rand(rays, self.count - 1, generator=self.generator, device=like.device)
            even[:, 1:-1] += (shift.to(like.dtype) - 0.5) / self.count
        return even
