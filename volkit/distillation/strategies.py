"""Densification strategies: when and where splats in training are added, moved and removed."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch

from volkit.ops.splat import Projected
from volkit.representations.splats import PARAMETERS, Splats
from volkit.training.loop import ParameterChange, StepInfo
from volkit.typing import Bool, Float, Int, Tensor

__all__ = ["MAX_SPLATS", "DefaultStrategy", "MCMCStrategy", "State", "Strategy", "ViewRecord", "add_noise", "relocate"]

MAX_SPLATS = 60_000  # by default

State = dict[str, Any]  # numbers and tensors by name, as a checkpoint stores them


@dataclass(frozen=True)
class ViewRecord:
    """The last view of a step, as it was rendered.

    Attributes:
        projected: the splats on the picture; its `means` have a gradient after the backward pass if `pre_backward`
            called `retain_grad` on them.
        errors: zeros, whose gradient after the backward pass is each splat's share of the picture's error: the sum of
            `T alpha |error|` over pixels.
    """

    projected: Projected
    errors: Float[Tensor, "splat 1"]


class Strategy(ABC):
    """A densification strategy: a frozen value of settings, called before and after the backward pass as gsplat's are.

    Its state is passed in and returned. A strategy of your own needs `post_backward` alone. It changes the splats by
    `keep` and `replace_columns`, and returns in a `ParameterChange` the former row of each new one (-1: none), so that
    the optimiser's moments follow their rows.

    Example:
        >>> @dataclass(frozen=True)
        ... class PruneFaint(Strategy):
        ...     min_opacity: float = 0.01
        ...     def post_backward(self, splats, state, record, info, generator):
        ...         rows = (splats.opacities > self.min_opacity).nonzero()[:, 0]
        ...         if info.step % 100 or len(rows) == len(splats):
        ...             return state, None
        ...         splats.keep(rows)
        ...         return state, ParameterChange(rows)
    """

    def initialize_state(self, splats: Splats) -> State:
        """The state before the first step."""
        return {}

    def penalties(self, splats: Splats) -> dict[str, Tensor]:
        """Weighted losses by name, differentiable in the splats; none by default."""
        return {}

    def pre_backward(self, splats: Splats, state: State, record: ViewRecord) -> State:
        """Before the backward pass; the place to call `retain_grad`."""
        return state

    @abstractmethod
    def post_backward(
        self, splats: Splats, state: State, record: ViewRecord, info: StepInfo, generator: torch.Generator
    ) -> tuple[State, ParameterChange | None]:
        """After the optimiser's step: update the state, and change the splats.

        Args:
            splats: after the step; changed in place.
            state: as it was returned before.
            record: the last view; gradients are those of the step.
            info: of the step.
            generator: of all randomness.

        Returns:
            The new state, and the former row of each new one; None if no row was added, removed or moved.
        """


DEAD_OPACITY = 0.005  # opacity up to which a splat is dead
MAX_COPIES = 51  # of one splat in one round: with more, the alternating sums lose their digits
NOISE_RATE = 80.0  # 1 / diagonal of the domain: 5e5 times 3DGS's rate of means, 1.6e-4 of the scene
OPAQUE_OPACITY = 0.995  # opacity above which no noise is added
STEEPNESS = 100.0  # of the transition there
MIN_NOISE_WEIGHT = 1e-3  # below which a splat does not move
MAX_NOISE_DEVIATIONS = 2.0  # standard deviations
SHARE_DECAY = 0.98  # of the shares of error from step to step: they cover about fifty views
# Weights of mean opacity and mean scale, by which superfluous splats fade. 3DGS-MCMC has 0.01, which takes longer to
# render: faint splats occlude nothing, and all behind them is blended.
OPACITY_WEIGHT = 0.002
SCALE_WEIGHT = 0.002


@dataclass(frozen=True)
class MCMCStrategy(Strategy):
    """Markov chain Monte Carlo: relocation and noise instead of thresholds (Kheradmand et al. 2024).

    Dead splats are relocated to living ones with large errors, and new ones are added there up to `max_splats`; the
    copies of a splat are fainter and smaller than it was, so that the picture stays the same. Noise is added to all
    means, the more the fainter the splat. The paper draws targets by opacity; drawn by each splat's share of the
    pictures' error (Rota Bulò et al. 2024: the sum of `T alpha |error|` over pixels) they also add detail. Only ratios
    of shares matter, not the weight of a loss.

    Attributes:
        max_splats: number of splats up to which they densify.
        begin: of the rounds, a fraction of the budget.
        end: of the rounds, a fraction of the budget.
        rounds: of relocation and growth.
        growth: factor of the number of splats in a round.
    """

    max_splats: int = MAX_SPLATS
    begin: float = 0.02
    end: float = 0.6
    rounds: int = 60
    growth: float = 1.05

    def initialize_state(self, splats: Splats) -> State:
        """Number of rounds, and the decaying sum of each splat's shares of the error."""
        return {"rounds": 0, "shares": torch.zeros(len(splats), device=splats.device)}

    def penalties(self, splats: Splats) -> dict[str, Tensor]:
        """Mean opacity and mean scale."""
        return {
            "opacity": OPACITY_WEIGHT * splats.opacities.mean(),
            "scale": SCALE_WEIGHT * splats.scales.mean() / splats.domain.diagonal,
        }

    def post_backward(
        self, splats: Splats, state: State, record: ViewRecord, info: StepInfo, generator: torch.Generator
    ) -> tuple[State, ParameterChange | None]:
        """Accumulate shares of the error and add noise; in a round, relocate dead splats and add new ones."""
        assert record.errors.grad is not None
        state = state | {"shares": state["shares"] * SHARE_DECAY + record.errors.grad[:, 0]}
        add_noise(splats, NOISE_RATE / splats.domain.diagonal * (1.0 - info.fraction) ** 2, generator)
        if not self.begin + state["rounds"] * (self.end - self.begin) / self.rounds <= info.fraction < self.end:
            return state, None
        return self.relocate_dead(splats, state | {"rounds": state["rounds"] + 1}, generator)

    @torch.no_grad()
    def relocate_dead(
        self, splats: Splats, state: State, generator: torch.Generator
    ) -> tuple[State, ParameterChange | None]:
        """Relocate dead splats and add new ones: copies of living ones, drawn by their shares of the error."""
        opacity = splats.opacities
        dead = (opacity <= DEAD_OPACITY).nonzero()[:, 0]
        living = torch.where(opacity > DEAD_OPACITY, state["shares"], 0.0)
        more = max(0, min(self.max_splats, int(self.growth * len(splats)) + 1) - len(splats))
        if not len(dead) + more or not bool(living.any()):
            return state, None
        edges = living.double().cumsum(0)
        draw = torch.rand(len(dead) + more, generator=generator, dtype=torch.float64, device=edges.device) * edges[-1]
        chosen = torch.searchsorted(edges, draw).clamp_max(len(splats) - 1)
        copies = torch.bincount(chosen, minlength=len(splats)).clamp_max(MAX_COPIES - 1) + 1
        fainter, smaller = relocate(opacity, copies)
        rows = torch.arange(len(splats) + more, device=opacity.device)
        rows[dead], rows[len(splats) :] = chosen[: len(dead)], chosen[len(dead) :]
        columns = {name: getattr(splats, name)[rows] for name in PARAMETERS}
        columns["logits"] = torch.where((copies > 1)[rows], torch.logit(fainter[rows]), columns["logits"])
        columns["log_scales"] = columns["log_scales"] + smaller.log()[rows, None]
        splats.replace_columns(columns)
        fresh = (copies > 1)[rows]  # whose moments begin at zero
        shares = (state["shares"] / copies)[rows]
        return state | {"shares": shares}, ParameterChange(torch.where(fresh, -1, rows))


