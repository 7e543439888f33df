"""Hierarchical sampling: more intervals where earlier ones had weight (NeRF, section 5.2)."""

from dataclasses import dataclass

import torch

from volkit.geometry import Rays, RaySamples
from volkit.typing import Float, Tensor

__all__ = ["ImportanceSampler"]

FLOOR = 1e-5  # NeRF's: no interval may have probability 0


@dataclass(frozen=True)
class ImportanceSampler:
    """`samples`, cut at `count` more places that are drawn from the distribution which `weights` give to them.

    The places are quantiles, evenly spaced or, with a generator, stratified at random; rays without samples get none.
    Intervals must follow each other without gaps, as `UniformSampler` cuts them. Answers for the rays that `samples`
    were cut from, and only for them.
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
        place = torch.arange(width, device=lengths.device)
        # Short rays repeat their last border: intervals of length 0, dropped in the end.
        valid = place < lengths[:, None]
        index = (self.samples.offsets[:-1, None] + place).minimum(self.samples.offsets[1:, None] - 1).clamp_min(0)
        t0, t1 = self.samples.t0[index], self.samples.t1[index]
        borders = torch.cat([t0[:, :1], t1, self._places(valid, index, t0, t1)], 1).sort(1).values
        kept = (borders[:, 1:] > borders[:, :-1]) & (lengths > 0)[:, None]
        offsets = torch.nn.functional.pad(kept.sum(1).cumsum(0), (1, 0))
        return RaySamples(borders[:, :-1][kept], borders[:, 1:][kept], kept.nonzero()[:, 0].int(), offsets)

    def _places(self, valid: Tensor, index: Tensor, t0: Tensor, t1: Tensor) -> Float[Tensor, "ray place"]:
        """Inverse of the cumulated weights, linear within intervals."""
        weights = torch.where(valid, self.weights.detach()[index] + FLOOR, 0.0)
        ends = weights.cumsum(1) / weights.sum(1, keepdim=True).clamp_min(FLOOR)
        stratum = torch.arange(self.count, device=t0.device).repeat(len(index), 1)
        shift = torch.full_like(t0[:, :1], 0.5)
        if self.generator is not None:
            shift = torch.rand(stratum.shape, generator=self.generator, device=t0.device, dtype=t0.dtype)
        quantiles = (stratum + shift) / self.count
        found = torch.searchsorted(ends, quantiles).clamp_max(weights.shape[1] - 1)
        starts = torch.where(found > 0, ends.gather(1, (found - 1).clamp_min(0)), 0.0)
        share = (quantiles - starts) / (ends.gather(1, found) - starts).clamp_min(FLOOR**2)
        return torch.lerp(t0.gather(1, found), t1.gather(1, found), share.clamp(0.0, 1.0))
