"""The ladder: what a student climbs from its teacher's answers to pictures, and to photographs where there are any."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from volkit.distillation.rungs.active import PixelDraw
from volkit.distillation.rungs.cache import AnswerCache, CacheSize
from volkit.distillation.rungs.pixels import PixelRung, PixelSource, TargetRays
from volkit.distillation.rungs.points import PointRung, RegressionRung
from volkit.distillation.student import Stage
from volkit.geometry import Cameras, Rays
from volkit.ops.march import Stride
from volkit.representations.field import Field
from volkit.sampling.occupancy import OccupancySampler
from volkit.sampling.visible import VisibleSampler
from volkit.typing import Float, Tensor

__all__ = ["AnswerSource", "Ladder", "plan_stages"]

POINTS_UNTIL = 0.85  # then pictures on the student's own samples; with photographs they take the last part
REGRESSED = ("mlp",)  # students whose samples cost too much to ask whole rays: pictures would cost them dB
PICTURES_UNTIL = 0.6  # of the budget when photographs follow


@dataclass(frozen=True)
class Ladder:
    """What every rung of one conversion shares; all in the student's local frame."""

    teacher: Field
    student: Field
    cameras: Cameras  # world frame
    local_rays: Callable[[Rays], Rays]
    stride: Stride
    near: float
    generator: torch.Generator


class AnswerSource:
    """A teacher's cached pictures as a source of target rays, in the local frame already."""

    def __init__(self, cache: AnswerCache) -> None:
        self.cache = cache

    def draw(self, count: int, generator: torch.Generator) -> TargetRays:
        """At most `count` rays of the batch whose turn it is."""
        answers = self.cache.next()
        origin = answers.origin
        some = slice(0, count)
        kept = origin._replace(
            camera=origin.camera[some], pixels=origin.pixels[some], importance=origin.importance[some]
        )
        return TargetRays(answers.rays[some], answers.colour[some], answers.opacity[some], kept)

    def learn(self, drawn: TargetRays, errors: Float[Tensor, " ray"]) -> None:
        """Remember where the errors are."""
        self.cache.pixels.learn(drawn.origin.camera, drawn.origin.pixels, errors)

    def state(self) -> dict:
        """Nothing of its own: the cache is stored by the point rung."""
        return {}

    def load_state(self, state: dict) -> None:
        """Take up `state()`."""


def plan_stages(ladder: Ladder, samples: int, photographs: PixelSource | None = None) -> list[Stage]:
    """Points, then the teacher's pictures, then photographs if there are any; `samples` of the student a step."""
    regressed = ladder.student.config.kind in REGRESSED
    size = CacheSize() if regressed else CacheSize(samples)
    sampled = lambda generator: OccupancySampler(ladder.teacher, ladder.stride, ladder.near, generator)  # noqa: E731
    cache = AnswerCache(ladder.teacher, PixelDraw(ladder.cameras), sampled, ladder.local_rays, size, ladder.generator)
    own = VisibleSampler(OccupancySampler(ladder.student, ladder.stride, ladder.near, ladder.generator), ladder.student)
    share = 1.0 if photographs is None else PICTURES_UNTIL
    pictures = PixelRung(AnswerSource(cache), own, lambda rays: rays, samples, ladder.generator)
    if regressed:
        stages = [Stage(RegressionRung(cache, samples, ladder.generator), share)]
    else:
        stages = [Stage(PointRung(cache, ladder.generator), POINTS_UNTIL * share), Stage(pictures, share)]
    if photographs is not None:
        stages.append(Stage(PixelRung(photographs, own, ladder.local_rays, samples, ladder.generator)))
    return stages
