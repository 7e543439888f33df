"""The interface of a diffusion prior: whatever can say which noise is in a picture."""

from dataclasses import dataclass
from typing import Protocol

from volkit.guidance.condition import Condition
from volkit.guidance.noise_schedule import NoiseSchedule
from volkit.typing import Float, Int, Tensor

__all__ = ["Noised", "Prior", "Score"]


@dataclass(frozen=True)
class Noised:
    """A noised batch and the time of each of its members."""

    x: Float[Tensor, "view ..."]
    t: Int[Tensor, " view"]


class Score(Protocol):
    """A noise prediction, which is a score: `∇ log p_t(x_t) = -ε / σ_t`."""

    def eps(self, at: Noised, condition: Condition) -> Tensor:
        """The noise in `at.x`, shaped like it."""
        ...


class Prior(Score, Protocol):
    """A frozen model of pictures. Whatever its network predicts, `eps` is ε."""

    @property
    def schedule(self) -> NoiseSchedule:
        """α and σ at its times."""
        ...

    @property
    def views(self) -> int:
        """How many neighbouring rows of a batch it sees as one object."""
        ...

    def encode(self, pictures: Float[Tensor, "view height width 3"]) -> Float[Tensor, "group ..."]:
        """Into the space where it knows noise; differentiable."""
        ...

    def decode(self, x: Float[Tensor, "group ..."]) -> Float[Tensor, "view height width 3"]:
        """Back to display-referred pictures; differentiable."""
        ...
