"""The strategy that is used by default: Markov chain Monte Carlo, driven by each splat's share of the error."""

import math
from dataclasses import dataclass

import torch

from volkit.distillation.splats.strategy import State, Strategy, ViewRecord
from volkit.representations.splats import PARAMETERS, Splats
from volkit.training.loop import ParameterChange, StepInfo
from volkit.typing import Float, Int, Tensor

__all__ = ["MCMCStrategy", "add_noise", "relocate"]

DEAD_OPACITY = 0.005  # opacity
MAX_COPIES = 51  # of one splat at once, at most: the sums below alternate
NOISE_RATE = 80.0  # 1 / diagonal of the domain: 5e5 times 3DGS's rate of means, 1.6e-4 of the scene
OPAQUE_OPACITY = 0.995  # opacity above which nothing is shaken
STEEPNESS = 100.0
MAX_NOISE_DEVIATIONS = 2.0  # standard deviations
SHARE_MEMORY = 0.98  # of the shares of error, from step to step: about fifty views
OPACITY_WEIGHT = 0.002  # of mean opacity, and of mean scale: what is not needed fades. 3DGS-MCMC has 0.01, which
SCALE_WEIGHT = 0.002  # costs time as well: what is faint hides nothing, and all that is behind it is drawn


@dataclass(frozen=True)
class MCMCStrategy(Strategy):
    """Markov chain Monte Carlo instead of thresholds (Kheradmand et al. 2024).

    Splats that nobody sees any more are moved to where the error is, and more are added there until there are enough;
    a splat that shares its place with copies is made fainter and smaller, so that the picture stays. All are shaken,
    the fainter the more, so that they look for better places. The paper draws places by opacity; drawn by each splat's
    share of the pictures' error (Rota Bulò et al. 2024: sum of T alpha |error| over pixels) they also bring
    detail. Only ratios of shares matter, not how a loss is weighted. Times are fractions of the budget.
    """

    max_splats: int = 60_000
    begin: float = 0.02
    end: float = 0.6
    rounds: int = 60
    growth: float = 1.05

    def initialize_state(self, splats: Splats) -> State:
        """Rounds done, and the decaying sum of each splat's shares of the error."""
        return {"done": 0, "shares": torch.zeros(len(splats), device=splats.device)}

    def penalties(self, splats: Splats) -> dict[str, Tensor]:
        """Mean opacity and mean scale."""
        return {
            "opacity": OPACITY_WEIGHT * splats.opacities.mean(),
            "scale": SCALE_WEIGHT * splats.scales.mean() / splats.domain.diagonal,
        }

    def post_backward(
        self, splats: Splats, state: State, record: ViewRecord, moment: StepInfo, generator: torch.Generator
    ) -> tuple[State, ParameterChange | None]:
        """Count the view's error and add noise; now and then move the dead and add more."""
        assert record.errors.grad is not None
        state = state | {"shares": state["shares"] * SHARE_MEMORY + record.errors.grad[:, 0]}
        add_noise(splats, NOISE_RATE / splats.domain.diagonal * (1.0 - moment.fraction) ** 2, generator)
        if not self.begin + state["done"] * (self.end - self.begin) / self.rounds <= moment.fraction < self.end:
            return state, None
        return self.relocate_dead(splats, state | {"done": state["done"] + 1}, generator)

    @torch.no_grad()
    def relocate_dead(
        self, splats: Splats, state: State, generator: torch.Generator
    ) -> tuple[State, ParameterChange | None]:
        """Move the dead and add more: each goes to a living splat, drawn by its share of the error."""
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
        fresh = (copies > 1)[rows]  # the copied and their copies start again from rest
        shares = (state["shares"] / copies)[rows]
        return state | {"shares": shares}, ParameterChange(torch.where(fresh, -1, rows))


def relocate(
    opacity: Float[Tensor, " splat"], copies: Int[Tensor, " splat"]
) -> tuple[Float[Tensor, " splat"], Float[Tensor, " splat"]]:
    """Opacity of each of N equal splats in one place, and the factor of their scales: together they look like one.

    `o' = 1 - (1 - o)^(1/N)`, factor `o / sum_{i=1..N} sum_{k<i} C(i - 1, k) (-1)^k o'^(k + 1) / sqrt(k + 1)`:
    equation 9 of the paper. sum_i C(i - 1, k) over i = 1 .. N is C(N, k + 1).
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
    """Add `strength covariance xi / (1 + exp(-100 (0.005 - o)))`, xi normal, to the means: paper, equation 8.

    `strength` is an inverse length and follows the scene's size, not the rate at which means learn: at ten times the
    paper's rate faint splats would be thrown tens of their own widths away. Far and wide ones move no more than
    MAX_NOISE_DEVIATIONS of theirs.
    """
    faintness = torch.sigmoid(STEEPNESS * ((1.0 - splats.opacities) - OPAQUE_OPACITY))
    loose = (faintness > 1e-3).nonzero()[:, 0]  # most are solid: what shakes less than that does not move
    rows = splats.axes[loose]
    noise = torch.randn(*rows.shape[::2], 1, generator=generator, device=loose.device)
    reach = (strength * splats.scales[loose]).clamp_max(MAX_NOISE_DEVIATIONS) * faintness[loose, None]
    splats.means[loose] += (rows @ (reach[..., None] * noise))[..., 0]
