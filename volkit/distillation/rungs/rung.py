"""The interface of a rung of the ladder: one way in which a student is compared with what it should be."""

from typing import Any, Protocol

from volkit.representations.field import Field
from volkit.training.loop import StepInfo
from volkit.typing import Tensor

__all__ = ["Rung"]


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
