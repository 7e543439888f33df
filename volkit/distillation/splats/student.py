"""Splats in training."""

from typing import Any

import torch

from volkit.distillation.splats.mcmc import Strategy
from volkit.distillation.splats.views import ViewSource
from volkit.geometry.lens import PINHOLE
from volkit.ops.param_group import ParamGroup
from volkit.rendering.splatting import SplatRenderer
from volkit.rendering.through_lens import LensMap, lens_map
from volkit.representations.splats import PARAMETERS, Splats
from volkit.training.loop import ParameterChange, StepInfo
from volkit.typing import Tensor

__all__ = ["SplatStudent"]


class SplatStudent:
    """A trainee (`volkit.fit`) made of splats and the views that they should draw."""

    def __init__(self, splats: Splats, views: ViewSource, generator: torch.Generator, densify: Strategy) -> None:
        self.scene, self.views, self.generator, self.densify = splats, views, generator, densify
        self.lenses: dict[int, LensMap] = {}

    def losses(self, moment: StepInfo) -> dict[str, Tensor]:
        """Mean absolute difference of one view over a random background, and what the strategy adds."""
        index = self.views.next(self.generator)
        colour, opacity, weight = self.views.view(index)
        # A feature of zeros adds nothing to the picture; its gradient is each splat's sum(T alpha |error|).
        blame = torch.zeros(len(self.scene), 1, device=self.scene.device, requires_grad=True)
        lens = self._lens(index)
        drawn, full, seen = SplatRenderer().painted(self.scene, self.views.cameras, index, blame, lens)
        self.densify.watch(seen, blame)
        background = torch.rand(3, generator=self.generator, device=colour.device)
        error = drawn[..., :3] - colour - (full[..., None] - opacity) * background
        error = (error if weight is None else error * weight).abs()
        nothing = (drawn[..., 3:] * error.detach().mean(-1, keepdim=True)).sum()
        return {"pixels": error.mean() + nothing} | self.densify.penalties(self.scene)

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

    def after_step(self, moment: StepInfo) -> list[ParameterChange]:
        """Whatever the strategy does."""
        change = self.densify.after_step(self.scene, moment, self.generator)
        return [] if change is None else [change]

    def state(self) -> dict[str, Any]:
        """Columns, views, strategy, randomness."""
        columns = {name: getattr(self.scene, name).detach() for name in PARAMETERS}
        return {
            "splats": columns, "views": self.views.state(), "densify": self.densify.state(),
            "generator": self.generator.get_state(),
        }  # fmt: skip

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up `state()`, whatever number of splats it has."""
        self.scene.replaced(state["splats"])
        self.views.load_state(state["views"])
        self.densify.load_state(state["densify"])
        self.generator.set_state(state["generator"].cpu())
