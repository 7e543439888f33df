"""A field in training: which rung is climbed when, when its occupancy is refreshed and its resolution grows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import nn

from volkit.ops.param_group import ParamGroup
from volkit.representations.field import Field
from volkit.sampling.occupancy_grid import OccupancyGrid
from volkit.training.loop import ParameterChange, StepInfo, StepLosses
from volkit.typing import Tensor

__all__ = ["FieldStudent", "FieldTrainee", "Rung", "Schedule", "Stage"]


PENALTY_INTERVAL = 16  # steps between penalties: they visit every parameter, a batch few (Karras et al. 2020, 4.1)


class Rung(Protocol):
    """Binds teacher, views and sampler at construction; yields named losses of a student."""

    def losses(self, student: Field, moment: StepInfo) -> dict[str, Tensor]:
        """Named, weighted losses at a moment of the optimisation."""
        ...

    def state(self) -> dict[str, Any]:
        """What a resumed run needs."""
        ...

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up `state()`."""
        ...


@dataclass(frozen=True)
class Stage:
    """A rung, and the fraction of the budget until which it is climbed."""

    rung: Rung
    until: float = 1.0


@dataclass(frozen=True)
class Schedule:
    """How a field learns: rates, whether its own penalties and growth apply (by default all its own), and when its
    occupancy is looked at again: `looks` is given the moment and whether nothing is known of it yet.
    """

    groups: Callable[[Field], list[ParamGroup]] = lambda field: field.param_groups()
    rate: float = 1.0  # of the groups' learning rates: below 1 for a student that starts close to its teacher
    own_penalties: bool = True
    own_growth: bool = True
    looks: Callable[[StepInfo, bool], bool] = lambda moment, unknown: True


class FieldTrainee:
    """A field that learns, its occupancy and its schedule, whoever teaches it: pictures, a teacher or a prior."""

    def __init__(self, scene: Field, grid: OccupancyGrid | None = None, schedule: Schedule | None = None) -> None:
        self.scene, self.grid, self.schedule = scene, grid, schedule or Schedule()

    def groups(self) -> list[ParamGroup]:
        """The field's parameters at the rates of the schedule."""
        own = self.schedule.groups(self.scene)
        return [replace(group, lr=self.schedule.rate * group.lr) for group in own]

    def penalties(self, moment: StepInfo, generator: torch.Generator) -> dict[str, Tensor]:
        """Now and then the representation's own penalties, at their mean weight."""
        if not self.schedule.own_penalties or moment.step % PENALTY_INTERVAL:
            return {}
        return {name: PENALTY_INTERVAL * penalty for name, penalty in self.scene.penalties(generator).items()}

    def after_step(self, moment: StepInfo, generator: torch.Generator) -> ParameterChange | None:
        """Grow the field, then look again at where it is empty."""
        grown = self.schedule.own_growth and self.scene.refine(moment.fraction)
        if self.grid is not None and self.schedule.looks(moment, self.grid.incomplete):
            self.grid.refresh(self.scene, moment.step, generator)
        return ParameterChange() if grown else None

    def state(self) -> dict[str, Any]:
        """Parameters and occupancy."""
        return {"scene": dict(self.scene.state_dict()), "grid": None if self.grid is None else self.grid.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up `state()`; a field that had grown by then takes the stored shapes."""
        self.scene.load_state_dict(state["scene"])
        if self.grid is not None:
            self.grid.load_state(state["grid"])


class FieldStudent:
    """A trainee of `TrainingLoop` made of a field that learns and the stages of its ladder."""

    def __init__(
        self,
        trainee: FieldTrainee,
        stages: Sequence[Stage],
        generator: torch.Generator,
        beside: nn.Module | None = None,
    ) -> None:
        if not stages or stages[-1].until < 1.0:
            raise ValueError("student: the last stage must reach until = 1")
        self.trainee, self.stages, self.generator, self.beside = trainee, stages, generator, beside

    @property
    def scene(self) -> Field:
        """The field as it is now."""
        return self.trainee.scene

    def losses(self, moment: StepInfo) -> StepLosses:
        """Losses of the current stage, and penalties."""
        stage = next(s for s in self.stages if moment.fraction < s.until)
        return StepLosses(stage.rung.losses(self.scene, moment) | self.trainee.penalties(moment, self.generator))

    def groups(self) -> list[ParamGroup]:
        """The field's parameters and those of what is trained beside it."""
        beside = [] if self.beside is None else [ParamGroup("beside", tuple(self.beside.parameters()), lr=1e-3)]
        return self.trainee.groups() + beside

    def after_step(self, moment: StepInfo, record: None = None) -> list[ParameterChange]:
        """Growth and occupancy."""
        change = self.trainee.after_step(moment, self.generator)
        return [] if change is None else [change]

    def state(self) -> dict[str, Any]:
        """Parameters, occupancy, rungs, randomness."""
        return self.trainee.state() | {
            "beside": None if self.beside is None else dict(self.beside.state_dict()),
            "rungs": [stage.rung.state() for stage in self.stages],
            "generator": self.generator.get_state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up `state()`."""
        self.trainee.load_state(state)
        if self.beside is not None:
            self.beside.load_state_dict(state["beside"])
        for stage, stored in zip(self.stages, state["rungs"], strict=True):
            stage.rung.load_state(stored)
        self.generator.set_state(state["generator"].cpu())  # a GPU's generator, too, keeps its state there
