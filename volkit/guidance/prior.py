"""The interface of a diffusion prior: whatever can say which noise is in a picture."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from volkit.guidance.advice import Advice
from volkit.guidance.condition import Condition
from volkit.guidance.noise_schedule import NoiseSchedule
from volkit.typing import Float, Int, Tensor

__all__ = ["CustomPrior", "GridPrior", "GuidingPrior", "Noised", "Prior", "Score", "as_guiding_prior"]


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


class GuidingPrior(Prior, Protocol):
    """A prior that reads words and says how it wants to be used."""

    @property
    def advice(self) -> Advice:
        """What suits it."""
        ...

    @property
    def size(self) -> int:
        """Pixels a side of the pictures that it was taught."""
        ...

    @property
    def bounded(self) -> bool:
        """Whether x̂0 is to be kept in [-1, 1]."""
        ...

    @property
    def controlled(self) -> bool:
        """Whether it is told a control picture (ControlNet)."""
        ...

    def embed(self, texts: Sequence[str]) -> Condition:
        """What it is told for these texts, a row each."""
        ...


@dataclass(frozen=True)
class CustomPrior:
    """Anyone's object with `eps`, `encode`, `decode` and `schedule`, and what suits a prior that says no more.

    `embed`, `views`, `size` and `bounded` are the object's own where it has them; one that embeds no words is told
    none.
    """

    wrapped: Any
    advice: Advice = field(default_factory=Advice)

    @property
    def schedule(self) -> NoiseSchedule:
        return self.wrapped.schedule

    @property
    def views(self) -> int:
        return getattr(self.wrapped, "views", 1)

    @property
    def size(self) -> int:
        return getattr(self.wrapped, "size", self.advice.size)

    @property
    def bounded(self) -> bool:
        return getattr(self.wrapped, "bounded", self.advice.bounded)

    @property
    def controlled(self) -> bool:
        return getattr(self.wrapped, "controlled", False)

    def encode(self, pictures: Float[Tensor, "view height width 3"]) -> Float[Tensor, "group ..."]:
        return self.wrapped.encode(pictures)

    def decode(self, x: Float[Tensor, "group ..."]) -> Float[Tensor, "view height width 3"]:
        return self.wrapped.decode(x)

    def eps(self, at: Noised, condition: Condition) -> Tensor:
        return self.wrapped.eps(at, condition)

    def embed(self, texts: Sequence[str]) -> Condition:
        return self.wrapped.embed(texts) if hasattr(self.wrapped, "embed") else Condition()


def as_guiding_prior(prior: Any) -> GuidingPrior:
    """A prior of anyone's as generation asks it; TypeError names what it lacks.

    Its `advice` (an `Advice`: cameras, sizes, guidance scale) is its own where it has one.
    """
    if missing := [name for name in ("eps", "encode", "decode", "schedule") if not hasattr(prior, name)]:
        raise TypeError(f"a {type(prior).__name__} is no prior: it has no {', '.join(missing)}")
    if all(hasattr(prior, name) for name in ("advice", "size", "bounded", "controlled", "embed", "views")):
        return prior
    return CustomPrior(prior, getattr(prior, "advice", None) or Advice())


@dataclass(frozen=True)
class GridPrior:
    """A prior around another: `rows x columns` neighbouring views are laid out as one picture before it is asked.

    The grid score of LD (arXiv 2411.13536) and BoostDream's (arXiv 2401.16764): no training, and a plain
    prior of pictures makes the views agree.
    """

    prior: Prior
    rows: int = 2
    columns: int = 2

    @property
    def schedule(self) -> NoiseSchedule:
        """The prior's own."""
        return self.prior.schedule

    @property
    def views(self) -> int:
        """The prior's own: a grid is one picture."""
        return self.prior.views

    def encode(self, pictures: Float[Tensor, "view height width 3"]) -> Float[Tensor, "grid ..."]:
        """Lay the views out row by row and encode the grids."""
        cells = self.rows * self.columns
        if len(pictures) % cells:
            raise ValueError(f"a grid of {cells} views was given {len(pictures)}: give a multiple")
        _, height, width, channels = pictures.shape
        table = pictures.view(-1, self.rows, self.columns, height, width, channels)
        return self.prior.encode(table.transpose(2, 3).reshape(-1, self.rows * height, self.columns * width, channels))

    def decode(self, x: Float[Tensor, "grid ..."]) -> Float[Tensor, "view height width 3"]:
        """Decode the grids and cut them up."""
        grids = self.prior.decode(x)
        _, height, width, channels = grids.shape
        height, width = height // self.rows, width // self.columns
        table = grids.view(-1, self.rows, height, self.columns, width, channels)
        return table.transpose(2, 3).reshape(-1, height, width, channels)

    def eps(self, at: Noised, condition: Condition) -> Tensor:
        """The noise of the grids."""
        return self.prior.eps(at, condition)