def relocate(
    opacity: Float[Tensor, " splat"], copies: Int[Tensor, " splat"]
) -> tuple[Float[Tensor, " splat"], Float[Tensor, " splat"]]:
    """Opacity of each of N equal splats in one place, and the factor of their scales, that render like one.

    `o' = 1 - (1 - o)^(1/N)`, factor `o / sum_{i=1..N} sum_{k<i} C(i - 1, k) (-1)^k o'^(k + 1) / sqrt(k + 1)`:
    equation 9 of 3DGS-MCMC. The sum of C(i - 1, k) over i = 1 .. N is C(N, k + 1).
    """
    n = copies.double()
    each = 1.0 - (1.0 - opacity.double()) ** (1.0 / n)
    total = torch.zeros_like(each)
    for k in range(int(copies.max())):
        binomial = (torch.lgamma(n + 1) - math.lgamma(k + 2) - torch.lgamma((n - k).clamp_min(1.0))).exp()
        total += torch.where(k < n, binomial * (-1.0) ** k * each ** (k + 1) / math.sqrt(k + 1), 0.0)
    factor = torch.where(copies > 1, opacity.double() / total, 1.0)
    return each.clamp(DEAD_OPACITY, 1.0 - 1e-6).to(opacity), factor.clamp(1e-3, 1.0).to(opacity)


