"""Splats that learn from a prior: one camera after the other; they multiply where the prior finds most to change."""

from typing import Any

import torch

from volkit.distillation.splats.strategy import Strategy, ViewRecord
from volkit.distillation.splats.student import SplatTrainee
from volkit.generation.particle import Drawing
from volkit.generation.penalties import Penalties, entropy
from volkit.geometry import Cameras
from volkit.guidance.ramps import value
from volkit.ops.param_group import ParamGroup
from volkit.representations.splats import Splats
from volkit.training.loop import ParameterChange, StepInfo

__all__ = ["SplatParticle"]


class SplatParticle:
    """Splats and the strategy by which they multiply.

    Strategies go by ranks and shares, never by thresholds on gradients, whose size follows the weight w(t), the
    guidance scale and the prior's space. Penalties that are about samples along rays do not apply.
    """

    def __init__(self, scene: Splats, penalties: Penalties, strategy: Strategy) -> None:
        self.trainee, self.penalties = SplatTrainee(scene, strategy), penalties

    @property
    def scene(self) -> Splats:
        """The splats as they are now."""
        return self.trainee.scene

    def draw(self, cameras: Cameras, moment: StepInfo) -> Drawing:
        """Pictures, with one more channel by which each splat's share of the error comes back."""
        drawn = self.trainee.draw(cameras, range(len(cameras)))
        weight = value(self.penalties.opacity, moment.fraction), value(self.penalties.entropy, moment.fraction)
        pixels, opacity = drawn.opacity[0].numel(), drawn.opacity
        penalties = {name: pixels * term for name, term in self.trainee.strategy.penalties(self.scene).items()}
        if weight[0]:
            penalties["emptiness"] = weight[0] * (opacity.square() + 0.01).sqrt().sum() / len(cameras)
        if weight[1]:
            penalties["entropy"] = weight[1] * entropy(opacity) / len(cameras)
        return Drawing(drawn.rgb, opacity, penalties, drawn.errors, drawn.record)

    def groups(self) -> list[ParamGroup]:
        """The splats' own."""
        return self.scene.param_groups()

    def after_step(self, moment: StepInfo, generator: torch.Generator, record: ViewRecord) -> ParameterChange | None:
        """Whatever the strategy does."""
        return self.trainee.post_backward(record, moment, generator)

    def state(self) -> dict[str, Any]:
        """Columns and strategy."""
        return self.trainee.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up `state()`, whatever number of splats it has."""
        self.trainee.load_state(state)
