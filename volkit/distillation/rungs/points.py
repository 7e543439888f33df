"""Rung 1: the student's density and colour at the teacher's visible samples, and the rays that they add up to."""

import math
from typing import Any

import torch

from volkit.distillation.rungs.answers import Answers
from volkit.distillation.rungs.cache import AnswerCache
from volkit.ops.composite import composite
from volkit.representations.field import Field, FieldSample
from volkit.training.loop import StepInfo
from volkit.typing import Tensor

__all__ = ["PointRung", "RegressionRung"]

EMPTY_WEIGHT = 0.05  # what a sample weighs in the draw beside its alpha: emptiness must be learnt too
FLOOR = 0.1  # share of the pointwise losses that remains at the end


class PointRung:
    """Losses on cached answers: no marching, no teacher, many cameras in every batch.

    Pointwise, in alpha space and weighted by visibility (so that what light never reaches costs nothing, and nothing
    saturates as log densities do): `mean_r sum_i T_i (a_i - a*_i)^2` and `mean_r sum_i T_i a*_i |c_i - c*_i|^2 / 3`,
    with the teacher's transmittance T, alpha a* and colour c*; their weight falls over half a cosine to a tenth.
    Along the ray: `mean_r |C - C* + (A* - A) b|^2 / 3` over a random background b.
    Alpha-space targets: KiloNeRF (Reiser et al. 2021), its `convert_density_to_alpha`.
    """

    def __init__(self, cache: AnswerCache, generator: torch.Generator) -> None:
        self.cache, self.generator = cache, generator

    def losses(self, student: Field, moment: StepInfo) -> dict[str, Tensor]:
        """Ray, alpha and colour losses on the next batch."""
        answers = self.cache.next()
        sample = student.query(answers.samples.points(answers.rays))
        per_ray = answers.origin.importance / len(answers)
        error = self._ray_errors(answers, sample)
        self.cache.learn(answers, error.detach())
        per_sample = answers.transmittance * per_ray[answers.samples.ray.long()]
        length = answers.samples.lengths
        alpha, target = -torch.expm1(-sample.density * length), -torch.expm1(-answers.density * length)
        colour_error = (sample.rgb - answers.rgb).square().mean(-1)
        weight = max(FLOOR, 0.5 * (1.0 + math.cos(math.pi * moment.fraction)))
        return {
            "pixels": (error * per_ray).sum(),
            "alpha": weight * (per_sample * (alpha - target).square()).sum(),
            "colour": weight * (per_sample * target * colour_error).sum(),
        }

    def _ray_errors(self, answers: Answers, sample: FieldSample) -> Tensor:
        s = answers.samples
        drawn = composite(sample.density, sample.rgb, s.t0, s.t1, s.offsets)
        background = torch.rand(len(answers), 3, generator=self.generator, device=self.generator.device)
        missing = (answers.opacity - drawn.opacity)[:, None]
        return (drawn.channels - answers.colour + missing * background).square().mean(-1)

    def state(self) -> dict[str, Any]:
        """The cache's."""
        return self.cache.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up `state()`."""
        self.cache.load_state(state)


class RegressionRung:
    """The pointwise losses of `PointRung` alone, on samples drawn by what they weigh in a picture.

    A network that costs a million products a sample cannot afford whole rays. Sample i is drawn with
    `p_i ~ T_i (a*_i + floor)` and its losses count `1 / (n p_i)`: the sum stays the one over all visible samples.
    """

    def __init__(self, cache: AnswerCache, samples: int, generator: torch.Generator) -> None:
        self.cache, self.samples, self.generator = cache, samples, generator

    def losses(self, student: Field, moment: StepInfo) -> dict[str, Tensor]:
        """Alpha and colour losses on drawn samples of the next batch."""
        answers = self.cache.next()
        alpha = -torch.expm1(-answers.density * answers.samples.lengths)
        ray = answers.samples.ray.long()
        weight = answers.transmittance * (answers.origin.importance / len(answers))[ray]
        edges = (answers.transmittance * (alpha + EMPTY_WEIGHT)).double().cumsum(0)
        draw = torch.rand(self.samples, generator=self.generator, dtype=torch.float64, device=edges.device)
        chosen = torch.searchsorted(edges, draw * edges[-1]).clamp_max(len(edges) - 1)
        density = answers.transmittance[chosen] * (alpha[chosen] + EMPTY_WEIGHT) / float(edges[-1])
        weight = weight[chosen] / (self.samples * density)
        some = answers.samples.points(answers.rays)[chosen]
        sample = student.query(some)
        ours = -torch.expm1(-sample.density * answers.samples.lengths[chosen])
        colour_error = (sample.rgb - answers.rgb[chosen]).square().mean(-1)
        return {
            "alpha": (weight * (ours - alpha[chosen]).square()).sum(),
            "colour": (weight * alpha[chosen] * colour_error).sum(),
        }

    def state(self) -> dict[str, Any]:
        """The cache's."""
        return self.cache.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up `state()`."""
        self.cache.load_state(state)