@torch.no_grad()
def add_noise(splats: Splats, strength: float, generator: torch.Generator) -> None:
    """Add `strength covariance xi / (1 + exp(-100 (0.005 - o)))`, xi normal, to the means: equation 8 of 3DGS-MCMC.

    `strength` is an inverse length, relative to the scene and not to the learning rate of means: at ten times the
    paper's rate faint splats would be displaced by tens of their widths. None moves further than `MAX_NOISE_DEVIATIONS`
    of its standard deviations.
    """
    faintness = torch.sigmoid(STEEPNESS * ((1.0 - splats.opacities) - OPAQUE_OPACITY))
    moving = (faintness > MIN_NOISE_WEIGHT).nonzero()[:, 0]  # few: most splats are opaque
    rows = splats.axes[moving]
    noise = torch.randn(*rows.shape[::2], 1, generator=generator, device=moving.device)
    reach = (strength * splats.scales[moving]).clamp_max(MAX_NOISE_DEVIATIONS) * faintness[moving, None]
    splats.means[moving] += (rows @ (reach[..., None] * noise))[..., 0]


SPLIT_SCALE = 0.01  # of the domain's diagonal: wider splats are split, others cloned
SPLIT_FACTOR = 1.6  # by which the two of a split are narrower
RESET_OPACITY = 0.01  # the largest after a reset


