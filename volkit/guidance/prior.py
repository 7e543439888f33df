"""The interface of diffusion priors, their recommended settings, and wrappers of priors."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol, Self

from volkit.guidance.condition import Condition
from volkit.guidance.noise_schedule import NoiseSchedule
from volkit.typing import Float, Int, Tensor

__all__ = ["CustomPrior", "GridPrior", "GuidingPrior", "Noised", "Prior", "PriorDefaults", "Score", "as_guiding_prior"]

DEFAULTS_FILE = "distillation.json"


@dataclass(frozen=True)
class PriorDefaults:
    """Settings that suit one prior; the defaults suit a large one, trained on photographs.

    A guidance scale of 100 suits a model of billions of captions. A model of a few thousand objects works best at
    5, and is unreliable for viewpoints that its training data did not have.
    """

    scale: float | None = None  # largest guidance scale; None: the default of each method
    weight: str | None = None  # name of w(t) for `sds`; None: the published σ²
    times: tuple[float, float] | None = None  # range of diffusion times for `sds`, as shares; None: .02 to .98
    bounded: bool = False  # whether x̂0 is clamped to [-1, 1], the range of pixels
    views: int = 4  # pictures of a step
    size: int = 64  # pixels a side of the rendered pictures; the prior resizes them to its own size
    half: float = 1.0  # half the edge of the cube that its objects fill, in its unit of length
    distance: tuple[float, float] = (3.5, 4.5)  # of cameras from the origin, in that unit
    field_of_view: tuple[float, float] = (35.0, 45.0)  # degrees
    elevation: tuple[float, float] = (-10.0, 60.0)  # degrees
    front: float = 0.0  # share of views drawn about the front
    camera: str = "pose"  # encoding of cameras: pose, circle, silent
    sides: bool = True  # whether prompts name the visible side

    @classmethod
    def of(cls, folder: Path) -> Self:
        """The settings in a folder's `distillation.json`, or the defaults; ValueError for unknown settings."""
        path = folder / DEFAULTS_FILE
        if not path.is_file():
            return cls()
        found = json.loads(path.read_text(encoding="utf-8"))
        known = [f.name for f in fields(cls)]
        if unknown := sorted(set(found) - set(known)):
            raise ValueError(f"{path}: unknown settings {', '.join(unknown)}; known are {', '.join(known)}")
        members: dict[str, Any] = {name: tuple(m) if isinstance(m, list) else m for name, m in found.items()}
        return cls(**members)


@dataclass(frozen=True)
class Noised:
    """A noised batch and its diffusion times.

    Attributes:
        x: `x_t = α_t x + σ_t ε`, in the prior's space.
        t: index of each view's time in the prior's noise schedule.
    """

    x: Float[Tensor, "view ..."]
    t: Int[Tensor, " view"]


class Score(Protocol):
    """A noise prediction, which is a score: `∇ log p_t(x_t) = -ε / σ_t`. A critic needs no more than this."""

    def eps(self, at: Noised, condition: Condition) -> Tensor:
        """The noise predicted in `at.x`, of the same shape; a condition has one row, or one for each view."""
        ...


class Prior(Score, Protocol):
    """A frozen diffusion model of pictures. Whatever its network predicts, `eps` is ε.

    Any object with `eps`, `encode`, `decode` and `schedule` will do for generation: `as_guiding_prior` wraps it.

    Example:
        >>> class GreyPrior:
        ...     schedule, views = NoiseSchedule.stable_diffusion(), 1
        ...     def encode(self, pictures):
        ...         return pictures.movedim(-1, 1)
        ...     def decode(self, x):
        ...         return x.movedim(1, -1)
        ...     def eps(self, at, condition):  # of a distribution that is one grey picture
        ...         alpha, sigma = self.schedule.at(at.t, at.x)
        ...         return (at.x - alpha * 0.5) / sigma
    """

    @property
    def schedule(self) -> NoiseSchedule:
        """The tables of α and σ."""
        ...

    @property
    def views(self) -> int:
        """How many neighbouring rows of a batch are treated as views of one object."""
        ...

    def encode(self, pictures: Float[Tensor, "view height width 3"]) -> Float[Tensor, "group ..."]:
        """Display-referred pictures in [0, 1] to the space of the network; differentiable."""
        ...

    def decode(self, x: Float[Tensor, "group ..."]) -> Float[Tensor, "view height width 3"]:
        """The space of the network to display-referred pictures; differentiable."""
        ...


class GuidingPrior(Prior, Protocol):
    """A prior with a text encoder and recommended settings: what generation needs."""

    @property
    def defaults(self) -> PriorDefaults:
        """The recommended settings."""
        ...

    @property
    def size(self) -> int:
        """Pixels a side of the pictures that it was trained on."""
        ...

    @property
    def bounded(self) -> bool:
        """Whether x̂0 is clamped to [-1, 1]."""
        ...

    @property
    def controlled(self) -> bool:
        """Whether it takes a control picture (ControlNet)."""
        ...

    def embed(self, texts: Sequence[str]) -> Condition:
        """The condition of these texts, a row for each."""
        ...


@dataclass(frozen=True)
class CustomPrior:
    """A user's object with `eps`, `encode`, `decode` and `schedule`, completed to a `GuidingPrior`.

    `embed`, `views`, `size` and `bounded` are the object's own where it has them; without `embed` it gets empty
    conditions.
    """

    wrapped: Any
    defaults: PriorDefaults = field(default_factory=PriorDefaults)

    @property
    def schedule(self) -> NoiseSchedule:
        return self.wrapped.schedule

    @property
    def views(self) -> int:
        return getattr(self.wrapped, "views", 1)

    @property
    def size(self) -> int:
        return getattr(self.wrapped, "size", self.defaults.size)

    @property
    def bounded(self) -> bool:
        return getattr(self.wrapped, "bounded", self.defaults.bounded)

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
    """A user's prior as generation needs it; TypeError names the methods that it lacks.

    Its `defaults` (a `PriorDefaults`: cameras, sizes, guidance scale) is used where it has one.
    """
    if missing := [name for name in ("eps", "encode", "decode", "schedule") if not hasattr(prior, name)]:
        raise TypeError(f"a {type(prior).__name__} is no prior: it has no {', '.join(missing)}")
    if all(hasattr(prior, name) for name in ("defaults", "size", "bounded", "controlled", "embed", "views")):
        return prior
    return CustomPrior(prior, getattr(prior, "defaults", None) or PriorDefaults())


@dataclass(frozen=True)
class GridPrior:
    """A wrapper of a prior that lays out `rows x columns` neighbouring views as one picture.

    A prior of single pictures then makes the views agree, without training. The number of views of a batch must be a
    multiple of `rows * columns`, else `encode` raises ValueError.
    Source: the grid scores of LD (arXiv 2411.13536) and BoostDream (arXiv 2401.16764).

    Attributes:
        prior: the prior of single pictures.
        rows: views above each other.
        columns: views beside each other.
    """

    prior: Prior
    rows: int = 2
    columns: int = 2

    @property
    def schedule(self) -> NoiseSchedule:
        return self.prior.schedule

    @property
    def views(self) -> int:
        """Of the inner prior, for which a grid is one picture."""
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
        """The noise predicted in the grids."""
        return self.prior.eps(at, condition)
