"""Where splats are wanted, as 3DGS finds it (Kerbl et al. 2023, section 5): clone, split, prune, begin again."""

from dataclasses import dataclass

import torch

from volkit.distillation.splats.mcmc import DEAD_OPACITY
from volkit.distillation.splats.strategy import State, Strategy, ViewRecord
from volkit.representations.splats import PARAMETERS, Splats
from volkit.training.loop import ParameterChange, StepInfo
from volkit.typing import Bool, Float, Int, Tensor

__all__ = ["DefaultStrategy"]

SPLIT_SCALE = 0.01  # of the domain's diagonal: wider splats are split, others cloned
SPLIT_FACTOR = 1.6  # what the halves are narrower by
RESET_OPACITY = 0.01  # no opacity is above it after a reset


@dataclass(frozen=True)
class DefaultStrategy(Strategy):
    """Splats whose place on the pictures is pulled at the hardest multiply, small ones as they are, large ones in two.

    A splat's pull is the mean length of its picture position's gradient over the views that show it. 3DGS compares it
    with a threshold; here a fixed share of the splats, those of the highest rank, multiply in every round, so that
    neither the weight of a loss nor the size of the pictures matters. Times are fractions of the budget; there are
    fewer rounds than 3DGS's 145, for budgets of a thousand steps: what a reset made faint must recover between them.
    """

    max_splats: int = 60_000
    begin: float = 0.02
    end: float = 0.5
    rounds: int = 40
    growth: float = 1.05
    resets: tuple[float, ...] = (0.15, 0.3)

    def initialize_state(self, splats: Splats) -> State:
        """Rounds and resets done; the sum of each splat's pulls over views, and how many views showed it."""
        none = torch.zeros(len(splats), device=splats.device)
        return {"done": 0, "resets": 0, "pulls": none, "views": none}

    def pre_backward(self, splats: Splats, state: State, record: ViewRecord) -> State:
        """Ask for the gradient of this view's positions."""
        record.projected.means.retain_grad()
        return state

    def post_backward(
        self, splats: Splats, state: State, record: ViewRecord, moment: StepInfo, generator: torch.Generator
    ) -> tuple[State, ParameterChange | None]:
        """Count the view; now and then multiply and prune, or make all faint."""
        state = _counted(state, record)
        if self.begin + state["done"] * (self.end - self.begin) / self.rounds <= moment.fraction < self.end:
            return self.multiply(splats, state | {"done": state["done"] + 1}, generator)
        if state["resets"] < len(self.resets) and moment.fraction >= self.resets[state["resets"]]:
            logits = splats.logits.detach().clamp_max(torch.logit(torch.tensor(RESET_OPACITY)).item())
            splats.replace_columns({name: getattr(splats, name) for name in PARAMETERS} | {"logits": logits})
            return state | {"resets": state["resets"] + 1}, ParameterChange()
        return state, None

    @torch.no_grad()
    def multiply(
        self, splats: Splats, state: State, generator: torch.Generator
    ) -> tuple[State, ParameterChange | None]:
        """Clone and split the most pulled, leave out what is too faint to be seen."""
        pulled = state["pulls"] / state["views"].clamp_min(1.0)
        more = max(0, min(self.max_splats, int(self.growth * len(splats)) + 1) - len(splats))
        chosen = torch.zeros_like(pulled, dtype=torch.bool)
        chosen[pulled.topk(min(more, len(splats))).indices] = True
        kept = splats.opacities > DEAD_OPACITY
        if not bool(kept.any()) or (bool(kept.all()) and not bool(chosen.any())):
            return _forgotten(state, len(splats)), None
        wide = splats.scales.amax(-1) > SPLIT_SCALE * splats.domain.diagonal
        old, copied = kept.nonzero()[:, 0], (kept & chosen).nonzero()[:, 0]
        rows = torch.cat([old, copied])
        halved = (chosen & wide)[rows]
        columns = {name: getattr(splats, name)[rows] for name in PARAMETERS}
        columns["means"] = _scattered(splats, rows, halved, generator)
        columns["log_scales"] = columns["log_scales"] - torch.where(halved, SPLIT_FACTOR, 1.0).log()[:, None]
        splats.replace_columns(columns)
        fresh = halved | (torch.arange(len(rows), device=rows.device) >= len(old))
        return _forgotten(state, len(splats)), ParameterChange(torch.where(fresh, -1, rows))


def _counted(state: State, record: ViewRecord) -> State:
    gradient = record.projected.means.grad
    assert gradient is not None
    return state | {
        "pulls": state["pulls"] + gradient.norm(dim=-1),
        "views": state["views"] + (record.projected.extents[:, 0] > 0),
    }


def _forgotten(state: State, count: int) -> State:
    """Pulls are counted anew, for so many splats."""
    none = torch.zeros(count, device=state["pulls"].device)
    return state | {"pulls": none, "views": none}


def _scattered(
    splats: Splats, rows: Int[Tensor, " row"], chosen: Bool[Tensor, " row"], generator: torch.Generator
) -> Float[Tensor, "row 3"]:
    """Means of rows, those of the chosen drawn anew from their own Gaussians."""
    axes = splats.axes[rows]
    noise = torch.randn(*axes.shape[::2], 1, generator=generator, device=rows.device)
    return splats.means[rows] + torch.where(chosen[:, None], (axes @ noise)[..., 0], 0.0)
