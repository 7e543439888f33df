"""A prior without a network: Gaussian mixtures of pictures, with scores in closed form."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from volkit.guidance.condition import Condition
from volkit.guidance.noise_schedule import NoiseSchedule
from volkit.guidance.prior import Noised
from volkit.typing import Float, Tensor

__all__ = ["MixturePrior"]


@dataclass(frozen=True)
class MixturePrior:
    """A Gaussian mixture `p(x) = Σ_k π_k N(m_k, s_k)` of pictures, with its exact score.

    Noised, component k is `N(α m_k, α² s_k + σ²)`, and `ε = -σ ∇ log p_t` follows in closed form. A condition
    weights the components: `text` holds log weights, `camera` viewing directions (from the object, unit), which weight
    component k by `exp(κ ⟨d, d_k⟩)`. A mixture of variance 0 around particles is their exact critic.

    Attributes:
        means: `m_k`, pictures in [0, 1], channels first.
        variances: `s_k`, the same for all numbers of a picture.
        labels: the word of each component, for `embed`.
        directions: unit directions that the components are seen from.
        concentration: `κ`.
        schedule: of the noise.
        views: rows of a batch that form one object.

    Example:
        >>> prior = MixturePrior(torch.zeros(1, 3, 2, 2), torch.ones(1), labels=("dark",))
        >>> prior.embed(["dark"]).text.tolist()
        [[0.0]]
    """

    means: Float[Tensor, "component channel height width"]
    variances: Float[Tensor, " component"]
    labels: tuple[str, ...] = ()
    directions: Float[Tensor, "component 3"] | None = None
    concentration: float = 20.0
    schedule: NoiseSchedule = field(default_factory=NoiseSchedule.stable_diffusion)
    views: int = 1

    def encode(self, pictures: Tensor) -> Tensor:
        """The pictures, channels first."""
        return pictures.movedim(-1, 1)

    def decode(self, x: Tensor) -> Tensor:
        """The pictures, channels last."""
        return x.movedim(1, -1)

    def embed(self, texts: Sequence[str]) -> Condition:
        """Equal weights of all components with that label; "" is all components. ValueError for an unknown label."""
        rows = []
        for text in texts:
            chosen = torch.tensor([not text or label == text for label in self.labels or ("",) * len(self.means)])
            if not chosen.any():
                known = ", ".join(sorted(set(self.labels)))
                raise ValueError(f"the mixture has no component '{text}': there are {known or 'no labels'}")
            rows.append(torch.where(chosen, 0.0, -torch.inf).to(self.means))
        return Condition(text=torch.stack(rows))

    def eps(self, at: Noised, condition: Condition) -> Tensor:
        """`ε = σ Σ_k r_k (x_t - α m_k) / (α² s_k + σ²)` with responsibilities r, in the precision of the means."""
        logits, away, spread = self._logits(at, condition)
        share = (logits.softmax(-1) / spread)[..., None]
        _, sigma = self.schedule.at(at.t, at.x)
        return sigma * (share * away).sum(1).view(at.x.shape).to(at.x)

    def log_density(self, at: Noised, condition: Condition) -> Float[Tensor, " view"]:
        """`log p_t(x_t)` up to the constant `-d/2 log 2π`, the same for all mixtures of this size."""
        return self._logits(at, condition)[0].logsumexp(-1)

    def _logits(self, at: Noised, condition: Condition) -> tuple[Tensor, Tensor, Tensor]:
        """Per view and component: log of weighted density, `x_t - α m_k`, and `α² s_k + σ²`."""
        x = at.x.flatten(1).to(self.means)
        alpha, sigma = self.schedule.at(at.t, x)
        away = x[:, None] - alpha[..., None] * self.means.flatten(1)
        spread = alpha.square() * self.variances + sigma.square()
        fit = -0.5 * away.square().sum(-1) / spread - 0.5 * away.shape[-1] * spread.log()
        return fit + self._log_weights(condition).to(fit), away, spread

    def _log_weights(self, condition: Condition) -> Float[Tensor, "#view component"]:
        weights = self.means.new_zeros(1, len(self.means)) if condition.text is None else condition.text
        if condition.camera is not None and self.directions is not None:
            weights = weights + self.concentration * condition.camera @ self.directions.T
        return weights.log_softmax(-1)
