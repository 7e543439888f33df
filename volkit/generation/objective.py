"""The training step of score distillation: pictures of particles, their gradients under a prior, and losses."""

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

__all__ = ["ConditionBuilder", "ScoreObjective", "ScoreTrainee", "change_mask"]

IDENTITY = Similarity()
MASK_BLUR = 5  # pixels over which the length of the gradient is averaged
FULL_CHANGE = 0.35  # of the largest gradient in a picture, from which a pixel may change freely


@dataclass(frozen=True)
class ConditionBuilder:
    """Builds the conditions of a step from its cameras and backgrounds.

    Attributes:
        words: the text conditions for the sides that cameras see.
        camera: encodes cameras and backgrounds; None: for priors without a camera.
        source: renders the source asset over backgrounds.
        background: one colour; None: a random colour for every view.
        control: renders the control pictures of a ControlNet.
        image: an embedded picture prompt, [1, token, width].
        preserve: weight of the difference from the source in pixels that should not change.
    """

    words: Callable[[Cameras], Conditions]
    camera: Callable[[Cameras, Tensor], Tensor] | None = None
    source: Callable[[Cameras, Tensor], Tensor] | None = None
    background: tuple[float, float, float] | None = None
    control: Callable[[Cameras], Tensor] | None = None
    image: Tensor | None = None
    preserve: float = 0.0

    def build(self, cameras: Cameras, background: Float[Tensor, "view 3"]) -> Conditions:
        """The conditions of pictures from these cameras over these colours."""
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
        """A background for each view, the same within a group of views of one object."""
        if self.background is not None:
            return torch.tensor(self.background, device=generator.device).expand(count, 3)
        drawn = torch.rand(count // together, 3, generator=generator, device=generator.device)
        return drawn.repeat_interleave(together, 0)


class ScoreObjective:
    """The loss of score distillation, `L = Σ pictures · sg(g)`, g being the guidance of `views` pictures a particle.

    The value of the loss `prior` is `½ Σ |x - x̂|² / views` in the prior's space, its gradient that of the method.
    Particles are samples of one distribution: learners are trained on the pictures of all of them.

    Args:
        guidance: prior and method.
        conditions: builds the conditions of a step.
        sampler: draws the cameras of a step, in the prior's frame.
        views: pictures of a particle in a step.
        generator: of cameras, backgrounds, noise and times.
        learners: networks that are trained beside the particles.
        place: world from the prior's frame.
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

    def with_place(self, place: Similarity) -> "ScoreObjective":
        """The same for a scene with another placement; learners and generator are shared."""
        other = copy(self)
        other.place = place
        return other

    def with_guidance(self, guidance: Guidance, sampler: CameraSampler) -> "ScoreObjective":
        """The same with another guidance and other cameras; learners and generator are shared."""
        other = copy(self)
        other.guidance, other.sampler = guidance, sampler
        return other

    def losses(self, particles: Sequence[Particle], info: StepInfo) -> StepLosses:
        """The prior's loss, the particles' penalties and the losses of learners, with the particles' records."""
        together, generator = self.guidance.prior.views, self.generator
        cameras = [self.sampler.draw(self.views, info.fraction, generator, together) for _ in particles]
        placed = [own.transform(self.place) for own in cameras]
        drawings = [particle.draw(own, info) for particle, own in zip(particles, placed, strict=True)]
        colours = self.conditions.colours(self.views * len(particles), together, generator)
        pictures = torch.cat([s.over(c) for s, c in zip(drawings, colours.split(self.views), strict=True)])
        _check(pictures, info)
        conditions = self.conditions.build(Cameras.cat(cameras), colours)
        view = self.guidance.step(pictures, conditions, generator, info.step, info.fraction)
        pull = (pictures * view.gradient).sum() * len(particles)  # each as if it were alone
        losses = {"prior": pull + (view.loss - pull.detach())}
        for drawing, error in zip(drawings, view.gradient.norm(dim=-1).split(self.views), strict=True):
            if drawing.errors is not None:
                losses["prior"] = losses["prior"] + (drawing.errors * error).sum()
        losses |= _sum_penalties(drawings)
        if self.conditions.preserve and conditions.source_pictures is not None:
            preserved = 1.0 - change_mask(view.gradient)
            change = (pictures - conditions.source_pictures).square().sum(-1)
            losses["preserve"] = self.conditions.preserve * (preserved * change).sum() / self.views
        for learner in self.learners:
            losses[learner.name] = learner.loss(self.guidance, pictures, conditions, generator)
        return StepLosses(losses, [drawing.record for drawing in drawings])

    def state(self) -> dict[str, Any]:
        """The parameters of the learners."""
        return {learner.name: [p.detach() for p in learner.parameters()] for learner in self.learners}

    def load_state(self, state: dict[str, Any]) -> None:
        for learner in self.learners:
            for parameter, stored in zip(learner.parameters(), state[learner.name], strict=True):
                parameter.data.copy_(stored)


class ScoreTrainee:
    """A trainee (`volkit.training`) of particles and the objective that trains them.

    Args:
        particles: scenes, trained together.
        objective: their loss.
    """

    def __init__(self, particles: Sequence[Particle], objective: ScoreObjective) -> None:
        self.particles, self.objective = particles, objective

    @property
    def scene(self) -> Representation:
        """The first particle."""
        return self.particles[0].scene

    def losses(self, info: StepInfo) -> StepLosses:
        return self.objective.losses(self.particles, info)

    def groups(self) -> list[ParamGroup]:
        """The groups of every particle, numbered, and of the learners."""
        own = [replace(group, name=f"{i}.{group.name}") for i, s in enumerate(self.particles) for group in s.groups()]
        beside = [ParamGroup(one.name, tuple(one.parameters()), one.rate) for one in self.objective.learners]
        return own + beside

    def after_step(self, info: StepInfo, record: Sequence[Any]) -> list[ParameterChange]:
        """`after_step` of each particle, with the record of its own drawing."""
        each = zip(self.particles, record, strict=True)
        changes = [particle.after_step(info, self.objective.generator, own) for particle, own in each]
        return [replace(change, of=f"{i}.") for i, change in enumerate(changes) if change is not None]

    def state(self) -> dict[str, Any]:
        """The states of particles, learners and generator."""
        return {
            "particles": [particle.state() for particle in self.particles],
            "objective": self.objective.state(),
            "generator": self.objective.generator.get_state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        for particle, stored in zip(self.particles, state["particles"], strict=True):
            particle.load_state(stored)
        self.objective.load_state(state["objective"])
        self.objective.generator.set_state(state["generator"].cpu())  # a GPU's generator, too, keeps its state there


def change_mask(gradient: Float[Tensor, "view height width 3"]) -> Float[Tensor, "view height width"]:
    """How much each pixel should change under a guidance, 0 to 1.

    It is the length of the gradient, averaged about the pixel, relative to `FULL_CHANGE` of the largest in the picture,
    clamped to 1.
    """
    length = gradient.norm(dim=-1)
    smooth = functional.avg_pool2d(length[:, None], MASK_BLUR, 1, MASK_BLUR // 2)[:, 0]
    return (smooth / smooth.amax((1, 2), keepdim=True).clamp_min(1e-12) / FULL_CHANGE).clamp_max(1.0)


def _sum_penalties(drawings: Sequence[Drawing]) -> dict[str, Tensor]:
    """Penalties of all particles by name."""
    names = dict.fromkeys(name for drawing in drawings for name in drawing.penalties)
    return {name: torch.stack([s.penalties[name] for s in drawings]).sum() for name in names}


def _check(pictures: Tensor, info: StepInfo) -> None:
    if not torch.isfinite(pictures).all():
        raise FloatingPointError(
            f"step {info.step}: the pictures of the scene are not finite, and so its parameters are not: lower the "
            "guidance scale"
        )
