"""Where splats are wanted: Markov chain Monte Carlo instead of thresholds (Kheradmand et al. 2024).

Splats that nobody sees any more are moved to where opacity is, and more are added there until there are enough; a
splat that shares its place with copies is made fainter and smaller, so that the picture stays. All are shaken, the
fainter the more, so that they look for better places. Nothing here reads a gradient or a loss: no threshold depends on
how a loss is weighted.
"""

import math
from dataclasses import dataclass

import torch

from volkit.fit import Regrown
from volkit.geometry import rotations_of
from volkit.representations.splats import PARAMETERS, Splats
from volkit.typing import Float, Int, Tensor

__all__ = ["Chain", "relocated", "shake"]

DEAD = 0.005  # opacity
COPIES = 51  # of one splat at once, at most: the sums below alternate
SHAKEN = 5e5  # of the means' learning rate
SOLID = 0.995  # opacity above which nothing is shaken
STEEPNESS = 100.0


@dataclass(frozen=True)
class Chain:
    """When splats are moved and added, in fractions of the budget, and how many there may be."""

    most: int = 60_000
    begin: float = 0.02
    end: float = 0.8
    rounds: int = 150
    growth: float = 1.05

    def due(self, fraction: float, done: int) -> bool:
        """Whether the next round should be by now."""
        next_one = self.begin + done * (self.end - self.begin) / self.rounds
        return next_one <= fraction < self.end

    @torch.no_grad()
    def move(self, splats: Splats, generator: torch.Generator) -> Regrown | None:
        """Move the dead and add more: each goes to a living splat, drawn by opacity."""
        opacity = splats.opacities
        dead = (opacity <= DEAD).nonzero()[:, 0]
        living = torch.where(opacity > DEAD, opacity, 0.0)
        more = max(0, min(self.most, int(self.growth * len(splats)) + 1) - len(splats))
        if not len(dead) + more or not bool(living.any()):
            return None
        edges = living.double().cumsum(0)
        draw = torch.rand(len(dead) + more, generator=generator, dtype=torch.float64, device=edges.device) * edges[-1]
        chosen = torch.searchsorted(edges, draw).clamp_max(len(splats) - 1)
        copies = torch.bincount(chosen, minlength=len(splats)).clamp_max(COPIES - 1) + 1
        fainter, smaller = relocated(opacity, copies)
        rows = torch.arange(len(splats) + more, device=opacity.device)
        rows[dead], rows[len(splats) :] = chosen[: len(dead)], chosen[len(dead) :]
        columns = {name: getattr(splats, name)[rows] for name in PARAMETERS}
        columns["logits"] = torch.where((copies > 1)[rows], torch.logit(fainter[rows]), columns["logits"])
        columns["log_scales"] = columns["log_scales"] + smaller.log()[rows, None]
        splats.replaced(columns)
        fresh = (copies > 1)[rows]  # the copied and their copies start again from rest
        return Regrown(torch.where(fresh, -1, rows))


def relocated(
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
    return each.clamp(DEAD, 1.0 - 1e-6).to(opacity), factor.clamp(1e-3, 1.0).to(opacity)


@torch.no_grad()
def shake(splats: Splats, rate: float, generator: torch.Generator) -> None:
    """Add `covariance xi rate 5e5 / (1 + exp(-100 (0.005 - o)))`, xi normal, to the means: paper, equation 8."""
    noise = torch.randn(splats.means.shape, generator=generator, device=splats.means.device)
    faintness = torch.sigmoid(STEEPNESS * ((1.0 - splats.opacities) - SOLID))
    loose = (faintness > 1e-3).nonzero()[:, 0]  # most are solid: what shakes less than that does not move
    scales = splats.scales[loose][:, None, :]
    axes = rotations_of(splats.quaternions[loose])[..., : scales.shape[-1]] * scales  # surfels: within their planes
    step = axes @ (axes.transpose(1, 2) @ noise[loose][..., None])
    splats.means[loose] += step[..., 0] * (faintness[loose] * (SHAKEN * rate))[:, None]
