"""The interface of densification: when splats in training are added, moved and removed, and where."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch

from volkit.ops.splat import Projected
from volkit.representations.splats import Splats
from volkit.training.loop import ParameterChange, StepInfo
from volkit.typing import Float, Tensor

__all__ = ["State", "Strategy", "ViewRecord"]

State = dict[str, Any]  # numbers and tensors by name, as a checkpoint stores them


@dataclass(frozen=True)
class ViewRecord:
    """One view of a step, as it was drawn.

    `projected` are the splats on the picture, whose `means` have a gradient after the backward pass where
    `pre_backward` called `retain_grad`. `errors` is a leaf of zeros whose gradient is then each splat's share of the
    picture's error, `sum of T alpha |error|` over pixels.
    """

    projected: Projected
    errors: Float[Tensor, "splat 1"]


class Strategy(ABC):
    """A frozen value of settings with gsplat's moments of a step; what it counts is a state, passed in and returned.

    One of your own needs `post_backward` alone. It changes the splats by `kept` and `replaced` and says by
    `ParameterChange` where each new row was before (-1: it is new), so that the optimiser's moments go with their rows:

    >>> @dataclass(frozen=True)
    ... class PruneFaint(Strategy):
    ...     least: float = 0.01
    ...     def post_backward(self, splats, state, record, moment, generator):
    ...         rows = (splats.opacities > self.least).nonzero()[:, 0]
    ...         if moment.step % 100 or len(rows) == len(splats):
    ...             return state, None
    ...         splats.keep(rows)
    ...         return state, ParameterChange(rows)
    """

    def initialize_state(self, splats: Splats) -> State:
        """What is known before the first step."""
        return {}

    def penalties(self, splats: Splats) -> dict[str, Tensor]:
        """Weighted, differentiable losses of its own; none by default."""
        return {}

    def pre_backward(self, splats: Splats, state: State, record: ViewRecord) -> State:
        """Before gradients reach a view's splats; the place to ask for those that are not kept by themselves."""
        return state

    @abstractmethod
    def post_backward(
        self, splats: Splats, state: State, record: ViewRecord, moment: StepInfo, generator: torch.Generator
    ) -> tuple[State, ParameterChange | None]:
        """After the optimiser's step: count, and change the splats; None where no row came, went or moved."""
