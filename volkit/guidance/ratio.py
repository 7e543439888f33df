"""Weights of f-divergences: h(r), r = p_t / q_t the density ratio of the prior and the renders."""

from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from volkit.guidance.condition import Condition
from volkit.guidance.prior import Noised
from volkit.typing import Float, Tensor

__all__ = ["DIVERGENCES", "Divergence", "ExactRatio", "LogRatio", "density_weight"]

Divergence = Literal["reverse_kl", "soft_reverse_kl", "jensen_shannon", "hellinger", "forward_kl", "jeffreys"]

# h(r) = r² f''(r) of D_f = ∫ q f(p / q), as a function of log r (f-distill, Xu et al. 2025).
DIVERGENCES = {
    "reverse_kl": torch.ones_like,
    "soft_reverse_kl": lambda log_r: torch.sigmoid(-log_r),
    "jensen_shannon": torch.sigmoid,
    "hellinger": lambda log_r: 0.25 * (0.5 * log_r).exp(),
    "forward_kl": torch.exp,
    "jeffreys": lambda log_r: 1.0 + log_r.exp(),
}


class LogRatio(Protocol):
    """The log density ratio of noised batches, `log p_t(x_t) - log q_t(x_t)`: p the prior, q the renders."""

    def __call__(self, at: Noised, prompt: Condition, critic: Condition) -> Float[Tensor, " view"]:
        """`log p_t(x_t) - log q_t(x_t)`, p under the prompt and q under the critic's condition."""
        ...


class _Density(Protocol):
    def log_density(self, at: Noised, condition: Condition) -> Float[Tensor, " view"]: ...


@dataclass(frozen=True)
class ExactRatio:
    """The log ratio of two densities in closed form, such as those of `MixturePrior`.

    Attributes:
        prior: with `log_density(at, condition)`.
        critic: the same, of the renders.
    """

    prior: _Density
    critic: _Density

    def __call__(self, at: Noised, prompt: Condition, critic: Condition) -> Float[Tensor, " view"]:
        """The difference of the log densities."""
        return self.prior.log_density(at, prompt) - self.critic.log_density(at, critic)


def density_weight(divergence: Divergence, log_ratio: Float[Tensor, " view"]) -> Float[Tensor, " view"]:
    """`h(r)` of a divergence: `r² f''(r)` for `D_f = ∫ q f(p / q)`."""
    return DIVERGENCES[divergence](log_ratio)
