"""Splats that learn from a prior: one camera after the other; they multiply where the prior finds most to change."""

from dataclasses import dataclass
from typing import Any

import torch

from volkit.distillation.splats.mcmc import Strategy
from volkit.generation.particle import Drawing
from volkit.generation.penalties import Penalties, entropy
from volkit.geometry import Cameras
from volkit.guidance.ramps import value
from volkit.ops.param_group import ParamGroup
from volkit.ops.splat import Projected
from volkit.rendering.splatting import SplatRenderer
from volkit.representations.splats import PARAMETERS, Splats
from volkit.training.loop import ParameterChange, StepInfo
from volkit.typing import Float, Tensor

__all__ = ["SplatParticle"]


@dataclass(frozen=True)
class SplatRecord:
    """What the last view showed of which splats, and the channel of zeros through which shares of error come back."""

    projected: Projected
    shares: Float[Tensor, "splat 1"]
    channel: Float[Tensor, "view height width"]


class SplatParticle:
    """Splats and the strategy by which they multiply.

    Strategies go by ranks and shares, never by thresholds on gradients, whose size follows the weight w(t), the
    guidance scale and the prior's space. Penalties that are about samples along rays do not apply.
    """

    def __init__(self, scene: Splats, penalties: Penalties, densify: Strategy) -> None:
        self.scene, self.penalties, self.densify = scene, penalties, densify

    def draw(self, cameras: Cameras, moment: StepInfo) -> Drawing:
        """Pictures, with one more channel whose gradient is each splat's share of the error."""
        shares = torch.zeros(len(self.scene), 1, device=self.scene.device, requires_grad=True)
        seen = [SplatRenderer().painted(self.scene, cameras, index, shares) for index in range(len(cameras))]
        record = SplatRecord(seen[-1][2], shares, torch.stack([drawn[..., 3] for drawn, *_ in seen]))
        rgb, opacity = torch.stack([drawn[..., :3] for drawn, *_ in seen]), torch.stack([full for _, full, _ in seen])
        weight = value(self.penalties.opacity, moment.fraction), value(self.penalties.entropy, moment.fraction)
        pixels = opacity[0].numel()
        penalties = {name: pixels * term for name, term in self.densify.penalties(self.scene).items()}
        if weight[0]:
            penalties["emptiness"] = weight[0] * (opacity.square() + 0.01).sqrt().sum() / len(cameras)
        if weight[1]:
            penalties["entropy"] = weight[1] * entropy(opacity) / len(cameras)
        return Drawing(rgb, opacity, penalties, record)

    def error_term(self, drawing: Drawing, error: Float[Tensor, "view height width"]) -> Tensor | None:
        """`Σ T α |error|` over pixels, the share of each splat, through the channel of zeros."""
        record: SplatRecord = drawing.record
        self.densify.watch(record.projected, record.shares)
        return (record.channel * error).sum()

    def groups(self) -> list[ParamGroup]:
        """The splats' own."""
        return self.scene.param_groups()

    def after_step(self, moment: StepInfo, generator: torch.Generator) -> ParameterChange | None:
        """Whatever the strategy does."""
        return self.densify.after_step(self.scene, moment, generator)

    def state(self) -> dict[str, Any]:
        """Columns and strategy."""
        columns = {name: getattr(self.scene, name).detach() for name in PARAMETERS}
        return {"splats": columns, "densify": self.densify.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up `state()`, whatever number of splats it has."""
        self.scene.replaced(state["splats"])
        self.densify.load_state(state["densify"])
