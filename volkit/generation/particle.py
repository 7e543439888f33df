"""The interface of what learns from a prior: one particle of the distribution of scenes that fit the words."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from volkit.generation.penalties import Penalties
from volkit.geometry import Cameras
from volkit.ops.param_group import ParamGroup
from volkit.representations.representation import Representation
from volkit.training.loop import ParameterChange, StepInfo
from volkit.typing import Float, Tensor

__all__ = ["Drawing", "Particle"]


@dataclass(frozen=True)
class Drawing:
    """Whole pictures with gradients, and what is to be said against them whatever the prior says.

    Penalties are sums over the pixels of a picture, mean over views, as the prior's loss is.
    """

    rgb: Float[Tensor, "view height width 3"]  # premultiplied
    opacity: Float[Tensor, "view height width"]
    penalties: dict[str, Tensor] = field(default_factory=dict)
    errors: Float[Tensor, "view height width"] | None = None  # zeros: times each pixel's error they tell who made it
    record: Any = None  # what `after_step` needs of this step

    def over(self, background: Float[Tensor, "view 3"]) -> Float[Tensor, "view height width 3"]:
        """The pictures over one colour each."""
        return self.rgb + (1.0 - self.opacity)[..., None] * background[:, None, None]


class Particle(Protocol):
    """A scene that is drawn by camera while it learns."""

    penalties: Penalties

    @property
    def scene(self) -> Representation:
        """As it is now."""
        ...

    def draw(self, cameras: Cameras, moment: StepInfo) -> Drawing:
        """Pictures of cameras of one size, world frame."""
        ...

    def groups(self) -> list[ParamGroup]:
        """What learns."""
        ...

    def after_step(self, moment: StepInfo, generator: torch.Generator, record: Any) -> ParameterChange | None:
        """Grow, refresh, densify; `record` is that of the drawing."""
        ...

    def state(self) -> dict[str, Any]: ...

    def load_state(self, state: dict[str, Any]) -> None: ...
