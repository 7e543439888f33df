"""Rung 1: the student's density and colour at the teacher's visible samples, and the rays that they add up to."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from volkit.distill.active import PixelDraw
from volkit.distill.answers import Answers, Origin, ask
from volkit.fit import Moment
from volkit.geometry import Rays
from volkit.ops.composite import composite
from volkit.representations.field import Field
from volkit.sampling.sampler import Sampler
from volkit.typing import Tensor

__all__ = ["PointRung", "PointSettings"]


@dataclass(frozen=True)
class PointSettings:
    """How answers are drawn and weighed."""

    samples: int = 1 << 16  # visible samples in a step's batch
    blocks: int = 24  # batches kept
    hearings: int = 4  # times a batch is used before it is asked anew
    point_weight: float = 1.0  # of the pointwise losses at the start; decays to `point_floor` of it
    point_floor: float = 0.1


class PointRung:
    """Losses on cached answers: no marching, no teacher, many cameras in every batch.

    Pointwise, in alpha space and weighted by visibility (so that what light never reaches costs nothing, and nothing
    saturates as log densities do): `mean_r sum_i T_i (a_i - a*_i)^2` and `mean_r sum_i T_i a*_i |c_i - c*_i|^2`, with
    the teacher's transmittance T, alpha a* and colour c*. Along the ray: `mean_r |C - C*|^2 + (A - A*)^2` over a random
    background. Alpha-space targets: KiloNeRF (Reiser et al. 2021), its `convert_density_to_alpha`.
    """

    def __init__(
        self,
        teacher: Field,
        draw: PixelDraw,
        sampler: Callable[[torch.Generator], Sampler],
        local_rays: Callable[[Rays], Rays],
        settings: PointSettings,
        generator: torch.Generator,
    ) -> None:
        self.teacher, self.pixels, self.sampler, self.local_rays = teacher, draw, sampler, local_rays
        self.settings, self.generator = settings, generator
        self.answers: list[Answers] = []
        self.age: list[int] = []
        self.rays = max(64, settings.samples // 16)

    def losses(self, student: Field, moment: Moment) -> dict[str, Tensor]:
        """Point, ray and opacity losses on the next batch."""
        answers = self._next(moment.step)
        sample = student.query(answers.samples.points(answers.rays))
        per_ray = answers.origin.importance / len(answers)
        per_sample = answers.transmittance * per_ray[answers.samples.ray.long()]
        length = answers.samples.lengths
        alpha, target = -torch.expm1(-sample.density * length), -torch.expm1(-answers.density * length)
        colour_error = (sample.rgb - answers.rgb).square().sum(-1)
        drawn = composite(sample.density, sample.rgb, answers.samples.t0, answers.samples.t1, answers.samples.offsets)
        background = torch.rand(len(answers), 3, generator=self.generator)
        error = (
            drawn.channels - answers.colour + (answers.opacity - drawn.opacity)[:, None] * background
        ).square().mean(-1)  # fmt: skip
        self.pixels.learn(answers.origin.camera, answers.origin.pixels, error.detach())
        weight = self.settings.point_weight * max(
            self.settings.point_floor, 0.5 * (1.0 + math.cos(math.pi * moment.fraction))
        )
        return {
            "pixels": (error * per_ray).sum(),
            "alpha": weight * (per_sample * (alpha - target).square()).sum(),
            "colour": weight / 3 * (per_sample * target * colour_error).sum(),
        }

    def _next(self, step: int) -> Answers:
        place = step % self.settings.blocks
        if place == len(self.answers):
            self.answers.append(self._ask())
            self.age.append(0)
        elif self.age[place] >= self.settings.hearings:
            self.answers[place], self.age[place] = self._ask(), 0
        self.age[place] += 1
        return self.answers[place]

    def _ask(self) -> Answers:
        drawn = self.pixels.draw(self.rays, self.generator)
        seed = int(torch.randint(1 << 62, (), generator=self.generator))
        answers = self._heard(*drawn, seed)
        per_ray = max(len(answers.samples), 1) / self.rays
        self.rays = int(min(max(self.settings.samples / per_ray, 64), 1 << 16))
        return answers

    def _heard(self, camera: Tensor, pixels: Tensor, importance: Tensor, seed: int) -> Answers:
        rays = self.local_rays(self.pixels.cameras.rays(camera, pixels))
        sampler = self.sampler(torch.Generator().manual_seed(seed))
        return ask(self.teacher, rays, sampler, Origin(camera, pixels, importance, seed))

    def state(self) -> dict[str, Any]:
        """Which pixels are cached, and where the draw stands; the answers themselves are asked again."""
        cached = [[*a.origin] for a in self.answers]
        return {"cached": cached, "age": self.age, "rays": self.rays, "pixels": self.pixels.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up `state()`."""
        self.answers = [self._heard(*origin) for origin in state["cached"]]
        self.age, self.rays = list(state["age"]), state["rays"]
        self.pixels.load_state(state["pixels"])