@dataclass(frozen=True)
class DefaultStrategy(Strategy):
    """Adaptive density control of 3DGS (Kerbl et al. 2023, section 5): clone, split, prune, reset opacities.

    Splats with the largest gradients of their picture positions densify: narrow ones are cloned, wide ones split. The
    gradient of a splat is the mean length over the views that show it. 3DGS compares it with a threshold; here a fixed
    share of the splats, those of the highest rank, densify in every round, so that neither the weight of a loss nor the
    size of the pictures matters. There are fewer rounds than the 145 of 3DGS, for budgets of a thousand steps: faint
    splats must recover between a reset and the next round.

    Attributes:
        max_splats: number of splats up to which they densify.
        begin: of the rounds, a fraction of the budget.
        end: of the rounds, a fraction of the budget.
        rounds: of densification.
        growth: factor of the number of splats in a round.
        resets: of opacities, fractions of the budget.
    """

    max_splats: int = MAX_SPLATS
    begin: float = 0.02
    end: float = 0.5
    rounds: int = 40
    growth: float = 1.05
    resets: tuple[float, ...] = (0.15, 0.3)

    def initialize_state(self, splats: Splats) -> State:
        """Numbers of rounds and resets; the sum of each splat's gradients over views, and how many views showed it."""
        none = torch.zeros(len(splats), device=splats.device)
        return {"rounds": 0, "resets": 0, "gradients": none, "views": none}

    def pre_backward(self, splats: Splats, state: State, record: ViewRecord) -> State:
        """Retain the gradient of the positions on the picture."""
        record.projected.means.retain_grad()
        return state

    def post_backward(
        self, splats: Splats, state: State, record: ViewRecord, info: StepInfo, generator: torch.Generator
    ) -> tuple[State, ParameterChange | None]:
        """Accumulate the gradients; in a round, densify and prune; at a reset, make all splats faint."""
        state = _accumulate(state, record)
        if self.begin + state["rounds"] * (self.end - self.begin) / self.rounds <= info.fraction < self.end:
            return self.densify(splats, state | {"rounds": state["rounds"] + 1}, generator)
        if state["resets"] < len(self.resets) and info.fraction >= self.resets[state["resets"]]:
            logits = splats.logits.detach().clamp_max(torch.logit(torch.tensor(RESET_OPACITY)).item())
            splats.replace_columns({name: getattr(splats, name) for name in PARAMETERS} | {"logits": logits})
            return state | {"resets": state["resets"] + 1}, ParameterChange()
        return state, None

    @torch.no_grad()
    def densify(self, splats: Splats, state: State, generator: torch.Generator) -> tuple[State, ParameterChange | None]:
        """Clone or split the splats with the largest gradients, prune dead ones."""
        gradient = state["gradients"] / state["views"].clamp_min(1.0)
        more = max(0, min(self.max_splats, int(self.growth * len(splats)) + 1) - len(splats))
        chosen = torch.zeros_like(gradient, dtype=torch.bool)
        chosen[gradient.topk(min(more, len(splats))).indices] = True
        alive = splats.opacities > DEAD_OPACITY
        if not bool(alive.any()) or (bool(alive.all()) and not bool(chosen.any())):
            return _clear(state, len(splats)), None
        wide = splats.scales.amax(-1) > SPLIT_SCALE * splats.domain.diagonal
        old, copied = alive.nonzero()[:, 0], (alive & chosen).nonzero()[:, 0]
        rows = torch.cat([old, copied])
        split = (chosen & wide)[rows]
        columns = {name: getattr(splats, name)[rows] for name in PARAMETERS}
        columns["means"] = _sample_means(splats, rows, split, generator)
        columns["log_scales"] = columns["log_scales"] - torch.where(split, SPLIT_FACTOR, 1.0).log()[:, None]
        splats.replace_columns(columns)
        fresh = split | (torch.arange(len(rows), device=rows.device) >= len(old))
        return _clear(state, len(splats)), ParameterChange(torch.where(fresh, -1, rows))


def _accumulate(state: State, record: ViewRecord) -> State:
    gradient = record.projected.means.grad
    assert gradient is not None
    return state | {
        "gradients": state["gradients"] + gradient.norm(dim=-1),
        "views": state["views"] + (record.projected.extents[:, 0] > 0),
    }


def _clear(state: State, count: int) -> State:
    """The state with no gradients, for so many splats."""
    none = torch.zeros(count, device=state["gradients"].device)
    return state | {"gradients": none, "views": none}


def _sample_means(
    splats: Splats, rows: Int[Tensor, " row"], chosen: Bool[Tensor, " row"], generator: torch.Generator
) -> Float[Tensor, "row 3"]:
    """Means of rows, those of the chosen drawn from their Gaussians."""
    axes = splats.axes[rows]
    noise = torch.randn(*axes.shape[::2], 1, generator=generator, device=rows.device)
    return splats.means[rows] + torch.where(chosen[:, None], (axes @ noise)[..., 0], 0.0)
