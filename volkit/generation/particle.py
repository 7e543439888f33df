"""The interface of particles: scenes trained by a prior, samples of the distribution that fits the prompt."""

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
    """Differentiable pictures of a particle, and its penalties.

    Attributes:
        rgb: premultiplied by opacity.
        opacity: 0 to 1.
        penalties: by name; sums over the pixels of a picture, means over views, as the prior's loss is.
        errors: zeros whose product with each pixel's error distributes that error to the splats through its gradient.
        record: input of `after_step`.
    """

    rgb: Float[Tensor, "view height width 3"]
    opacity: Float[Tensor, "view height width"]
    penalties: dict[str, Tensor] = field(default_factory=dict)
    errors: Float[Tensor, "view height width"] | None = None
    record: Any = None

    def over(self, background: Float[Tensor, "view 3"]) -> Float[Tensor, "view height width 3"]:
        """The pictures over a colour for each view: `rgb + (1 - opacity) background`."""
        return self.rgb + (1.0 - self.opacity)[..., None] * background[:, None, None]


class Particle(Protocol):
    """A scene that a prior trains: it is rendered, stepped and stored by this interface.

    Attributes:
        penalties: weights of its regularisers.
    """

    penalties: Penalties

    @property
    def scene(self) -> Representation:
        """The current scene."""
        ...

    def draw(self, cameras: Cameras, info: StepInfo) -> Drawing:
        """Pictures of world-frame cameras of one size."""
        ...

    def groups(self) -> list[ParamGroup]:
        """The trainable parameters."""
        ...

    def after_step(self, info: StepInfo, generator: torch.Generator, record: Any) -> ParameterChange | None:
        """Refine, update the occupancy, densify; `record` is that of the drawing."""
        ...

    def state(self) -> dict[str, Any]: ...

    def load_state(self, state: dict[str, Any]) -> None: ...
