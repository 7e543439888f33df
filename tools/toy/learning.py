"""How networks learn for so many minutes of a CPU: with an average of their weights, a log, and checkpoints."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from volkit.typing import Tensor

__all__ = ["Course", "Learner", "learn"]

WARM_UP = 200  # steps
LAST_RATE = 0.02  # of the highest
AVERAGED = 0.998  # of the weights is kept at every step
SAVED = 180.0  # seconds of CPU between checkpoints
LOGGED = 50  # steps


class Learner(Protocol):
    """Networks with a loss, and how many pictures a batch of theirs has."""

    batch: int

    @property
    def modules(self) -> dict[str, torch.nn.Module]:
        """What learns, by name."""
        ...

    def loss(self, step: int) -> Tensor:
        """Of one batch; pure given the step and the weights."""
        ...


@dataclass(frozen=True)
class Course:
    """How long, how fast, where the state lies and what is done when there is something to show.

    Time is that of this process on its CPUs, so that it may be stopped and continued and loses nothing.
    """

    seconds: float
    rate: float
    state: Path
    log: Path
    show: Callable[[], None]


def learn(learner: Learner, course: Course) -> None:
    """AdamW with a warm-up and half a cosine over the time; leaves the averaged weights in the networks."""
    parameters = [p for module in learner.modules.values() for p in module.parameters()]
    optimiser = torch.optim.AdamW(parameters, course.rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    average = [p.detach().clone() for p in parameters]
    step, before = _resumed(course, learner, optimiser, average)
    spent, seen = before, []
    start = saved = time.process_time()
    while (spent := before + time.process_time() - start) < course.seconds:
        rate = course.rate * _share(step, spent / course.seconds)
        for group in optimiser.param_groups:
            group["lr"] = rate
        with sdpa_kernel(SDPBackend.MATH):  # for these few tokens three times faster than the fused way back
            loss = learner.loss(step)
            loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        step += 1
        keep = min(AVERAGED, (1.0 + step) / (10.0 + step))
        torch._foreach_lerp_(average, [p.detach() for p in parameters], 1.0 - keep)
        seen.append(float(loss.detach()))
        if step % LOGGED == 0:
            _log(course, learner, (step, spent, rate), seen)
            seen = []
        if time.process_time() - saved > SAVED:
            saved = time.process_time()
            _save(course, learner, optimiser, average, (step, spent))
    _save(course, learner, optimiser, average, (step, spent))
    _put(parameters, average)


def _share(step: int, fraction: float) -> float:
    falling = LAST_RATE + (1.0 - LAST_RATE) * 0.5 * (1.0 + math.cos(math.pi * min(fraction, 1.0)))
    return falling * min(1.0, (step + 1) / WARM_UP)


def _log(course: Course, learner: Learner, at: tuple[int, float, float], seen: list[float]) -> None:
    step, spent, rate = at
    entry = {"step": step, "pictures": step * learner.batch, "cpu_seconds": round(spent, 1), "rate": round(rate, 6)}
    with course.log.open("a") as log:
        log.write(json.dumps(entry | {"loss": round(sum(seen) / len(seen), 5)}) + "\n")


def _save(course: Course, learner: Learner, optimiser: Any, average: list[Tensor], at: tuple[int, float]) -> None:
    """Write the state, then show the averaged networks."""
    weights = {name: module.state_dict() for name, module in learner.modules.items()}
    state = {"weights": weights, "average": average, "optimiser": optimiser.state_dict(), "at": at}
    part = course.state.with_suffix(".part")
    torch.save(state, part)
    part.replace(course.state)
    parameters = [p for module in learner.modules.values() for p in module.parameters()]
    own = [p.detach().clone() for p in parameters]
    _put(parameters, average)
    course.show()
    _put(parameters, own)


def _resumed(course: Course, learner: Learner, optimiser: Any, average: list[Tensor]) -> tuple[int, float]:
    """Steps and seconds that an earlier run has behind it; what it logged after its last checkpoint is forgotten."""
    if not course.state.is_file():
        return 0, 0.0
    state = torch.load(course.state, weights_only=True)
    for name, module in learner.modules.items():
        module.load_state_dict(state["weights"][name])
    optimiser.load_state_dict(state["optimiser"])
    _put(average, state["average"])
    entries = course.log.read_text().splitlines(keepends=True) if course.log.is_file() else []
    course.log.write_text("".join(entry for entry in entries if json.loads(entry)["step"] <= state["at"][0]))
    return state["at"]


@torch.no_grad()
def _put(into: list[Any], values: list[Tensor]) -> None:
    torch._foreach_copy_([p.detach() for p in into], values)
