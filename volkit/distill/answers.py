"""What a teacher said along rays, kept so that it is asked once and heard many times."""

from dataclasses import dataclass
from typing import NamedTuple

import torch

from volkit.geometry import Rays, RaySamples
from volkit.ops.composite import composite
from volkit.representations.field import Field
from volkit.sampling.sampler import Sampler
from volkit.typing import Float, Int, Tensor

__all__ = ["Answers", "Origin", "ask"]

VISIBLE = 1e-3  # a sample that gets less light than this changes no 8-bit picture
LIT = 1e-5  # a sample with less weight never shows its colour


class Origin(NamedTuple):
    """Which camera and pixel (x, y) each ray is, how much it counts, and the seed of its samples' jitter."""

    camera: Int[Tensor, " ray"]
    pixels: Float[Tensor, "ray 2"]
    importance: Float[Tensor, " ray"]
    seed: int


@dataclass(frozen=True)
class Answers:
    """Rays in the student's local frame, the samples that light reaches, and the teacher's answers on both."""

    rays: Rays
    samples: RaySamples
    density: Float[Tensor, " sample"]
    rgb: Float[Tensor, "sample 3"]
    transmittance: Float[Tensor, " sample"]  # of the light that reaches the sample, by the teacher
    colour: Float[Tensor, "ray 3"]  # premultiplied
    opacity: Float[Tensor, " ray"]
    origin: Origin

    def __len__(self) -> int:
        return len(self.rays)


@torch.no_grad()
def ask(teacher: Field, rays: Rays, sampler: Sampler, origin: Origin) -> Answers:
    """Ask a field along local-frame rays: density everywhere, colour only where light still arrives."""
    samples = sampler(rays)
    points = samples.points(rays)
    density = teacher.density(points.positions)
    transmittance = _transmittance(density * samples.lengths, samples)
    seen = transmittance > VISIBLE
    kept = _kept(samples, seen)
    density, transmittance = density[seen], transmittance[seen]
    rgb = torch.zeros(len(kept), 3)
    lit = transmittance * -torch.expm1(-density * kept.lengths) > LIT
    rgb[lit] = teacher.query(points[seen.nonzero().squeeze(1)[lit]]).rgb
    drawn = composite(density, rgb, kept.t0, kept.t1, kept.offsets, stop=0.1 * VISIBLE)
    return Answers(rays, kept, density, rgb, transmittance, drawn.channels, drawn.opacity, origin)


def _transmittance(optical_depth: Tensor, samples: RaySamples) -> Tensor:
    """`exp(-sum of optical depths before the sample)`, per ray; float64 sums, since one runs over all rays."""
    total = optical_depth.double().cumsum(0) - optical_depth.double()
    start = samples.offsets[:-1].clamp_max(max(len(samples) - 1, 0))
    before = total[start][samples.ray.long()] if len(samples) else total
    return torch.exp(before - total).float()


def _kept(samples: RaySamples, mask: Tensor) -> RaySamples:
    ray = samples.ray[mask]
    counts = torch.bincount(ray, minlength=len(samples.offsets) - 1)
    offsets = torch.zeros_like(samples.offsets)
    offsets[1:] = counts.cumsum(0)
    return RaySamples(samples.t0[mask], samples.t1[mask], ray, offsets)
