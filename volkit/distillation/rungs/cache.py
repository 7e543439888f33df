"""Batches of answers, each used several times before it is asked anew where the student errs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from volkit.distillation.rungs.active import PixelDraw
from volkit.distillation.rungs.answers import Answers, Origin, ask
from volkit.geometry import Rays
from volkit.representations.field import Field
from volkit.sampling.sampler import Sampler
from volkit.typing import Float, Tensor

__all__ = ["AnswerCache", "CacheSize"]

MOST_RAYS = 1 << 16  # bounds memory where rays are nearly empty
FEWEST_RAYS = 64


@dataclass(frozen=True)
class CacheSize:
    """How many answers are kept, and how often each is heard."""

    samples: int = 1 << 16  # visible samples in a batch
    batches: int = 24
    reuse: int = 4  # uses of a batch before it is asked anew


class AnswerCache:
    """Answers of one field on pixels of many cameras, in the student's local frame.

    Batches come round in turn. A batch that was heard `reuse` times is replaced by fresh rays from the error-driven
    draw, so the teacher's cost is divided by `reuse` and the student never sees a fixed set.
    """

    def __init__(
        self,
        teacher: Field,
        pixels: PixelDraw,
        sampler: Callable[[torch.Generator], Sampler],
        local_rays: Callable[[Rays], Rays],
        size: CacheSize,
        generator: torch.Generator,
    ) -> None:
        self.teacher, self.pixels, self.sampler, self.local_rays = teacher, pixels, sampler, local_rays
        self.size, self.generator = size, generator
        self.batches: list[Answers] = []
        self.ages: list[int] = []
        self.turn = 0
        self.rays = max(FEWEST_RAYS, size.samples // 16)

    def next(self) -> Answers:
        """The batch whose turn it is."""
        place = self.turn % self.size.batches
        self.turn += 1
        if place == len(self.batches):
            self.batches.append(self._ask())
            self.ages.append(0)
        elif self.ages[place] >= self.size.reuse:
            self.batches[place], self.ages[place] = self._ask(), 0
        self.ages[place] += 1
        return self.batches[place]

    def learn(self, answers: Answers, errors: Float[Tensor, " ray"]) -> None:
        """Hear the squared errors of a batch's rays."""
        self.pixels.learn(answers.origin.camera, answers.origin.pixels, errors)

    def _ask(self) -> Answers:
        drawn = self.pixels.draw(self.rays, self.generator)
        seed = int(torch.randint(1 << 62, (), generator=self.generator, device=self.generator.device))
        answers = self._heard(Origin(*drawn, seed))
        per_ray = max(len(answers.samples), 1) / self.rays
        self.rays = int(min(max(self.size.samples / per_ray, FEWEST_RAYS), MOST_RAYS))
        return answers

    def _heard(self, origin: Origin) -> Answers:
        rays = self.local_rays(self.pixels.cameras.rays(origin.camera, origin.pixels))
        return ask(
            self.teacher, rays, self.sampler(torch.Generator(self.generator.device).manual_seed(origin.seed)), origin
        )

    def state(self) -> dict[str, Any]:
        """Which pixels are kept, and where the draw stands; the answers themselves are asked again."""
        return {
            "origins": [list(answers.origin) for answers in self.batches],
            "ages": self.ages,
            "turn": self.turn,
            "rays": self.rays,
            "pixels": self.pixels.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up `state()`."""
        self.batches = [self._heard(Origin(*origin)) for origin in state["origins"]]
        self.ages, self.turn, self.rays = list(state["ages"]), state["turn"], state["rays"]
        self.pixels.load_state(state["pixels"])
