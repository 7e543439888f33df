"""Distillation between fields in stages: samples of the teacher, then its pictures, then photographs."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from volkit.distillation.field_training import Stage
from volkit.distillation.pixels import PixelObjective, PixelSampler, PixelSource
from volkit.distillation.teacher_cache import CachedPixels, CacheSize, TeacherCache, TeacherSamples
from volkit.geometry import Cameras, Rays
from volkit.ops.composite import composite
from volkit.ops.march import Stride
from volkit.representations.field import Field, FieldSample
from volkit.sampling.occupancy import OccupancySampler
from volkit.sampling.visible import VisibleSampler
from volkit.training.loop import StepInfo
from volkit.typing import Tensor

__all__ = ["FieldPair", "PointObjective", "RegressionObjective", "plan_stages"]

EMPTY_WEIGHT = 0.05  # added to alpha in the probability of a sample: empty space must be learnt too
FINAL_WEIGHT = 0.1  # share of the pointwise losses that remains at the end
POINTS_UNTIL = 0.85  # of the share of the teacher: then pictures on the student's own samples
TEACHER_UNTIL = 0.6  # of the budget, if photographs follow


class PointObjective:
    """Losses on cached samples of a teacher: no marching, no evaluation of the teacher, many cameras in every batch.

    Pointwise, in alpha space and weighted by visibility (so that occluded samples do not count, and nothing saturates
    as log densities do): `mean_r sum_i T_i (a_i - a*_i)^2` and `mean_r sum_i T_i a*_i |c_i - c*_i|^2 / 3`, with the
    teacher's transmittance T, alpha a* and colour c*; their weight falls over half a cosine to a tenth. Along the ray:
    `mean_r |C - C* + (A* - A) b|^2 / 3` over a random background b. Targets in alpha space: KiloNeRF (Reiser et al.
    2021), its `convert_density_to_alpha`.

    Args:
        cache: samples of the teacher, in the student's local frame.
        generator: of backgrounds.
    """

    def __init__(self, cache: TeacherCache, generator: torch.Generator) -> None:
        self.cache, self.generator = cache, generator

    def losses(self, student: Field, info: StepInfo) -> dict[str, Tensor]:
        """The losses `pixels`, `alpha` and `colour` on the next batch; differentiable in the student."""
        batch = self.cache.next()
        sample = student.query(batch.samples.points(batch.rays))
        per_ray = batch.drawn.importance / len(batch)
        error = self._ray_errors(batch, sample)
        self.cache.update(batch, error.detach())
        per_sample = batch.transmittance * per_ray[batch.samples.ray.long()]
        length = batch.samples.lengths
        alpha, target = -torch.expm1(-sample.density * length), -torch.expm1(-batch.density * length)
        colour_error = (sample.rgb - batch.rgb).square().mean(-1)
        weight = max(FINAL_WEIGHT, 0.5 * (1.0 + math.cos(math.pi * info.fraction)))
        return {
            "pixels": (error * per_ray).sum(),
            "alpha": weight * (per_sample * (alpha - target).square()).sum(),
            "colour": weight * (per_sample * target * colour_error).sum(),
        }

    def _ray_errors(self, batch: TeacherSamples, sample: FieldSample) -> Tensor:
        s = batch.samples
        pixel = composite(sample.density, sample.rgb, s.t0, s.t1, s.offsets)
        background = torch.rand(len(batch), 3, generator=self.generator, device=self.generator.device)
        missing = (batch.opacity - pixel.opacity)[:, None]
        return (pixel.channels - batch.colour + missing * background).square().mean(-1)

    def state(self) -> dict[str, Any]:
        """The cache."""
        return self.cache.state()

    def load_state(self, state: dict[str, Any]) -> None:
        self.cache.load_state(state)


class RegressionObjective:
    """The pointwise losses of `PointObjective` alone, on samples drawn in proportion to their weight in a picture.

    For networks of a million products a sample, for which whole rays are too expensive. Sample i is drawn with
    `p_i ~ T_i (a*_i + 0.05)` and its losses are weighted by `1 / (n p_i)`: an unbiased estimate of the sum over all
    visible samples.

    Args:
        cache: samples of the teacher, in the student's local frame.
        samples: in a step.
        generator: of the samples.
    """

    def __init__(self, cache: TeacherCache, samples: int, generator: torch.Generator) -> None:
        self.cache, self.samples, self.generator = cache, samples, generator

    def losses(self, student: Field, info: StepInfo) -> dict[str, Tensor]:
        """The losses `alpha` and `colour` on samples of the next batch; differentiable in the student."""
        batch = self.cache.next()
        target = -torch.expm1(-batch.density * batch.samples.lengths)
        ray = batch.samples.ray.long()
        weight = batch.transmittance * (batch.drawn.importance / len(batch))[ray]
        edges = (batch.transmittance * (target + EMPTY_WEIGHT)).double().cumsum(0)
        position = torch.rand(self.samples, generator=self.generator, dtype=torch.float64, device=edges.device)
        rows = torch.searchsorted(edges, position * edges[-1]).clamp_max(len(edges) - 1)
        probability = batch.transmittance[rows] * (target[rows] + EMPTY_WEIGHT) / float(edges[-1])
        weight = weight[rows] / (self.samples * probability)
        sample = student.query(batch.samples.points(batch.rays)[rows])
        alpha = -torch.expm1(-sample.density * batch.samples.lengths[rows])
        colour_error = (sample.rgb - batch.rgb[rows]).square().mean(-1)
        return {
            "alpha": (weight * (alpha - target[rows]).square()).sum(),
            "colour": (weight * target[rows] * colour_error).sum(),
        }

    def state(self) -> dict[str, Any]:
        """The cache."""
        return self.cache.state()

    def load_state(self, state: dict[str, Any]) -> None:
        self.cache.load_state(state)


@dataclass(frozen=True)
class FieldPair:
    """A teacher and its student, and what samples both; in the student's local frame.

    Attributes:
        teacher: the teacher.
        student: the student.
        cameras: whose rays the teacher is evaluated along, world frame.
        local_rays: the local frame from the world frame.
        stride: spacing of samples.
        near: distance from the cameras up to which there is no matter.
        generator: of all randomness.
    """

    teacher: Field
    student: Field
    cameras: Cameras
    local_rays: Callable[[Rays], Rays]
    stride: Stride
    near: float
    generator: torch.Generator


def plan_stages(pair: FieldPair, samples: int, photographs: PixelSource | None = None) -> list[Stage]:
    """Stages on the teacher's samples, then on its pictures, then on photographs if there are any.

    A student whose samples are too expensive for whole rays (`config.regression_only`) has one stage on samples.

    Args:
        pair: teacher and student.
        samples: of the student in a step.
        photographs: source of the last stage, in the world frame.
    """
    teacher, student, generator = pair.teacher, pair.student, pair.generator
    regression = student.config.regression_only
    size = CacheSize() if regression else CacheSize(samples)
    jittered = lambda generator: OccupancySampler(teacher, pair.stride, pair.near, generator)  # noqa: E731
    cache = TeacherCache(teacher, PixelSampler(pair.cameras), jittered, pair.local_rays, size, generator)
    own = VisibleSampler(OccupancySampler(student, pair.stride, pair.near, generator), student)
    until = 1.0 if photographs is None else TEACHER_UNTIL
    if regression:
        stages = [Stage(RegressionObjective(cache, samples, generator), until)]
    else:
        pictures = PixelObjective(CachedPixels(cache), own, lambda rays: rays, samples, generator)
        stages = [Stage(PointObjective(cache, generator), POINTS_UNTIL * until), Stage(pictures, until)]
    if photographs is not None:
        stages.append(Stage(PixelObjective(photographs, own, pair.local_rays, samples, generator)))
    return stages
