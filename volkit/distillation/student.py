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

__all__ = ["FieldStudent", "Rung", "Schedule", "Stage"]


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
    """Learning rates, and whether the representation's own penalties and growth apply; all its own by default."""

    groups: Callable[[Field], list[ParamGroup]] = lambda field: field.param_groups()
    rate: float = 1.0  # of the groups' learning rates: below 1 for a student that starts close to its teacher
    own_penalties: bool = True
    own_growth: bool = True


class FieldStudent:
    """A trainee of `TrainingLoop` made of a field and the stages of its ladder."""

    def __init__(
        self,
        scene: Field,
        stages: Sequence[Stage],
        generator: torch.Generator,
        grid: OccupancyGrid | None = None,
        beside: nn.Module | None = None,
        recipe: Schedule | None = None,
    ) -> None:
        if not stages or stages[-1].until < 1.0:
            raise ValueError("student: the last stage must reach until = 1")
        self.scene, self.stages, self.generator, self.grid, self.beside = scene, stages, generator, grid, beside
        self.recipe = recipe or Schedule()

    def losses(self, moment: StepInfo) -> StepLosses:
        """Losses of the current stage, and now and then the representation's own penalties at their mean weight."""
        stage = next(s for s in self.stages if moment.fraction < s.until)
        losses = stage.rung.losses(self.scene, moment)
        if self.recipe.own_penalties and moment.step % PENALTY_INTERVAL == 0:
            penalties = self.scene.penalties(self.generator)
            losses |= {name: PENALTY_INTERVAL * penalty for name, penalty in penalties.items()}
        return StepLosses(losses)

    def groups(self) -> list[ParamGroup]:
        """The field's parameters and those of what is trained beside it."""
        beside = [] if self.beside is None else [ParamGroup("beside", tuple(self.beside.parameters()), lr=1e-3)]
        own = [replace(group, lr=self.recipe.rate * group.lr) for group in self.recipe.groups(self.scene)]
        return own + beside

    def after_step(self, moment: StepInfo, record: None = None) -> list[ParameterChange]:
        """Grow the field, then look again at where it is empty."""
        del record
        grown = self.recipe.own_growth and self.scene.refine(moment.fraction)
        if self.grid is not None:
            self.grid.refresh(self.scene, moment.step, self.generator)
        return [ParameterChange()] if grown else []

    def state(self) -> dict[str, Any]:
        """Parameters, occupancy, rungs, randomness."""
        return {
            "scene": dict(self.scene.state_dict()),
            "beside": None if self.beside is None else dict(self.beside.state_dict()),
            "grid": None if self.grid is None else self.grid.state(),
            "rungs": [stage.rung.state() for stage in self.stages],
            "generator": self.generator.get_state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up `state()`; a field that had grown by then takes the stored shapes."""
        self.scene.load_state_dict(state["scene"])
        if self.beside is not None:
            self.beside.load_state_dict(state["beside"])
        if self.grid is not None:
            self.grid.load_state(state["grid"])
        for stage, stored in zip(self.stages, state["rungs"], strict=True):
            stage.rung.load_state(stored)
        self.generator.set_state(state["generator"].cpu())  # a GPU's generator, too, keeps its state there
