"""Training runs with checkpoints, progress and evaluations."""

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
from volkit.training.loop import Budget, StepHook, StepInfo, Trainee, TrainingLoop, cosine
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

CHECKPOINT_SECONDS = 20.0  # of work that a killed run loses; writing 150 MB takes well under a second
EVALUATIONS = 8  # during a run
EVALUATION_SHARE = 0.5  # seconds of evaluation for each second of optimisation, at most
FINAL_RATE = 0.02  # factor of the learning rates at the end


def count_parameters(scene: Representation) -> int:
    """The number of a scene's parameters."""
    return sum(parameter.numel() for parameter in scene.parameters())


@dataclass(frozen=True)
class StepEvent:
    """The argument of a callback, after a step.

    Attributes:
        step: number of completed steps.
        seconds: of optimisation.
        fraction: of the budget that is spent.
        loss: the sum of the losses.
        psnr: in dB, of the last evaluation; None: there was none yet, or the pictures are identical.
    """

    step: int
    seconds: float
    fraction: float
    loss: float
    psnr: float | None


Callback = Callable[[StepEvent], None]


class CallbackProgress(Progress):
    """A silent progress that calls a function after every training step."""

    def __init__(self, callback: Callback | None = None) -> None:
        super().__init__()
        self._callback = callback

    def moved(self, fraction: float, seconds_left: float | None, values: dict[str, float | None]) -> None:
        """Call the function, if it is a training run that advances."""
        step, seconds, loss = (values.get(name) for name in ("step", "seconds", "loss"))
        if self._callback is not None and step is not None and seconds is not None and loss is not None:
            self._callback(StepEvent(int(step), seconds, fraction, loss, values.get("psnr")))


@dataclass(frozen=True)
class Checkpoint:
    """A file with the last valid state of a run, until the result is written.

    Attributes:
        path: of the file.
        purpose: identifies the work; a state of other work is refused.
        resume: whether a run resumes from the file.
        seconds: between two checkpoints.
        extra: stored with the state: results of an earlier stage.
    """

    path: Path
    purpose: str = ""
    resume: bool = False
    seconds: float = CHECKPOINT_SECONDS
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, target: Path, purpose: str, resume: bool = False, seconds: float = CHECKPOINT_SECONDS) -> "Checkpoint":
        """The checkpoint of work on a file: `TARGET.part`, next to it."""
        return cls(target.with_name(target.name + ".part"), purpose, resume, seconds)

    def write(self, state: Mapping[str, Any]) -> None:
        """Write a state of the loop."""
        write_state(self.path, {"purpose": self.purpose, "loop": state, "extra": dict(self.extra)})

    def read(self, device: torch.device) -> dict[str, Any] | None:
        """The stored state of the loop, None if there is no file; FormatError if it is of other work."""
        if not self.path.exists():
            return None
        state = read_state(self.path, device)
        if state["purpose"] != self.purpose:
            raise FormatError(
                self.path, f"holds unfinished work of another job ({state['purpose']})", "repeat that job's options"
            )
        return state["loop"]

    def read_extra(self, device: torch.device) -> dict[str, Any] | None:
        """The extra values of a stored run of the same purpose, if it is resumed; else None."""
        if not self.resume or not self.path.exists():
            return None
        state = read_state(self.path, device)
        return state["extra"] if state["purpose"] == self.purpose else None

    def remove(self) -> None:
        """Delete the file, when the result is written."""
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class TrainingRun:
    """The budget and the checkpoint of an optimisation.

    Attributes:
        budget: its length.
        checkpoint: the file of its state; None: none is written.
    """

    budget: Budget
    checkpoint: Checkpoint | None = None

    def run(
        self,
        trainee: Trainee,
        progress: Progress,
        evaluate: Callable[[Representation], float | None],
        schedule: Callable[[StepInfo], float] | None = None,
        spent: float = 0.0,
        evaluations: int = EVALUATIONS,
    ) -> TrainingLoop:
        """Optimise until the budget is spent, with checkpoints, evaluations and progress.

        Args:
            trainee: losses and parameters.
            progress: shows loss, dB and the remaining time.
            evaluate: PSNR in dB of the scene in training; None: not measured, or the pictures are identical.
            schedule: factor of the learning rates; None: a cosine.
            spent: seconds of the budget that the initialisation took.
            evaluations: number of evaluations.

        Returns:
            The loop, with its history.

        Raises:
            FloatingPointError: a loss or a parameter is not finite.
            FormatError: the checkpoint is of other work.
        """
        loop = TrainingLoop(trainee, self.budget, schedule or cosine(FINAL_RATE))
        loop.seconds = spent
        if self.checkpoint is not None and self.checkpoint.resume:
            _resume(self.checkpoint, loop, trainee.scene.device, progress)
        hooks = [_evaluation(lambda: evaluate(trainee.scene), evaluations, progress), _progress(progress, self.budget)]
        if self.checkpoint is not None:
            hooks.insert(1, self._checkpoints(self.checkpoint.seconds))
        loop.run(hooks)
        if loop.step == 0:
            progress.note(
                f"the start took all of the budget ({loop.seconds:.0f} s), nothing was learnt: give more time"
            )
        return loop

    def write_checkpoint(self, loop: TrainingLoop) -> None:
        """Write the state; FloatingPointError, and the former one stays, if a parameter is not a number."""
        state = loop.state()
        if invalid := [name for name, value in _float_tensors(state["trainee"]) if bool(value.isnan().any())]:
            raise FloatingPointError(
                f"after step {loop.step} '{invalid[0]}' is not a number: lower the learning rate or the guidance scale"
                f"{self.checkpoint_note}"
            )
        if self.checkpoint is not None:
            self.checkpoint.write(state)

    @property
    def checkpoint_note(self) -> str:
        """The end of an error message: the file that holds the last valid state."""
        return "" if self.checkpoint is None else f"; {self.checkpoint.path} holds the last good state"

    def _checkpoints(self, seconds: float) -> StepHook:
        last = time.monotonic()

        def hook(info: StepInfo, losses: dict[str, float], loop: TrainingLoop) -> None:
            nonlocal last
            if time.monotonic() - last >= seconds and info.fraction < 1.0:
                self.write_checkpoint(loop)
                last = time.monotonic()

        return hook


