"""The predictions of one step: each is evaluated once, and those requested together run as one batch."""

from functools import cached_property

import torch

from volkit.guidance.condition import Condition, Conditions
from volkit.guidance.paths import Trajectory
from volkit.guidance.prior import Noised, Prior, Score
from volkit.typing import Tensor

__all__ = ["StepPredictions"]


class StepPredictions:
    """The inputs of combinations and second scores in one step: conditions, noised batches, cached predictions."""

    def __init__(
        self,
        prior: Prior,
        critic: Score | None,
        conditions: Conditions,
        trajectory: Trajectory,
        fraction: float,
        generator: torch.Generator,
    ) -> None:
        self.prior, self.conditions = prior, conditions
        self.at, self.noise = trajectory.at, trajectory.noise
        self.fraction, self.generator = fraction, generator
        self._critic, self._second = critic, trajectory.second
        self._cache: dict[tuple[str, str], Tensor] = {("second", k): eps for k, eps in trajectory.evaluated.items()}

    @property
    def critic(self) -> Score:
        """The network that is trained on renders; ValueError where the guidance has none."""
        if self._critic is None:
            raise ValueError("this method needs a critic: build Guidance(prior, method, critic)")
        return self._critic

    @cached_property
    def uniform(self) -> float:
        """The one uniform number in [0, 1) of this step, for random guidance scales."""
        return float(torch.rand((), generator=self.generator, device=self.generator.device))

    def evaluate(self, *names: str) -> list[Tensor]:
        """ε of the prior at the noised batch under the named conditions."""
        return self._evaluate("first", self.at, names)

    def evaluate_second(self, *names: str) -> list[Tensor]:
        """ε of the prior at the path's second point under the named conditions."""
        if self._second is None:
            raise ValueError("this second score needs a path with a second point: RandomNoise(later=...), SharedNoise")
        return self._evaluate("second", self._second, names)

    def _evaluate(self, place: str, at: Noised, names: tuple[str, ...]) -> list[Tensor]:
        new = [name for name in names if (place, name) not in self._cache]
        if new:
            count = len(at.x)
            condition = Condition.cat([self.conditions.get(name).expand(count) for name in new])
            many = Noised(at.x.repeat(len(new), *(1,) * (at.x.ndim - 1)), at.t.repeat(len(new)))
            for name, eps in zip(new, self.prior.eps(many, condition).split(count), strict=True):
                self._cache[place, name] = eps
        return [self._cache[place, name] for name in names]
