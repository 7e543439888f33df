"""The last rung: pictures of a step, what the prior says about them, and the way back to what they show."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn import functional

from volkit.generation.camera_sampler import CameraSampler
from volkit.generation.learners import Learner
from volkit.generation.subject import Drawing, Subject
from volkit.geometry import Cameras, Similarity
from volkit.guidance.condition import Conditions
from volkit.guidance.guidance import Guidance
from volkit.training.loop import StepInfo, StepLosses
from volkit.typing import Float, Tensor

__all__ = ["ConditionBuilder", "ScoreRung", "change_mask"]

IN_PLACE = Similarity()
ABOUT = 5  # pixels about a pixel that speak for it
TOUCHED = 0.35


@dataclass(frozen=True)
class ConditionBuilder:
    """What a step asks about its pictures: `words` are those of a prompt from these sides, `camera` the numbers that
    tell cameras and backgrounds to a prior that takes them; `source` draws what there was at the start.
    """

    words: Callable[[Cameras], Conditions]
    camera: Callable[[Cameras, Tensor], Tensor] | None = None
    source: Callable[[Cameras, Tensor], Tensor] | None = None
    background: tuple[float, float, float] | None = None  # None: a colour of its own for every view
    control: Callable[[Cameras], Tensor] | None = None  # draws what a ControlNet is told of these cameras
    image: Tensor | None = None  # an embedded picture of what it shall be, [1, token, width]
    preserve: float = 0.0  # of what there was at the start, where the prior does not ask for a change

    def about(self, cameras: Cameras, background: Float[Tensor, "view 3"]) -> Conditions:
        """Conditions for pictures by these cameras over these colours."""
        conditions = self.words(cameras)
        if self.camera is not None:
            numbers = self.camera(cameras, background)
            conditions = conditions.told(lambda condition: replace(condition, camera=numbers))
        if self.control is not None:
            picture = self.control(cameras)
            conditions = conditions.told(lambda condition: replace(condition, control=picture))
        if self.image is not None:
            conditions = conditions.shown(self.image)
        if self.source is not None:
            with torch.no_grad():
                conditions = replace(conditions, source_pictures=self.source(cameras, background))
        return conditions

    def colours(self, count: int, together: int, generator: torch.Generator) -> Float[Tensor, "view 3"]:
        """A background for each view, the same for views that are seen together."""
        if self.background is not None:
            return torch.tensor(self.background, device=generator.device).expand(count, 3)
        drawn = torch.rand(count // together, 3, generator=generator, device=generator.device)
        return drawn.repeat_interleave(together, 0)


class ScoreRung:
    """`L = Σ pictures · sg(g)`, g what the guidance says about `views` pictures of every subject.

    The value of the loss `prior` is `½ Σ |x - x̂|² / views` in the prior's space, its gradient that of the rule.
    All subjects are particles of one distribution: what learns beside them sees the pictures of all. `place` is world
    from the prior's frame, in which it is told its cameras.
    """

    def __init__(
        self,
        guidance: Guidance,
        asked: ConditionBuilder,
        around: CameraSampler,
        views: int,
        generator: torch.Generator,
        learners: Sequence[Learner] = (),
        place: Similarity = IN_PLACE,
    ) -> None:
        self.guidance, self.asked, self.around, self.views = guidance, asked, around, views
        self.generator, self.learners, self.place = generator, learners, place

    def losses(self, subjects: Sequence[Subject], moment: StepInfo) -> StepLosses:
        """The prior's loss, the subjects' penalties, and the losses of whatever learns beside them; their records."""
        together, generator = self.guidance.prior.views, self.generator
        cameras = [self.around.draw(self.views, moment.fraction, generator, together) for _ in subjects]
        placed = [seen.moved(self.place) for seen in cameras]
        drawings = [subject.draw(seen, moment) for subject, seen in zip(subjects, placed, strict=True)]
        colours = self.asked.colours(self.views * len(subjects), together, generator)
        pictures = torch.cat([s.over(c) for s, c in zip(drawings, colours.split(self.views), strict=True)])
        _check(pictures, moment)
        conditions = self.asked.about(Cameras.cat(cameras), colours)
        seen = self.guidance.step(pictures, conditions, generator, moment.step, moment.fraction)
        pull = (pictures * seen.gradient).sum() * len(subjects)  # each as if it were alone
        losses = {"prior": pull + (seen.loss - pull.detach())}
        for drawing, error in zip(drawings, seen.gradient.norm(dim=-1).split(self.views), strict=True):
            if drawing.errors is not None:
                losses["prior"] = losses["prior"] + (drawing.errors * error).sum()
        losses |= _summed(drawings)
        if self.asked.preserve and conditions.source_pictures is not None:
            kept = 1.0 - change_mask(seen.gradient)
            away = (pictures - conditions.source_pictures).square().sum(-1)
            losses["held"] = self.asked.preserve * (kept * away).sum() / self.views
        for learner in self.learners:
            losses[learner.name] = learner.loss(self.guidance, pictures, conditions, generator)
        return StepLosses(losses, [drawing.record for drawing in drawings])

    def state(self) -> dict[str, Any]:
        """What learns beside the subjects."""
        return {learner.name: [p.detach() for p in learner.parameters()] for learner in self.learners}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up `state()`."""
        for learner in self.learners:
            for parameter, stored in zip(learner.parameters(), state[learner.name], strict=True):
                parameter.data.copy_(stored)


def change_mask(gradient: Float[Tensor, "view height width 3"]) -> Float[Tensor, "view height width"]:
    """How much of each pixel a guidance asks to change, 0 to 1: its gradient's length about the pixel, of the largest
    in the picture, 1 from TOUCHED on.
    """
    length = gradient.norm(dim=-1)
    smooth = functional.avg_pool2d(length[:, None], ABOUT, 1, ABOUT // 2)[:, 0]
    return (smooth / smooth.amax((1, 2), keepdim=True).clamp_min(1e-12) / TOUCHED).clamp_max(1.0)


def _summed(drawings: Sequence[Drawing]) -> dict[str, Tensor]:
    """Penalties of all subjects by name."""
    names = dict.fromkeys(name for drawing in drawings for name in drawing.penalties)
    return {name: torch.stack([s.penalties[name] for s in drawings]).sum() for name in names}


def _check(pictures: Tensor, moment: StepInfo) -> None:
    if not torch.isfinite(pictures).all():
        raise FloatingPointError(
            f"step {moment.step}: the pictures of the scene are not finite, so that its own parameters are not: lower "
            "the guidance scale"
        )
