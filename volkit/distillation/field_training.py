"""Fields in training: objectives by stage of the budget, penalties, growth and occupancy."""

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

__all__ = ["FieldTrainee", "Objective", "Schedule", "Stage", "TrainableField"]

PENALTY_INTERVAL = 16  # steps between penalties: they visit every parameter, a batch few (Karras et al. 2020, 4.1)


class Objective(Protocol):
    """The losses of a student; teacher or pictures and sampler are given at construction."""

    def losses(self, student: Field, info: StepInfo) -> dict[str, Tensor]:
        """Named, weighted losses of a step; differentiable in the student."""
        ...

    def state(self) -> dict[str, Any]:
        """The state that a resumed run needs."""
        ...

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore `state()`."""
        ...


@dataclass(frozen=True)
class Stage:
    """A part of the training budget.

    Attributes:
        objective: the losses.
        until: the fraction of the budget at which the next stage begins.
    """

    objective: Objective
    until: float = 1.0


@dataclass(frozen=True)
class Schedule:
    """When and how fast a field is trained and changed.

    Attributes:
        groups: parameters and learning rates of a field; by default its own.
        rate: factor of the learning rates: below 1 for a student that is initialised close to its teacher.
        own_penalties: whether the representation's penalties apply.
        own_growth: whether the representation's resolution grows during training.
        refreshes: whether the occupancy is refreshed after a step, given whether it is incomplete.
    """

    groups: Callable[[Field], list[ParamGroup]] = lambda field: field.param_groups()
    rate: float = 1.0
    own_penalties: bool = True
    own_growth: bool = True
    refreshes: Callable[[StepInfo, bool], bool] = lambda info, incomplete: True


class TrainableField:
    """A field, its occupancy grid and its schedule, whatever it is trained on: photographs, a teacher or a prior.

    Args:
        scene: the field.
        grid: of its occupancy; None: the occupancy stays as it is.
        schedule: by default the representation's own.
    """

    def __init__(self, scene: Field, grid: OccupancyGrid | None = None, schedule: Schedule | None = None) -> None:
        self.scene, self.grid, self.schedule = scene, grid, schedule or Schedule()

    def groups(self) -> list[ParamGroup]:
        """The field's parameters at the rates of the schedule."""
        own = self.schedule.groups(self.scene)
        return [replace(group, lr=self.schedule.rate * group.lr) for group in own]

    def penalties(self, info: StepInfo, generator: torch.Generator) -> dict[str, Tensor]:
        """The representation's penalties, every `PENALTY_INTERVAL` steps at so many times their weight."""
        if not self.schedule.own_penalties or info.step % PENALTY_INTERVAL:
            return {}
        return {name: PENALTY_INTERVAL * penalty for name, penalty in self.scene.penalties(generator).items()}

    def after_step(self, info: StepInfo, generator: torch.Generator) -> ParameterChange | None:
        """Grow the field, then refresh its occupancy."""
        grown = self.schedule.own_growth and self.scene.refine(info.fraction)
        if self.grid is not None and self.schedule.refreshes(info, self.grid.incomplete):
            self.grid.refresh(self.scene, info.step, generator)
        return ParameterChange() if grown else None

    def state(self) -> dict[str, Any]:
        """Parameters and occupancy."""
        return {"scene": dict(self.scene.state_dict()), "grid": None if self.grid is None else self.grid.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore `state()`, with the shapes of a field that had grown by then."""
        self.scene.load_state_dict(state["scene"])
        if self.grid is not None:
            self.grid.load_state(state["grid"])


class FieldTrainee:
    """A trainee (`volkit.training`) of one field and the stages of its budget.

    Args:
        field: the field.
        stages: in their order; the last one until 1.
        generator: of all randomness.
        module: trained together with the field, such as the exposures of photographs.

    Raises:
        ValueError: the last stage ends before the budget.
    """

    def __init__(
        self,
        field: TrainableField,
        stages: Sequence[Stage],
        generator: torch.Generator,
        module: nn.Module | None = None,
    ) -> None:
        if not stages or stages[-1].until < 1.0:
            raise ValueError("trainee: the last stage must reach until = 1")
        self.field, self.stages, self.generator, self.module = field, stages, generator, module

    @property
    def scene(self) -> Field:
        """The current field."""
        return self.field.scene

    def losses(self, info: StepInfo) -> StepLosses:
        """The losses of the current stage, and penalties."""
        stage = next(s for s in self.stages if info.fraction < s.until)
        return StepLosses(stage.objective.losses(self.scene, info) | self.field.penalties(info, self.generator))

    def groups(self) -> list[ParamGroup]:
        """The parameters of the field and of the module."""
        further = [] if self.module is None else [ParamGroup("module", tuple(self.module.parameters()), lr=1e-3)]
        return self.field.groups() + further

    def after_step(self, info: StepInfo, record: None = None) -> list[ParameterChange]:
        """Growth and occupancy."""
        change = self.field.after_step(info, self.generator)
        return [] if change is None else [change]

    def state(self) -> dict[str, Any]:
        """The states of field, module, objectives and generator."""
        return self.field.state() | {
            "module": None if self.module is None else dict(self.module.state_dict()),
            "objectives": [stage.objective.state() for stage in self.stages],
            "generator": self.generator.get_state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.field.load_state(state)
        if self.module is not None:
            self.module.load_state_dict(state["module"])
        for stage, stored in zip(self.stages, state["objectives"], strict=True):
            stage.objective.load_state(stored)
        self.generator.set_state(state["generator"].cpu())  # a GPU's generator, too, keeps its state there