def _resume(checkpoint: Checkpoint, loop: TrainingLoop, device: torch.device, progress: Progress) -> None:
    state = checkpoint.read(device)
    if state is None:
        progress.note(f"nothing to resume: {checkpoint.path} does not exist; starting from the beginning")
        return
    loop.load_state(state)
    progress.note(f"resumed at step {loop.step}, {loop.seconds:.0f} s into the budget")


def _evaluation(evaluate: Callable[[], float | None], count: int, progress: Progress) -> StepHook:
    """Record the mean loss since the last evaluation, and the PSNR, `count` times at equal distances.

    The PSNR is left out if evaluations would take more than their share of the time: pictures of a network that is
    still fog take longer than its training.
    """
    since: list[float] = []
    spent = longest = 0.0

    def hook(info: StepInfo, losses: dict[str, float], loop: TrainingLoop) -> None:
        nonlocal spent, longest
        since.append(sum(losses.values()))
        if info.fraction * count >= len(loop.history.rows) + 1:
            psnr, started = None, time.perf_counter()
            if spent + longest <= EVALUATION_SHARE * info.seconds:
                psnr = evaluate()
                longest = max(longest, time.perf_counter() - started)
                spent += time.perf_counter() - started
            mean = sum(since) / len(since)
            loop.history.add(info, loss=mean, **({} if psnr is None else {"psnr": psnr}))
            since.clear()
            progress.values(psnr=psnr)

    return hook


def _progress(progress: Progress, budget: Budget) -> StepHook:
    def hook(info: StepInfo, losses: dict[str, float], loop: TrainingLoop) -> None:
        left = (budget.seconds - info.seconds) if budget.seconds else info.seconds * (1 / info.fraction - 1)
        progress.advance(
            info.fraction, loss=sum(losses.values()), step=info.step, seconds=info.seconds, seconds_left=left
        )

    return hook


def _float_tensors(state: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """All floating-point tensors in a state, with their paths."""
    if isinstance(state, Tensor):
        if state.is_floating_point():
            yield name, state
    elif isinstance(state, Mapping | list | tuple):
        for key, value in state.items() if isinstance(state, Mapping) else enumerate(state):
            yield from _float_tensors(value, f"{name}.{key}" if name else str(key))


def make_generator(seed: int | torch.Generator) -> torch.Generator:
    """The generator itself, or a new one with that seed, as the only source of randomness of a run."""
    return seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
