"""T10 and what every noise path promises."""

import pytest
import torch
from closed_form import SCHEDULE, mixture, only, scalars, seeded

from volkit.guidance.condition import Condition
from volkit.guidance.guidance import Guidance
from volkit.guidance.methods import ism
from volkit.guidance.mixture import MixturePrior
from volkit.guidance.noise_schedule import NoiseSchedule
from volkit.guidance.paths import FixedNoise, InvertedNoise, RandomNoise, SharedNoise

ERRORS = {5: 0.258, 10: 0.138, 20: 0.072, 50: 0.030, 100: 0.014}


def inverted(steps, mean=0.6, theta=2.0, variance=0.5, t=500):
    prior = mixture([mean], variance)
    found = InvertedNoise(steps)(prior, scalars([theta]), torch.tensor([t]), only(Condition()), seeded()).at.x
    alpha, sigma = float(SCHEDULE.alpha[t]), float(SCHEDULE.sigma[t])
    exact = alpha * mean + ((alpha**2 * variance + sigma**2) / variance) ** 0.5 * (theta - mean)
    return abs(float(found) - exact)


@pytest.mark.parametrize("steps", ERRORS)
def test_t10_inversion_comes_to_the_probability_flow(steps):
    """`x_t = α μ + √((α² Σ + σ²) / Σ) (θ - μ)` for a Gaussian."""
    assert inverted(steps) == pytest.approx(ERRORS[steps], abs=5.1e-4)  # three decimals are printed


def test_t10_inversion_is_of_first_order():
    for steps in (10, 20, 40):
        # Halved per doubling, but for the second-order term, which is a tenth of the first at ten strides.
        assert inverted(steps) / inverted(2 * steps) == pytest.approx(2.0, rel=0.1)


def paths():
    noise = torch.randn(4, 3, 3, 2, generator=seeded(1), dtype=torch.float64)
    return {
        "random": RandomNoise(),
        "same over views": RandomNoise(same=True),
        "later": RandomNoise(later=0.1),
        "fixed": FixedNoise(noise),
        "shared": SharedNoise(),
        "inverted": InvertedNoise(4),
        "guided inversion": InvertedNoise(4, scale=-6.5, eta=0.3),
        "interval": InvertedNoise(4, interval=0.08),
    }


@pytest.mark.parametrize("name", paths())
def test_a_path_ends_where_its_noise_leads(name):
    """`x_t = α x + σ ε`, from one seed the same, in the shape of x; second places lie on the way or on the source's."""
    x = torch.rand(4, 3, 3, 2, generator=seeded(), dtype=torch.float64)
    prior = MixturePrior(x[:2] + 0.1, torch.tensor([0.1, 0.2], dtype=torch.float64))
    conditions, t = only(Condition(), source_pictures=1.0 - x.movedim(1, -1)), torch.tensor([50, 200, 400, 700])
    once, again = (paths()[name](prior, x, t, conditions, seeded()) for _ in range(2))
    # Inverted paths find their noise by subtraction: a few ulps times α / σ, at most 7 at t = 50.
    torch.testing.assert_close(once.at.x, SCHEDULE.add_noise(x, once.noise, t), rtol=1e-12, atol=1e-12)
    assert torch.equal(once.at.x, again.at.x) and once.at.x.shape == x.shape and torch.equal(once.at.t, t)
    if name == "same over views":
        assert torch.equal(once.noise[0], once.noise[3])
    if name == "later":
        assert (once.second.t > t).all()
        assert torch.equal(once.second.x, SCHEDULE.add_noise(x, once.noise, once.second.t))
    if name == "shared":
        assert torch.equal(once.second.x, SCHEDULE.add_noise(1.0 - x, once.noise, t))
    if name == "interval":
        assert once.second.t.tolist() == [0, 120, 320, 620]


def test_the_score_at_the_second_place_is_asked_once():
    calls = []

    class Counted(MixturePrior):
        def eps(self, at, condition):
            calls.append(len(at.x))
            return super().eps(at, condition)

    prior = Counted(torch.zeros(1, 2, 2, 3, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    Guidance(prior, ism()).step(torch.rand(2, 2, 2, 3, dtype=torch.float64), only(Condition()), seeded())
    assert calls == [2] * 6 + [4]  # five strides and the interval, then prompt and null in one batch


@pytest.mark.parametrize("schedule", [NoiseSchedule.stable_diffusion(), NoiseSchedule.rectified_flow()])
def test_schedules_begin_clean_and_end_in_noise(schedule):
    assert schedule.alpha[0] > 0.99 and schedule.sigma[-1] > 0.99
    assert (schedule.alpha.diff() < 0).all() and (schedule.sigma.diff() > 0).all()
    x, noise = torch.rand(2, 2, 5, generator=seeded(), dtype=torch.float64)
    t = torch.tensor([0, 900])
    # The clean picture comes back but for an ulp of the noise over α, at most 15 here.
    torch.testing.assert_close(schedule.remove_noise(schedule.add_noise(x, noise, t), noise, t), x, rtol=0, atol=1e-14)
