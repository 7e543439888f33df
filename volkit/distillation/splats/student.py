"""Splats in training: drawn by camera, compared with views, added and moved by a strategy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from volkit.distillation.splats.strategy import Strategy, ViewRecord
from volkit.distillation.splats.views import ViewSource
from volkit.geometry import Cameras
from volkit.geometry.lens import PINHOLE
from volkit.ops.param_group import ParamGroup
from volkit.rendering.splatting import SplatRenderer
from volkit.rendering.through_lens import LensMap, lens_map
from volkit.representations.splats import PARAMETERS, Splats
from volkit.training.loop import ParameterChange, StepInfo, StepLosses
from volkit.typing import Float, Tensor

__all__ = ["SplatDrawing", "SplatStudent", "SplatTrainee"]


@dataclass(frozen=True)
class SplatDrawing:
    """Premultiplied pictures with gradients, and what a strategy needs of them.

    `errors` is a channel of zeros: `(errors * e).sum()`, e each pixel's error, adds nothing to a loss, and its gradient
    is each splat's share of e.
    """

    rgb: Float[Tensor, "view height width 3"]
    opacity: Float[Tensor, "view height width"]
    errors: Float[Tensor, "view height width"]
    record: ViewRecord  # of the last view; shares of error are sums over all


class SplatTrainee:
    """Splats that learn, their strategy and what it has counted, whoever teaches them."""

    def __init__(self, scene: Splats, strategy: Strategy) -> None:
        self.scene, self.strategy = scene, strategy
        self.counted = strategy.initialize_state(scene)

    def draw(self, cameras: Cameras, views: Sequence[int], lens: LensMap | None = None) -> SplatDrawing:
        """Pictures by some of the cameras, world frame, which share a size."""
        shares = torch.zeros(len(self.scene), 1, device=self.scene.device, requires_grad=True)
        drawn = [SplatRenderer().render_features(self.scene, cameras, index, shares, lens) for index in views]
        channels = torch.stack([channels for channels, *_ in drawn])
        record = ViewRecord(drawn[-1][2], shares)
        self.counted = self.strategy.pre_backward(self.scene, self.counted, record)
        opacity = torch.stack([opacity for _, opacity, _ in drawn])
        return SplatDrawing(channels[..., :3], opacity, channels[..., 3], record)

    def post_backward(self, record: ViewRecord, moment: StepInfo, generator: torch.Generator) -> ParameterChange | None:
        """Whatever the strategy does after a step."""
        self.counted, change = self.strategy.post_backward(self.scene, self.counted, record, moment, generator)
        return change

    def state(self) -> dict[str, Any]:
        """Columns, and what the strategy has counted."""
        columns = {name: getattr(self.scene, name).detach() for name in PARAMETERS}
        return {"splats": columns, "strategy": self.counted}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up `state()`, whatever number of splats it has."""
        self.scene.replace_columns(state["splats"])
        self.counted = state["strategy"]


class SplatStudent:
    """A trainee of `TrainingLoop` made of splats and the views that they should draw."""

    def __init__(self, splats: Splats, views: ViewSource, generator: torch.Generator, strategy: Strategy) -> None:
        self.trainee, self.views, self.generator = SplatTrainee(splats, strategy), views, generator
        self.lenses: dict[int, LensMap] = {}

    @property
    def scene(self) -> Splats:
        """The splats as they are now."""
        return self.trainee.scene

    def losses(self, moment: StepInfo) -> StepLosses:
        """Mean absolute difference of one view over a random background, and what the strategy adds."""
        index = self.views.next(self.generator)
        colour, opacity, weight = self.views.view(index)
        drawn = self.trainee.draw(self.views.cameras, [index], self._lens(index))
        background = torch.rand(3, generator=self.generator, device=colour.device)
        error = drawn.rgb[0] - colour - (drawn.opacity[0, ..., None] - opacity) * background
        error = (error if weight is None else error * weight).abs()
        nothing = (drawn.errors[0] * error.detach().mean(-1)).sum()
        losses = {"pixels": error.mean() + nothing} | self.trainee.strategy.penalties(self.scene)
        return StepLosses(losses, drawn.record)

    def _lens(self, index: int) -> LensMap | None:
        """Found once for each view: it is a matter of Newton's iterations."""
        if self.views.cameras.lens == PINHOLE:
            return None
        if index not in self.lenses:
            self.lenses[index] = lens_map(self.views.cameras, index)
        return self.lenses[index]

    def groups(self) -> list[ParamGroup]:
        """The splats' own."""
        return self.scene.param_groups()

    def after_step(self, moment: StepInfo, record: ViewRecord) -> list[ParameterChange]:
        """Whatever the strategy does."""
        change = self.trainee.post_backward(record, moment, self.generator)
        return [] if change is None else [change]

    def state(self) -> dict[str, Any]:
        """Splats and strategy, views, randomness."""
        return self.trainee.state() | {"views": self.views.state(), "generator": self.generator.get_state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up `state()`."""
        self.trainee.load_state(state)
        self.views.load_state(state["views"])
        self.generator.set_state(state["generator"].cpu())
