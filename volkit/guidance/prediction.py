"""What networks predict, and ε: the four languages of diffusion."""

from collections.abc import Callable
from dataclasses import dataclass

from volkit.typing import Tensor

__all__ = ["PREDICTIONS", "Prediction"]


@dataclass(frozen=True)
class Prediction:
    """One language: from its words to ε, and from clean pictures and ε to its words; α and σ come last."""

    eps: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # (output, x_t, α, σ)
    target: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # (x, ε, α, σ)


# By the names that diffusers' schedulers give them; v after Salimans and Ho 2022, flow after Liu et al. 2022.
PREDICTIONS = {
    "epsilon": Prediction(lambda out, x_t, alpha, sigma: out, lambda x, eps, alpha, sigma: eps),
    "v_prediction": Prediction(
        lambda out, x_t, alpha, sigma: alpha * out + sigma * x_t, lambda x, eps, alpha, sigma: alpha * eps - sigma * x
    ),
    "sample": Prediction(lambda out, x_t, alpha, sigma: (x_t - alpha * out) / sigma, lambda x, eps, alpha, sigma: x),
    "flow_prediction": Prediction(
        lambda out, x_t, alpha, sigma: x_t + alpha * out, lambda x, eps, alpha, sigma: eps - x
    ),
}
