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
    "StepInfo",
    "StepLosses",
    "Trainee",
    "TrainingLoop",
    "Watcher",
    "cosine",
]

State = dict[str, Any]
MOMENTS = {"adam": 2, "muon": 1}  # tensors of a parameter's size that a rule remembers


@dataclass(frozen=True)
class Budget:
    """How long to optimise: wall-clock seconds or steps, whichever is given; evaluation and writing do not count."""

    seconds: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        if (self.seconds is None) == (self.steps is None):
            raise ParameterError("budget: give seconds or steps, one of the two")

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Read `120s`, `10m`, `1h` (wall clock) or `2000` (steps)."""
        units = {"s": 1.0, "m": 60.0, "h": 3600.0}
        try:
            budget = cls(seconds=float(text[:-1]) * units[text[-1]]) if text[-1:] in units else cls(steps=int(text))
        except ValueError:
            budget = None
        if budget is None or not (budget.seconds or budget.steps or 0) > 0:
            raise ParameterError(f"budget '{text}': write 120s, 10m or 1h for wall clock, 2000 for steps")
        return budget

    def fraction(self, step: int, seconds: float) -> float:
        """How much of the budget is spent, in [0, 1]."""
        spent = step / self.steps if self.steps else seconds / (self.seconds or math.inf)
        return min(spent, 1.0)


@dataclass(frozen=True)
class StepInfo:
    """Where an optimisation stands: completed steps, seconds of pure optimisation, spent fraction of the budget."""

    step: int
    seconds: float
    fraction: float


@dataclass
class History:
    """What happened: one row per recorded step."""

    rows: list[dict[str, float]] = field(default_factory=list)

    def add(self, moment: StepInfo, **values: float) -> None:
        """Record values at a moment."""
        self.rows.append({"step": moment.step, "seconds": moment.seconds, **values})


@dataclass(frozen=True)
class ParameterChange:
    """Parameters were replaced. `rows[i]` is where row i of every new one was, -1 where it is new; None: all are.

    It is about the groups whose names begin with `of`: all of them, unless others learn beside what has grown.
    """

    rows: Tensor | None = None
    of: str = ""


@dataclass(frozen=True)
class StepLosses:
    """Named, weighted, differentiable losses of a step, and the trainee's own record of it, which `after_step` gets."""

    values: dict[str, Tensor]
    record: Any = None


class Trainee(Protocol):
    """Whatever can say how wrong it is. All of its randomness and schedules are in `state()`."""

    @property
    def scene(self) -> Any:
        """What learns, as those see it who judge it on the way."""
        ...

    def losses(self, moment: StepInfo) -> StepLosses:
        """The loop minimises their sum."""
        ...

    def groups(self) -> list[ParamGroup]:
        """Parameters by learning rate."""
        ...

    def after_step(self, moment: StepInfo, record: Any) -> Sequence[ParameterChange]:
        """Densify, refresh, upsample; says so when `groups()` returns new parameters. `record` is the losses' own."""
        ...

    def state(self) -> State:
        """Everything that a resumed run needs, parameters included."""
        ...

    def load_state(self, state: State) -> None:
        """Take up `state()`."""
        ...


Watcher = Callable[[StepInfo, dict[str, float], "TrainingLoop"], None]


def cosine(final: float = 0.02, warmup_steps: int = 50) -> Callable[[StepInfo], float]:
    """Learning-rate factor: linear warm-up, then half a cosine over the budget down to `final`."""

    def factor(moment: StepInfo) -> float:
        decay = final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * moment.fraction))
        return decay * min(1.0, (moment.step + 1) / warmup_steps)

    return factor


class TrainingLoop:
    """An optimisation that can be stopped, stored and taken up again.

    Adam (Kingma and Ba 2015) with betas 0.9 and 0.99 as instant-ngp uses it, Muon for matrices whose group asks for
    it. With a budget in steps a resumed run ends where an unbroken one would, bit for bit on one machine.
    """

    def __init__(self, trainee: Trainee, budget: Budget, schedule: Callable[[StepInfo], float] | None = None) -> None:
        self.trainee, self.budget = trainee, budget
        self.schedule = schedule or cosine()
        self.history = History()
        self.step, self.seconds = 0, 0.0
        self._moments: dict[str, tuple[Tensor, ...]] = {}

    @property
    def moment(self) -> StepInfo:
        """Where the optimisation stands."""
        return StepInfo(self.step, self.seconds, self.budget.fraction(self.step, self.seconds))

    def run(self, watch: Sequence[Watcher] = (), reduce: Callable[[Tensor], Tensor] = lambda grad: grad) -> History:
        """Optimise until the budget is spent; watchers see every step, off the clock.

        `reduce` averages gradients across devices and is the identity on one. A loss that is not finite raises
        FloatingPointError and names the loss.
        """
        while (moment := self.moment).fraction < 1.0:
            started = time.perf_counter()
            losses = self.trainee.losses(moment)
            values = {name: loss.item() for name, loss in losses.values.items()}
            bad = [name for name, value in values.items() if not math.isfinite(value)]
            if bad:
                raise FloatingPointError(
                    f"loss '{bad[0]}' is not finite at step {moment.step}: lower the learning rate"
                )
            torch.stack(list(losses.values.values())).sum().backward()
            self._descend(moment, reduce)
            self.step += 1
            self.seconds += time.perf_counter() - started
            self._after(moment, losses.record)
            for watcher in watch:
                watcher(self.moment, values, self)
        return self.history

    def _after(self, moment: StepInfo, record: Any) -> None:
        started = time.perf_counter()
        for change in self.trainee.after_step(StepInfo(self.step, self.seconds, moment.fraction), record):
            self._carry(change)
        self.seconds += time.perf_counter() - started

    def _carry(self, change: ParameterChange) -> None:
        """Moments of rows that went elsewhere go with them; new rows have none."""
        for key in [key for key in self._moments if key.startswith(change.of)]:
            moments = self._moments.pop(key)
            if change.rows is not None:
                new, place = (change.rows < 0).nonzero()[:, 0], change.rows.clamp_min(0)
                self._moments[key] = tuple(moment[place].index_fill_(0, new, 0.0) for moment in moments)

    def _descend(self, moment: StepInfo, reduce: Callable[[Tensor], Tensor]) -> None:
        factor = self.schedule(moment)
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
        """Every parameter with its group and the name of its moments, which have its layout and its device."""
        return [(f"{g.name}.{i}", g, p) for g in self.trainee.groups() for i, p in enumerate(g.parameters)]

    def state(self) -> State:
        """Trainee, moments, clock, history. The tensors are live: write or copy them before going on."""
        return {
            "trainee": self.trainee.state(),
            "moments": {name: list(moments) for name, moments in self._moments.items()},
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history.rows,
        }

    def load_state(self, state: State) -> None:
        """Go on from `state()`."""
        self.trainee.load_state(state["trainee"])
        stored = state["moments"]
        self._moments = {
            key: tuple(torch.empty_like(parameter).copy_(moment) for moment in stored[key])
            for key, _, parameter in self._parameters()
            if key in stored
        }
        self.step, self.seconds = state["step"], state["seconds"]
        self.history = History(list(state["history"]))
