"""Where splats are wanted, as 3DGS finds it (Kerbl et al. 2023, section 5): clone, split, prune, begin again."""

from dataclasses import dataclass, field
from typing import Any

import torch

from volkit.distillation.splats.mcmc import DEAD_OPACITY
from volkit.ops.splat import Projected
from volkit.representations.splats import PARAMETERS, Splats
from volkit.training.loop import ParameterChange, StepInfo
from volkit.typing import Bool, Float, Int, Tensor

__all__ = ["DefaultStrategy"]

SPLIT_SCALE = 0.01  # of the domain's diagonal: wider splats are split, others cloned
SPLIT_FACTOR = 1.6  # what the halves are narrower by
RESET_OPACITY = 0.01  # no opacity is above it after a reset


@dataclass
class DefaultStrategy:
    """Splats whose place on the pictures is pulled at the hardest multiply, small ones as they are, large ones in two.

    A splat's pull is the mean length of its picture position's gradient over the views that show it. 3DGS compares it
    with a threshold; here a fixed share of the splats, those of the highest rank, multiply in every round, so that
    neither the weight of a loss nor the size of the pictures matters. Times are fractions of the budget; there are
    fewer rounds than 3DGS's 145, for budgets of a thousand steps: what a reset made faint must recover between them.
    """

    most: int = 60_000
    begin: float = 0.02
    end: float = 0.5
    rounds: int = 40
    growth: float = 1.05
    resets: tuple[float, ...] = (0.15, 0.3)
    done: int = 0
    reset: int = 0
    pulls: Tensor = field(default_factory=lambda: torch.zeros(0))  # sums over views
    views: Tensor = field(default_factory=lambda: torch.zeros(0))  # that showed each splat
    last: Projected | None = None

    def penalties(self, splats: Splats) -> dict[str, Tensor]:
        """None: resets thin the splats out."""
        return {}

    def watch(self, seen: Projected, blame: Float[Tensor, "splat 1"]) -> None:
        """Ask for the gradient of this view's positions."""
        seen.means.retain_grad()
        self.last = seen

    def after_step(self, splats: Splats, moment: StepInfo, generator: torch.Generator) -> ParameterChange | None:
        """Count the view; now and then multiply and prune, or make all faint."""
        self._count()
        if self.begin + self.done * (self.end - self.begin) / self.rounds <= moment.fraction < self.end:
            self.done += 1
            return self.multiply(splats, generator)
        if self.reset < len(self.resets) and moment.fraction >= self.resets[self.reset]:
            self.reset += 1
            logits = splats.logits.detach().clamp_max(torch.logit(torch.tensor(RESET_OPACITY)).item())
            splats.replaced({name: getattr(splats, name) for name in PARAMETERS} | {"logits": logits})
            return ParameterChange()
        return None

    def _count(self) -> None:
        assert self.last is not None and self.last.means.grad is not None
        pull, seen = self.last.means.grad.norm(dim=-1), self.last.extents[:, 0] > 0
        self.last = None
        if len(self.pulls) != len(pull):
            self.pulls, self.views = torch.zeros_like(pull), torch.zeros_like(pull)
        self.pulls += pull
        self.views += seen

    @torch.no_grad()
    def multiply(self, splats: Splats, generator: torch.Generator) -> ParameterChange | None:
        """Clone and split the most pulled, leave out what is too faint to be seen."""
        pulled = self.pulls / self.views.clamp_min(1.0)
        self.pulls = self.views = torch.zeros(0)
        more = max(0, min(self.most, int(self.growth * len(splats)) + 1) - len(splats))
        chosen = torch.zeros_like(pulled, dtype=torch.bool)
        chosen[pulled.topk(min(more, len(splats))).indices] = True
        kept = splats.opacities > DEAD_OPACITY
        if not bool(kept.any()) or (bool(kept.all()) and not bool(chosen.any())):
            return None
        wide = splats.scales.amax(-1) > SPLIT_SCALE * splats.domain.diagonal
        old, copied = kept.nonzero()[:, 0], (kept & chosen).nonzero()[:, 0]
        rows = torch.cat([old, copied])
        halved = (chosen & wide)[rows]
        columns = {name: getattr(splats, name)[rows] for name in PARAMETERS}
        columns["means"] = _scattered(splats, rows, halved, generator)
        columns["log_scales"] = columns["log_scales"] - torch.where(halved, SPLIT_FACTOR, 1.0).log()[:, None]
        splats.replaced(columns)
        fresh = halved | (torch.arange(len(rows), device=rows.device) >= len(old))
        return ParameterChange(torch.where(fresh, -1, rows))

    def state(self) -> dict[str, Any]:
        """What was done and seen so far."""
        return {"done": self.done, "reset": self.reset, "pulls": self.pulls, "views": self.views}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up `state()`."""
        self.done, self.reset, self.pulls, self.views = (state[k] for k in ("done", "reset", "pulls", "views"))


def _scattered(
    splats: Splats, rows: Int[Tensor, " row"], chosen: Bool[Tensor, " row"], generator: torch.Generator
) -> Float[Tensor, "row 3"]:
    """Means of rows, those of the chosen drawn anew from their own Gaussians."""
    axes = splats.axes[rows]
    noise = torch.randn(*axes.shape[::2], 1, generator=generator, device=rows.device)
    return splats.means[rows] + torch.where(chosen[:, None], (axes @ noise)[..., 0], 0.0)
