"""The one optimisation loop: it knows losses, parameters and time, and nothing of 3D."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from volkit.choices import ParameterError
from volkit.ops.adam import AdamRule, adam_
from volkit.ops.muon import MuonRule, muon_
from volkit.ops.param_group import ParamGroup
from volkit.typing import Tensor

__all__ = [
    "Budget",
    "History",
    "ParameterChange",
    "StepHook",
    "StepInfo",
    "StepLosses",
    "Trainee",
    "TrainingLoop",
    "cosine",
]

State = dict[str, Any]
MOMENTS = {"adam": 2, "muon": 1}  # tensors of a parameter's size in the state of an optimiser rule


@dataclass(frozen=True)
class Budget:
    """The length of an optimisation, in seconds or in steps; evaluation and writing do not count.

    Attributes:
        seconds: wall-clock time.
        steps: number of steps.

    Raises:
        ParameterError: both or neither are given.
    """

    seconds: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        if (self.seconds is None) == (self.steps is None):
            raise ParameterError("budget: give seconds or steps, one of the two")

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """A budget from `120s`, `10m`, `1h` (wall clock) or `2000` (steps); ParameterError for other text."""
        units = {"s": 1.0, "m": 60.0, "h": 3600.0}
        try:
            budget = cls(seconds=float(text[:-1]) * units[text[-1]]) if text[-1:] in units else cls(steps=int(text))
        except ValueError:
            budget = None
        if budget is None or not (budget.seconds or budget.steps or 0) > 0:
            raise ParameterError(f"budget '{text}': write 120s, 10m or 1h for wall clock, 2000 for steps")
        return budget

    def fraction(self, step: int, seconds: float) -> float:
        """The spent fraction of the budget, in [0, 1]."""
        spent = step / self.steps if self.steps else seconds / (self.seconds or math.inf)
        return min(spent, 1.0)


@dataclass(frozen=True)
class StepInfo:
    """The progress of an optimisation at a step.

    Attributes:
        step: number of completed steps.
        seconds: of optimisation.
        fraction: of the budget that is spent.
    """

    step: int
    seconds: float
    fraction: float


@dataclass
class History:
    """Values recorded during training.

    Attributes:
        rows: step, seconds and the recorded values.
    """

    rows: list[dict[str, float]] = field(default_factory=list)

    def add(self, info: StepInfo, **values: float) -> None:
        """Record values at a step."""
        self.rows.append({"step": info.step, "seconds": info.seconds, **values})


@dataclass(frozen=True)
class ParameterChange:
    """A replacement of parameters, by which the optimiser's moments follow their rows.

    Attributes:
        rows: the former row of each new one, -1: none; None: all are new.
        of: beginning of the names of the groups that changed; empty: all groups.
    """

    rows: Tensor | None = None
    of: str = ""


@dataclass(frozen=True)
class StepLosses:
    """The losses of a step.

    Attributes:
        values: weighted and differentiable, by name.
        record: passed to the trainee's `after_step`.
    """

    values: dict[str, Tensor]
    record: Any = None


class Trainee(Protocol):
    """What the loop optimises: losses and parameters. Its state includes all randomness and schedules."""

    @property
    def scene(self) -> Any:
        """The scene in training, as it is evaluated."""
        ...

    def losses(self, info: StepInfo) -> StepLosses:
        """The loop minimises their sum."""
        ...

    def groups(self) -> list[ParamGroup]:
        """Parameters with their learning rates."""
        ...

    def after_step(self, info: StepInfo, record: Any) -> Sequence[ParameterChange]:
        """Densify, refine, refresh the occupancy; returns the changes of parameters. `record` is that of the losses."""
        ...

    def state(self) -> State:
        """The state that a resumed run needs, parameters included."""
        ...

    def load_state(self, state: State) -> None:
        """Restore `state()`."""
        ...


StepHook = Callable[[StepInfo, dict[str, float], "TrainingLoop"], None]


def cosine(final: float = 0.02, warmup_steps: int = 50) -> Callable[[StepInfo], float]:
    """A schedule of the factor of learning rates: linear warm-up, and half a cosine over the budget down to `final`."""

    def factor(info: StepInfo) -> float:
        decay = final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * info.fraction))
        return decay * min(1.0, (info.step + 1) / warmup_steps)

    return factor


class TrainingLoop:
    """An optimisation that can be stored and resumed.

    Adam (Kingma and Ba 2015) has betas 0.9 and 0.99, as in instant-ngp; matrices of groups with `rule="muon"` are
    optimised by Muon. With a budget in steps a resumed run has the same result as an uninterrupted one, bit for bit on
    one machine.

    Args:
        trainee: losses and parameters.
        budget: length of the optimisation.
        schedule: factor of the learning rates; None: `cosine()`.
    """

    def __init__(self, trainee: Trainee, budget: Budget, schedule: Callable[[StepInfo], float] | None = None) -> None:
        self.trainee, self.budget = trainee, budget
        self.schedule = schedule or cosine()
        self.history = History()
        self.step, self.seconds = 0, 0.0
        self._moments: dict[str, tuple[Tensor, ...]] = {}

    @property
    def info(self) -> StepInfo:
        """The present progress."""
        return StepInfo(self.step, self.seconds, self.budget.fraction(self.step, self.seconds))

    def run(self, hooks: Sequence[StepHook] = (), reduce: Callable[[Tensor], Tensor] = lambda grad: grad) -> History:
        """Optimise until the budget is spent.

        Args:
            hooks: called after every step; their time does not count.
            reduce: averages gradients across devices; the identity on one.

        Raises:
            FloatingPointError: a loss is not finite.
        """
        while (info := self.info).fraction < 1.0:
            started = time.perf_counter()
            losses = self.trainee.losses(info)
            values = {name: loss.item() for name, loss in losses.values.items()}
            invalid = [name for name, value in values.items() if not math.isfinite(value)]
            if invalid:
                raise FloatingPointError(
                    f"loss '{invalid[0]}' is not finite at step {info.step}: lower the learning rate"
                )
            torch.stack(list(losses.values.values())).sum().backward()
            self._update(info, reduce)
            self.step += 1
            self.seconds += time.perf_counter() - started
            self._after(info, losses.record)
            for hook in hooks:
                hook(self.info, values, self)
        return self.history

    def _after(self, info: StepInfo, record: Any) -> None:
        started = time.perf_counter()
        for change in self.trainee.after_step(StepInfo(self.step, self.seconds, info.fraction), record):
            self._follow(change)
        self.seconds += time.perf_counter() - started

    def _follow(self, change: ParameterChange) -> None:
        """Reorder the moments with their rows; those of new rows are 0."""
        for key in [key for key in self._moments if key.startswith(change.of)]:
            moments = self._moments.pop(key)
            if change.rows is not None:
                new, former = (change.rows < 0).nonzero()[:, 0], change.rows.clamp_min(0)
                self._moments[key] = tuple(moment[former].index_fill_(0, new, 0.0) for moment in moments)

    def _update(self, info: StepInfo, reduce: Callable[[Tensor], Tensor]) -> None:
        factor = self.schedule(info)
        for key, group, parameter in self._parameters():
            if parameter.grad is None:
                continue
            if key not in self._moments:
                self._moments[key] = tuple(torch.zeros_like(parameter) for _ in range(MOMENTS[group.rule]))
            moments, lr = self._moments[key], group.lr * factor
            grad, value = reduce(parameter.grad), parameter.data
            if group.weight_decay:
                value.mul_(1.0 - lr * group.weight_decay)
            if group.rule == "muon":
                (momentum,) = moments
                muon_(value, grad, momentum, MuonRule(lr))
            else:
                first, second = moments
                adam_(value, grad, first, second, self.step + 1, AdamRule(lr), touched_only=group.sparse)

    def _parameters(self) -> list[tuple[str, ParamGroup, Tensor]]:
        """Every parameter with its group and the key of its moments, which have its layout and its device."""
        return [(f"{g.name}.{i}", g, p) for g in self.trainee.groups() for i, p in enumerate(g.parameters)]

    def state(self) -> State:
        """Trainee, moments, step, seconds, history; the tensors are not copies, and the next step changes them."""
        return {
            "trainee": self.trainee.state(),
            "moments": {name: list(moments) for name, moments in self._moments.items()},
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history.rows,
        }

    def load_state(self, state: State) -> None:
        """Restore `state()`."""
        self.trainee.load_state(state["trainee"])
        stored = state["moments"]
        self._moments = {
            key: tuple(torch.empty_like(parameter).copy_(moment) for moment in stored[key])
            for key, _, parameter in self._parameters()
            if key in stored
        }
        self.step, self.seconds = state["step"], state["seconds"]
        self.history = History(list(state["history"]))
