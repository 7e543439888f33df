"""Splats trained by a prior, one camera after the other; they densify where its gradients are largest."""

from typing import Any

import torch

from volkit.distillation.splat_training import TrainableSplats
from volkit.distillation.strategies import Strategy, ViewRecord
from volkit.generation.particle import Drawing
from volkit.generation.penalties import Penalties, entropy
from volkit.geometry import Cameras
from volkit.guidance.ramps import value
from volkit.ops.param_group import ParamGroup
from volkit.representations.splats import Splats
from volkit.training.loop import ParameterChange, StepInfo

__all__ = ["SplatParticle"]


class SplatParticle:
    """Splats and their densification strategy.

    The strategy must use ranks and shares, not thresholds on gradients, whose size depends on the weight w(t), the
    guidance scale and the prior's space. Penalties of samples along rays do not apply.

    Args:
        scene: the splats.
        penalties: weights of the regularisers.
        strategy: of densification.
    """

    def __init__(self, scene: Splats, penalties: Penalties, strategy: Strategy) -> None:
        self.trainee, self.penalties = TrainableSplats(scene, strategy), penalties

    @property
    def scene(self) -> Splats:
        """The current splats."""
        return self.trainee.scene

    def draw(self, cameras: Cameras, info: StepInfo) -> Drawing:
        """Pictures, with a further channel whose gradient is each splat's share of the error."""
        drawn = self.trainee.draw(cameras, range(len(cameras)))
        weight = value(self.penalties.opacity, info.fraction), value(self.penalties.entropy, info.fraction)
        pixels, opacity = drawn.opacity[0].numel(), drawn.opacity
        penalties = {name: pixels * term for name, term in self.trainee.strategy.penalties(self.scene).items()}
        if weight[0]:
            penalties["emptiness"] = weight[0] * (opacity.square() + 0.01).sqrt().sum() / len(cameras)
        if weight[1]:
            penalties["entropy"] = weight[1] * entropy(opacity) / len(cameras)
        return Drawing(drawn.rgb, opacity, penalties, drawn.errors, drawn.record)

    def groups(self) -> list[ParamGroup]:
        """The splats' parameters."""
        return self.scene.param_groups()

    def after_step(self, info: StepInfo, generator: torch.Generator, record: ViewRecord) -> ParameterChange | None:
        """The step of the strategy."""
        return self.trainee.post_backward(record, info, generator)

    def state(self) -> dict[str, Any]:
        """Columns and strategy."""
        return self.trainee.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore `state()`, with any number of splats."""
        self.trainee.load_state(state)
