"""Networks that are trained beside the scene: critics, personalised priors, density ratios."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import nn

from volkit.guidance.condition import Conditions
from volkit.guidance.critic import Discriminator, critic_loss, denoising_loss
from volkit.guidance.guidance import Guidance
from volkit.guidance.prior import Prior, Score
from volkit.typing import Float, Tensor

__all__ = ["CriticLearner", "Learner", "PersonalLearner", "RatioLearner"]

PictureBatch = Float[Tensor, "view height width 3"]


class Learner(Protocol):
    """A network that is trained on the renders, beside the scene: a critic, or a classifier of a density ratio.

    Attributes:
        name: of its loss and its parameter group.
        rate: learning rate.
    """

    name: str
    rate: float

    def parameters(self) -> Sequence[nn.Parameter]:
        """The trainable parameters."""
        ...

    def loss(
        self, guidance: Guidance, pictures: PictureBatch, conditions: Conditions, generator: torch.Generator
    ) -> Tensor:
        """The loss on the pictures of one step, of all particles."""
        ...


class _LearnableScore(Score, Protocol):
    def parameters(self) -> list[nn.Parameter]: ...


class CriticLearner:
    """The critic of VSD and its variants, which learns to denoise renders (`critic_loss`).

    Args:
        critic: the trainable copy of the prior.
        rate: learning rate.
    """

    name = "critic"

    def __init__(self, critic: _LearnableScore, rate: float) -> None:
        self.critic, self.rate = critic, rate

    def parameters(self) -> Sequence[nn.Parameter]:
        """Low-rank weights and the camera's embedding."""
        return self.critic.parameters()

    def loss(
        self, guidance: Guidance, pictures: PictureBatch, conditions: Conditions, generator: torch.Generator
    ) -> Tensor:
        """`critic_loss`."""
        return critic_loss(guidance, pictures, conditions, generator)


class PersonalLearner:
    """The prior of Bootstrapped SD, which is personalised to this asset under the prompt (DreamCraft3D).

    Args:
        prior: the trainable copy.
        frozen: the prior itself, which encodes pictures.
        rate: learning rate.
    """

    name = "personal"

    def __init__(self, prior: _LearnableScore, frozen: Prior, rate: float) -> None:
        self.prior, self.frozen, self.rate = prior, frozen, rate

    def parameters(self) -> Sequence[nn.Parameter]:
        """Low-rank weights."""
        return self.prior.parameters()

    def loss(
        self, guidance: Guidance, pictures: PictureBatch, conditions: Conditions, generator: torch.Generator
    ) -> Tensor:
        """`denoising_loss` on renders."""
        with torch.no_grad():
            x = self.frozen.encode(pictures.detach())
        return denoising_loss(self.frozen, self.prior, x, conditions.prompt, generator)


class RatioLearner:
    """The discriminator of f-distillation, between samples of the prior and renders.

    Args:
        ratio: the network.
        samples: of the prior, in its own space.
        rate: learning rate.
    """

    name = "ratio"

    def __init__(self, ratio: Discriminator, samples: Tensor, rate: float) -> None:
        self.ratio, self.samples, self.rate = ratio, samples, rate

    def parameters(self) -> Sequence[nn.Parameter]:
        """Those of the discriminator."""
        return list(self.ratio.parameters())

    def loss(
        self, guidance: Guidance, pictures: PictureBatch, conditions: Conditions, generator: torch.Generator
    ) -> Tensor:
        """The logistic loss of the renders and as many samples."""
        with torch.no_grad():
            renders = guidance.prior.encode(pictures.detach())
        chosen = torch.randint(len(self.samples), (len(renders),), generator=generator, device=generator.device)
        return self.ratio.loss(self.samples[chosen.to(self.samples.device)], renders, generator)
