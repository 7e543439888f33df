"""What fitting, converting and generating share: checkpoints, progress, and what is measured on the way."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from volkit.files.errors import FormatError
from volkit.files.tensor_file import read_state, write_state
from volkit.progress import Progress
from volkit.representations.representation import Representation
from volkit.training.loop import Budget, StepInfo, Trainee, TrainingLoop, Watcher, cosine
from volkit.typing import Tensor

__all__ = [
    "CHECKPOINT_SECONDS",
    "Callback",
    "CallbackProgress",
    "Checkpoint",
    "StepEvent",
    "TrainingRun",
    "count_parameters",
    "make_generator",
]

CHECKPOINT_SECONDS = 20.0  # what a kill may cost; writing 150 MB takes well under a second
EVALUATIONS = 8  # points on the curve of dB over time
EVALUATION_SHARE = 0.5  # seconds of it for each second of learning
FINAL_RATE = 0.02


def count_parameters(scene: Representation) -> int:
    """Numbers that a scene learns or stores."""
    return sum(parameter.numel() for parameter in scene.parameters())


@dataclass(frozen=True)
class StepEvent:
    """Where a run stands after a step: what a callback is called with."""

    step: int  # completed
    seconds: float  # of pure optimisation
    fraction: float  # of the budget
    loss: float
    psnr: float | None  # in dB, the last that was measured on the way; None: none yet, or the pictures are identical


Callback = Callable[[StepEvent], None]


class CallbackProgress(Progress):
    """A silent progress that calls a function after every step of learning."""

    def __init__(self, callback: Callback | None = None) -> None:
        super().__init__()
        self._callback = callback

    def moved(self, fraction: float, seconds_left: float | None, values: dict[str, float | None]) -> None:
        """Call it, if what moves is a run that learns."""
        step, seconds, loss = (values.get(name) for name in ("step", "seconds", "loss"))
        if self._callback is not None and step is not None and seconds is not None and loss is not None:
            self._callback(StepEvent(int(step), seconds, fraction, loss, values.get("psnr")))


@dataclass(frozen=True)
class Checkpoint:
    """Where the last good state of a run is kept until its result is written, how often, and whether a run resumes it.

    `purpose` identifies the work; a state of other work is refused. `beside` is stored with it: what an earlier stage
    left that this one begins with.
    """

    path: Path
    purpose: str = ""
    resume: bool = False
    seconds: float = CHECKPOINT_SECONDS
    beside: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, target: Path, purpose: str, resume: bool = False, seconds: float = CHECKPOINT_SECONDS) -> "Checkpoint":
        """The one of work that becomes a file: `TARGET.part`, beside it."""
        return cls(target.with_name(target.name + ".part"), purpose, resume, seconds)

    def write(self, state: Mapping[str, Any]) -> None:
        """Keep a state of the loop."""
        write_state(self.path, {"purpose": self.purpose, "fit": state, "beside": dict(self.beside)})

    def read(self, device: torch.device) -> dict[str, Any] | None:
        """The state that was kept, None where there is none; FormatError where it is of other work."""
        if not self.path.exists():
            return None
        state = read_state(self.path, device)
        if state["purpose"] != self.purpose:
            raise FormatError(
                self.path, f"holds unfinished work of another job ({state['purpose']})", "repeat that job's options"
            )
        return state["fit"]

    def left(self, device: torch.device) -> dict[str, Any] | None:
        """What was stored beside an interrupted run of this very purpose, None where there is none."""
        if not self.resume or not self.path.exists():
            return None
        state = read_state(self.path, device)
        return state["beside"] if state["purpose"] == self.purpose else None

    def finish(self) -> None:
        """The result is written: the unfinished work is not needed any more."""
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class TrainingRun:
    """How one optimisation runs: how long, and where its last good state is kept, if anywhere."""

    budget: Budget
    checkpoint: Checkpoint | None = None

    def run(
        self,
        student: Trainee,
        progress: Progress,
        evaluate: Callable[[Representation], float | None],
        schedule: Callable[[StepInfo], float] | None = None,
        spent: float = 0.0,
        evaluations: int = EVALUATIONS,
    ) -> TrainingLoop:
        """Optimise until the budget is spent, keeping the last good state; progress hears loss, dB and time left.

        `spent` seconds of the budget went into the start.
        """
        fit = TrainingLoop(student, self.budget, schedule or cosine(FINAL_RATE))
        fit.seconds = spent
        if self.checkpoint is not None and self.checkpoint.resume:
            _take_up(self.checkpoint, fit, student.scene.device, progress)
        watch = [_evaluation(lambda: evaluate(student.scene), evaluations, progress), _progress(progress, self.budget)]
        if self.checkpoint is not None:
            watch.insert(1, self._checkpoints(self.checkpoint.seconds))
        fit.run(watch)
        if fit.step == 0:
            progress.note(f"the start took all of the budget ({fit.seconds:.0f} s), nothing was learnt: give more time")
        return fit

    def keep(self, fit: TrainingLoop) -> None:
        """Write the state, if it is a good one: FloatingPointError leaves the one before it in place."""
        state = fit.state()
        if bad := [name for name, value in _numbers(state["trainee"]) if bool(value.isnan().any())]:
            raise FloatingPointError(
                f"after step {fit.step} '{bad[0]}' is not a number: lower the learning rate or the guidance scale"
                f"{self.kept}"
            )
        if self.checkpoint is not None:
            self.checkpoint.write(state)

    @property
    def kept(self) -> str:
        """What an error says of the work that is not lost."""
        return "" if self.checkpoint is None else f"; {self.checkpoint.path} holds the last good state"

    def _checkpoints(self, seconds: float) -> Watcher:
        last = time.monotonic()

        def watch(moment: StepInfo, losses: dict[str, float], fit: TrainingLoop) -> None:
            nonlocal last
            if time.monotonic() - last >= seconds and moment.fraction < 1.0:
                self.keep(fit)
                last = time.monotonic()

        return watch


def _take_up(checkpoint: Checkpoint, fit: TrainingLoop, device: torch.device, progress: Progress) -> None:
    state = checkpoint.read(device)
    if state is None:
        progress.note(f"nothing to resume: {checkpoint.path} does not exist; starting from the beginning")
        return
    fit.load_state(state)
    progress.note(f"resumed at step {fit.step}, {fit.seconds:.0f} s into the budget")


def _evaluation(evaluate: Callable[[], float | None], count: int, progress: Progress) -> Watcher:
    """`count` rows of history: the mean loss since the last one, and what `evaluate` finds, while that takes no more
    than its share of the time: pictures of a network that is still fog take longer than its learning.
    """
    since: list[float] = []
    spent = longest = 0.0

    def watch(moment: StepInfo, losses: dict[str, float], fit: TrainingLoop) -> None:
        nonlocal spent, longest
        since.append(sum(losses.values()))
        if moment.fraction * count >= len(fit.history.rows) + 1:
            psnr, started = None, time.perf_counter()
            if spent + longest <= EVALUATION_SHARE * moment.seconds:
                psnr = evaluate()
                longest = max(longest, time.perf_counter() - started)
                spent += time.perf_counter() - started
            mean = sum(since) / len(since)
            fit.history.add(moment, loss=mean, **({} if psnr is None else {"psnr": psnr}))
            since.clear()
            progress.values(psnr=psnr)

    return watch


def _progress(progress: Progress, budget: Budget) -> Watcher:
    def watch(moment: StepInfo, losses: dict[str, float], fit: TrainingLoop) -> None:
        left = (budget.seconds - moment.seconds) if budget.seconds else moment.seconds * (1 / moment.fraction - 1)
        progress.advance(
            moment.fraction, loss=sum(losses.values()), step=moment.step, seconds=moment.seconds, seconds_left=left
        )

    return watch


def _numbers(state: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors of floats in a state, by where they are."""
    if isinstance(state, Tensor):
        if state.is_floating_point():
            yield name, state
    elif isinstance(state, Mapping | list | tuple):
        for key, value in state.items() if isinstance(state, Mapping) else enumerate(state):
            yield from _numbers(value, f"{name}.{key}" if name else str(key))


def make_generator(seed: int | torch.Generator) -> torch.Generator:
    """The one source of randomness of a job: the generator itself, or a new one of that seed."""
    return seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
