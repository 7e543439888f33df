"""A teacher's densities and colours along rays, evaluated once and reused for several steps."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from volkit.distillation.pixels import DrawnPixels, PixelSampler, TargetRays
from volkit.geometry import Rays, RaySamples
from volkit.ops.composite import composite
from volkit.representations.field import Field
from volkit.sampling.sampler import Sampler
from volkit.sampling.visible import cull_occluded
from volkit.typing import Float, Tensor

__all__ = ["CacheSize", "CachedPixels", "TeacherCache", "TeacherSamples", "evaluate_along_rays"]

MIN_VISIBLE_WEIGHT = 1e-3  # transmittance below which a sample changes no 8-bit picture
MIN_COLOUR_WEIGHT = 1e-5  # weight below which a sample's colour does not show
MIN_RAYS, MAX_RAYS = 64, 1 << 16  # in a batch; the most bound memory where rays are nearly empty


@dataclass(frozen=True)
class TeacherSamples:
    """A batch of rays in the student's local frame, their visible samples, and the teacher's values on both.

    Attributes:
        rays: the rays.
        samples: those of them that light reaches.
        density: of the teacher, 1 / local unit.
        rgb: of the teacher.
        transmittance: of the teacher, from the ray's origin to the sample.
        colour: of the ray, premultiplied by opacity.
        opacity: of the ray.
        drawn: the pixels of the rays.
    """

    rays: Rays
    samples: RaySamples
    density: Float[Tensor, " sample"]
    rgb: Float[Tensor, "sample 3"]
    transmittance: Float[Tensor, " sample"]
    colour: Float[Tensor, "ray 3"]
    opacity: Float[Tensor, " ray"]
    drawn: DrawnPixels

    def __len__(self) -> int:
        return len(self.rays)


@torch.no_grad()
def evaluate_along_rays(teacher: Field, rays: Rays, sampler: Sampler, drawn: DrawnPixels) -> TeacherSamples:
    """Evaluate a field along local-frame rays: density until the ray is opaque, colour where it shows."""
    samples, density, transmittance = cull_occluded(teacher, rays, sampler(rays), MIN_VISIBLE_WEIGHT)
    weight = transmittance * -torch.expm1(-density * samples.lengths)
    rows = (weight > MIN_COLOUR_WEIGHT).nonzero()[:, 0]
    rgb = density.new_zeros(len(samples), 3)
    rgb[rows] = teacher.query(samples.points(rays)[rows]).rgb
    pixel = composite(density, rgb, samples.t0, samples.t1, samples.offsets, stop=0.1 * MIN_VISIBLE_WEIGHT)
    return TeacherSamples(rays, samples, density, rgb, transmittance, pixel.channels, pixel.opacity, drawn)


@dataclass(frozen=True)
class CacheSize:
    """The size of a cache.

    Attributes:
        samples: visible samples in a batch.
        batches: number of batches.
        reuse: steps that a batch is used for before it is replaced.
    """

    samples: int = 1 << 16
    batches: int = 24
    reuse: int = 4


class TeacherCache:
    """Batches of one field's samples along rays of many cameras, used in turn.

    A batch that was used `reuse` times is replaced by rays drawn in proportion to the error: the cost of the teacher is
    divided by `reuse`, and the student is not trained on a fixed set.

    Args:
        teacher: the field.
        pixels: draws cameras and pixels.
        sampler: a sampler with the jitter of a generator.
        local_rays: the local frame from the world frame.
        size: of the cache.
        generator: of pixels and jitter.
    """

    def __init__(
        self,
        teacher: Field,
        pixels: PixelSampler,
        sampler: Callable[[torch.Generator], Sampler],
        local_rays: Callable[[Rays], Rays],
        size: CacheSize,
        generator: torch.Generator,
    ) -> None:
        self.teacher, self.pixels, self.sampler, self.local_rays = teacher, pixels, sampler, local_rays
        self.size, self.generator = size, generator
        self.batches: list[TeacherSamples] = []
        self.uses: list[int] = []
        self.turn = 0
        self.rays = max(MIN_RAYS, size.samples // 16)

    def next(self) -> TeacherSamples:
        """The next batch."""
        place = self.turn % self.size.batches
        self.turn += 1
        if place == len(self.batches):
            self.batches.append(self._draw())
            self.uses.append(0)
        elif self.uses[place] >= self.size.reuse:
            self.batches[place], self.uses[place] = self._draw(), 0
        self.uses[place] += 1
        return self.batches[place]

    def update(self, batch: TeacherSamples, errors: Float[Tensor, " ray"]) -> None:
        """Record the squared errors along a batch's rays."""
        self.pixels.update(batch.drawn.camera, batch.drawn.pixels, errors)

    def _draw(self) -> TeacherSamples:
        """A new batch; the number of rays of the next one is adapted to the number of samples."""
        drawn = self.pixels.draw(self.rays, self.generator)
        seed = int(torch.randint(1 << 62, (), generator=self.generator, device=self.generator.device))
        batch = self._evaluate(DrawnPixels(*drawn, seed))
        per_ray = max(len(batch.samples), 1) / self.rays
        self.rays = int(min(max(self.size.samples / per_ray, MIN_RAYS), MAX_RAYS))
        return batch

    def _evaluate(self, drawn: DrawnPixels) -> TeacherSamples:
        rays = self.local_rays(self.pixels.cameras.rays(drawn.camera, drawn.pixels))
        sampler = self.sampler(torch.Generator(self.generator.device).manual_seed(drawn.seed))
        return evaluate_along_rays(self.teacher, rays, sampler, drawn)

    def state(self) -> dict[str, Any]:
        """The pixels of all batches, and their errors; the batches are evaluated again."""
        return {
            "drawn": [list(batch.drawn) for batch in self.batches],
            "uses": self.uses,
            "turn": self.turn,
            "rays": self.rays,
            "pixels": self.pixels.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.batches = [self._evaluate(DrawnPixels(*drawn)) for drawn in state["drawn"]]
        self.uses, self.turn, self.rays = list(state["uses"]), state["turn"], state["rays"]
        self.pixels.load_state(state["pixels"])


class CachedPixels:
    """The colours and opacities of cached rays as a source of target rays, in the local frame."""

    def __init__(self, cache: TeacherCache) -> None:
        self.cache = cache

    def draw(self, count: int, generator: torch.Generator) -> TargetRays:
        """At most `count` rays of the next batch."""
        batch, first = self.cache.next(), slice(0, count)
        camera, pixels, importance, seed = batch.drawn
        drawn = DrawnPixels(camera[first], pixels[first], importance[first], seed)
        return TargetRays(batch.rays[first], batch.colour[first], batch.opacity[first], drawn)

    def update(self, targets: TargetRays, errors: Float[Tensor, " ray"]) -> None:
        """Record squared errors."""
        self.cache.pixels.update(targets.drawn.camera, targets.drawn.pixels, errors)

    def state(self) -> dict[str, Any]:
        """Empty: the cache belongs to the objective on samples, which stores it."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None: ...
