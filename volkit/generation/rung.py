"""Score distillation: pictures of a step, what the prior says about them, and the way back to what they show."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn import functional

from volkit.generation.camera_sampler import CameraSampler
from volkit.generation.learners import Learner
from volkit.generation.particle import Drawing, Particle
from volkit.geometry import Cameras, Similarity
from volkit.guidance.condition import Conditions
from volkit.guidance.guidance import Guidance
from volkit.ops.param_group import ParamGroup
from volkit.representations.representation import Representation
from volkit.training.loop import ParameterChange, StepInfo, StepLosses
from volkit.typing import Float, Tensor

__all__ = ["ConditionBuilder", "ScoreRung", "ScoreTrainee", "change_mask"]

IDENTITY = Similarity()
MASK_BLUR = 5  # pixels over which the change that a guidance asks for is averaged
FULL_CHANGE = 0.35  # of the largest change in a picture, from which on a pixel is free


@dataclass(frozen=True)
class ConditionBuilder:
    """What a step asks about its pictures: `words` are those of a prompt from these sides, `camera` the numbers that
    encode cameras and backgrounds for a prior that takes them; `source` draws what there was at the start.
    """

    words: Callable[[Cameras], Conditions]
    camera: Callable[[Cameras, Tensor], Tensor] | None = None
    source: Callable[[Cameras, Tensor], Tensor] | None = None
    background: tuple[float, float, float] | None = None  # None: a colour of its own for every view
    control: Callable[[Cameras], Tensor] | None = None  # draws what a ControlNet is shown of these cameras
    image: Tensor | None = None  # an embedded picture of what it shall be, [1, token, width]
    preserve: float = 0.0  # of what there was at the start, where the prior does not ask for a change

    def build(self, cameras: Cameras, background: Float[Tensor, "view 3"]) -> Conditions:
        """Conditions for pictures by these cameras over these colours."""
        conditions = self.words(cameras)
        if self.camera is not None:
            numbers = self.camera(cameras, background)
            conditions = conditions.map(lambda condition: replace(condition, camera=numbers))
        if self.control is not None:
            picture = self.control(cameras)
            conditions = conditions.map(lambda condition: replace(condition, control=picture))
        if self.image is not None:
            conditions = conditions.with_image(self.image)
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
    """`L = Σ pictures · sg(g)`, g what the guidance says about `views` pictures of every particle.

    The value of the loss `prior` is `½ Σ |x - x̂|² / views` in the prior's space, its gradient that of the rule.
    All particles are of one distribution: what learns beside them sees the pictures of all. `place` is world from the
    prior's frame, in which it is told its cameras.
    """

    def __init__(
        self,
        guidance: Guidance,
        conditions: ConditionBuilder,
        sampler: CameraSampler,
        views: int,
        generator: torch.Generator,
        learners: Sequence[Learner] = (),
        place: Similarity = IDENTITY,
    ) -> None:
        self.guidance, self.conditions, self.sampler, self.views = guidance, conditions, sampler, views
        self.generator, self.learners, self.place = generator, learners, place

    def with_place(self, place: Similarity) -> "ScoreRung":
        """The same about a scene that stands elsewhere; learners and generator are shared."""
        other = copy(self)
        other.place = place
        return other

    def with_guidance(self, guidance: Guidance, sampler: CameraSampler) -> "ScoreRung":
        """The same with another guidance and other cameras; learners and generator are shared."""
        other = copy(self)
        other.guidance, other.sampler = guidance, sampler
        return other

    def losses(self, particles: Sequence[Particle], moment: StepInfo) -> StepLosses:
        """The prior's loss, the particles' penalties, the losses of whatever learns beside them; their records."""
        together, generator = self.guidance.prior.views, self.generator
        cameras = [self.sampler.draw(self.views, moment.fraction, generator, together) for _ in particles]
        placed = [own.transform(self.place) for own in cameras]
        drawings = [particle.draw(own, moment) for particle, own in zip(particles, placed, strict=True)]
        colours = self.conditions.colours(self.views * len(particles), together, generator)
        pictures = torch.cat([s.over(c) for s, c in zip(drawings, colours.split(self.views), strict=True)])
        _check(pictures, moment)
        conditions = self.conditions.build(Cameras.cat(cameras), colours)
        view = self.guidance.step(pictures, conditions, generator, moment.step, moment.fraction)
        pull = (pictures * view.gradient).sum() * len(particles)  # each as if it were alone
        losses = {"prior": pull + (view.loss - pull.detach())}
        for drawing, error in zip(drawings, view.gradient.norm(dim=-1).split(self.views), strict=True):
            if drawing.errors is not None:
                losses["prior"] = losses["prior"] + (drawing.errors * error).sum()
        losses |= _sum_penalties(drawings)
        if self.conditions.preserve and conditions.source_pictures is not None:
            preserved = 1.0 - change_mask(view.gradient)
            change = (pictures - conditions.source_pictures).square().sum(-1)
            losses["held"] = self.conditions.preserve * (preserved * change).sum() / self.views
        for learner in self.learners:
            losses[learner.name] = learner.loss(self.guidance, pictures, conditions, generator)
        return StepLosses(losses, [drawing.record for drawing in drawings])

    def state(self) -> dict[str, Any]:
        """What learns beside the particles."""
        return {learner.name: [p.detach() for p in learner.parameters()] for learner in self.learners}

    def load_state(self, state: dict[str, Any]) -> None:
        for learner in self.learners:
            for parameter, stored in zip(learner.parameters(), state[learner.name], strict=True):
                parameter.data.copy_(stored)


class ScoreTrainee:
    """A trainee (`volkit.training`) made of the particles that learn and the rung that looks at them."""

    def __init__(self, particles: Sequence[Particle], rung: ScoreRung) -> None:
        self.particles, self.rung = particles, rung

    @property
    def scene(self) -> Representation:
        """The first particle."""
        return self.particles[0].scene

    def losses(self, moment: StepInfo) -> StepLosses:
        return self.rung.losses(self.particles, moment)

    def groups(self) -> list[ParamGroup]:
        """Every particle's, numbered, and what learns beside them."""
        own = [replace(group, name=f"{i}.{group.name}") for i, s in enumerate(self.particles) for group in s.groups()]
        beside = [ParamGroup(one.name, tuple(one.parameters()), one.rate) for one in self.rung.learners]
        return own + beside

    def after_step(self, moment: StepInfo, record: Sequence[Any]) -> list[ParameterChange]:
        """Whatever each particle does, by the record of its own drawing."""
        each = zip(self.particles, record, strict=True)
        changes = [particle.after_step(moment, self.rung.generator, own) for particle, own in each]
        return [replace(change, of=f"{i}.") for i, change in enumerate(changes) if change is not None]

    def state(self) -> dict[str, Any]:
        """Particles, what learns beside them, randomness."""
        return {
            "particles": [particle.state() for particle in self.particles],
            "rung": self.rung.state(),
            "generator": self.rung.generator.get_state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        for particle, stored in zip(self.particles, state["particles"], strict=True):
            particle.load_state(stored)
        self.rung.load_state(state["rung"])
        self.rung.generator.set_state(state["generator"].cpu())  # a GPU's generator, too, keeps its state there


def change_mask(gradient: Float[Tensor, "view height width 3"]) -> Float[Tensor, "view height width"]:
    """How much of each pixel a guidance asks to change, 0 to 1: its gradient's length about the pixel, of the largest
    in the picture, 1 from FULL_CHANGE on.
    """
    length = gradient.norm(dim=-1)
    smooth = functional.avg_pool2d(length[:, None], MASK_BLUR, 1, MASK_BLUR // 2)[:, 0]
    return (smooth / smooth.amax((1, 2), keepdim=True).clamp_min(1e-12) / FULL_CHANGE).clamp_max(1.0)


def _sum_penalties(drawings: Sequence[Drawing]) -> dict[str, Tensor]:
    """Penalties of all particles by name."""
    names = dict.fromkeys(name for drawing in drawings for name in drawing.penalties)
    return {name: torch.stack([s.penalties[name] for s in drawings]).sum() for name in names}


def _check(pictures: Tensor, moment: StepInfo) -> None:
    if not torch.isfinite(pictures).all():
        raise FloatingPointError(
            f"step {moment.step}: the pictures of the scene are not finite, so that its own parameters are not: lower "
            "the guidance scale"
        )
