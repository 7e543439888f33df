"""What a prior draws by itself, against distributions that are known."""

import math

import pytest
import torch
from closed_form import SCHEDULE, mixture, only, scalars, seeded, weighed

from volkit.guidance.combine import Cfg
from volkit.guidance.condition import Condition
from volkit.guidance.prior import Noised
from volkit.guidance.sample import denoise, sample


def test_the_flow_of_a_gaussian_is_the_known_map():
    """`θ = μ + √(Σ / (α² Σ + σ²)) (x_t - α μ)`, to first order in the stride."""
    mean, variance, t = 0.6, 0.5, 500
    alpha, sigma = float(SCHEDULE.alpha[t]), float(SCHEDULE.sigma[t])
    exact = mean + (variance / (alpha**2 * variance + sigma**2)) ** 0.5 * (1.7 - alpha * mean)

    def error(steps):
        at = Noised(scalars([1.7]), torch.tensor([t]))
        found = denoise(mixture([mean], variance), at, only(Condition()), seeded(), Cfg(1.0), steps)
        return abs(float(found) - exact)

    # Halved per doubling, but for the last stride, which σ, falling as √t there, makes longer than the others.
    assert error(20) / error(40) == pytest.approx(2.0, rel=0.15) and error(250) < error(20) / 8


def test_samples_have_the_weights_and_the_spread_of_the_mixture():
    """Unlike distilled particles: T6."""
    count = 2000
    condition = only(weighed(0.7, 0.3))
    found = sample(mixture([2.0, -2.0], 0.09), (count, 1, 1, 1), condition, seeded(), Cfg(1.0), 200).flatten()
    right = found[found > 0]
    # Three standard errors of a share and of a deviation; the strides add less than 1 %.
    assert len(right) / count == pytest.approx(0.7, abs=3 * math.sqrt(0.21 / count) + 0.007)
    assert float(right.std()) == pytest.approx(0.3, abs=3 * 0.3 / math.sqrt(2 * len(right)) + 0.01)
