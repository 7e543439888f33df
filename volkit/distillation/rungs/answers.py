"""What a teacher said along rays, kept so that it is asked once and heard many times."""

from dataclasses import dataclass
from typing import NamedTuple

import torch

from volkit.geometry import Rays, RaySamples
from volkit.ops.composite import composite
from volkit.representations.field import Field
from volkit.sampling.sampler import Sampler
from volkit.sampling.visible import cull_occluded
from volkit.typing import Float, Int, Tensor

__all__ = ["Answers", "Origin", "ask"]

MIN_VISIBLE_WEIGHT = 1e-3  # a sample that gets less light than this changes no 8-bit picture
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
    """Ask a field along local-frame rays: density until the light is gone, colour where it shows."""
    samples, density, transmittance = cull_occluded(teacher, rays, sampler(rays), MIN_VISIBLE_WEIGHT)
    lit = (transmittance * -torch.expm1(-density * samples.lengths) > LIT).nonzero()[:, 0]
    rgb = density.new_zeros(len(samples), 3)
    rgb[lit] = teacher.query(samples.points(rays)[lit]).rgb
    drawn = composite(density, rgb, samples.t0, samples.t1, samples.offsets, stop=0.1 * MIN_VISIBLE_WEIGHT)
    return Answers(rays, samples, density, rgb, transmittance, drawn.channels, drawn.opacity, origin)
