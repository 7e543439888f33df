"""T1 to T5, T7 and T9: what the rules do to single numbers under Gaussian priors, by quadrature."""

from dataclasses import replace

import pytest
import torch
from closed_form import SCHEDULE, directions, expected, mixture, only, scalars, seeded, stable_points, times, weighed

from volkit.guidance.combine import Cfg
from volkit.guidance.condition import Condition, Conditions
from volkit.guidance.guidance import Guidance
from volkit.guidance.methods import csd, dds, esd, ld, sds, vsd
from volkit.guidance.paths import SharedNoise
from volkit.guidance.ramps import Uniform
from volkit.guidance.weights import one, sigma_over_alpha, sigma_squared

ALL = times(0.02, 0.98)
PRINTED = 0.0051  # half a unit of the last printed digit of a figure with two decimals, and the bisection's 6e-5


def test_t1_sds_pulls_all_particles_to_the_mean_of_a_gaussian():
    mean, variance = 0.7, 0.4
    alpha, sigma = SCHEDULE.alpha[ALL], SCHEDULE.sigma[ALL]
    slope = (sigma**3 * alpha / (alpha**2 * variance + sigma**2)).mean()
    theta = torch.linspace(-3, 3, 7, dtype=torch.float64)
    found = expected(sds(1.0), mixture([mean], variance), only(Condition()), theta, ALL)
    # Gauss-Hermite is exact for a field that is linear in the noise: rounding only.
    torch.testing.assert_close(found, slope * (theta - mean), rtol=1e-12, atol=1e-12)
    assert slope > 0  # every particle contracts to the mean at the same rate: their variance goes to 0


@pytest.mark.parametrize(
    "weight, high, points",
    [
        (sigma_squared, 0.98, [-0.93, 0.93]),
        (sigma_squared, 0.5, [-1.79, 1.79]),
        (sigma_squared, 0.2, [-2.00, 2.00]),
        (one, 0.98, [-1.63, 1.63]),
        (sigma_over_alpha, 0.98, [-0.48, 0.48]),
    ],
)
def test_t2_sds_does_not_go_to_the_modes(weight, high, points):
    """Modes at ±2: only small times find them."""
    prior = mixture([-2.0, 2.0], 0.09)
    method = replace(sds(1.0), weight=weight)
    found = stable_points(lambda theta: expected(method, prior, only(Condition()), theta, times(0.02, high)))
    assert found == pytest.approx(points, abs=PRINTED)


def test_t2_the_minor_mode_vanishes():
    condition = only(weighed(0.7, 0.3))
    found = stable_points(lambda theta: expected(sds(1.0), mixture([-2.0, 2.0], 0.09), condition, theta, ALL))
    assert found == pytest.approx([-1.487], abs=6e-4)  # half a unit of the third decimal, and the bisection


def test_t3_guidance_overshoots_without_bound_for_equal_spreads():
    prior, conditions = mixture([0.2, 1.0], 0.3), Conditions(weighed(0, 1), weighed(1, 0))
    for scale, rest in ((7.5, 6.2), (100.0, 80.2)):
        pull = expected(sds(scale), prior, conditions, [rest], ALL)
        assert abs(float(pull)) < 1e-11 * scale  # the root is exact; rounding grows with the scale


def test_t3_guidance_saturates_where_the_null_prior_is_broader():
    prior, conditions = mixture([0.0, 1.0], torch.tensor([1.0, 0.25])), Conditions(weighed(0, 1), weighed(1, 0))
    for scale, rest in ((1.0, 1.00), (7.5, 2.77), (30.0, 3.49), (100.0, 3.71)):
        found = stable_points(lambda theta, s=scale: expected(sds(s), prior, conditions, theta, ALL), -0.1, 5.1)
        assert found == pytest.approx([rest], abs=PRINTED)
    difference = replace(csd(), times=Uniform())
    found = stable_points(lambda theta: expected(difference, prior, conditions, theta, ALL), -0.1, 5.1)
    assert found == pytest.approx([3.814], abs=6e-4)  # the limit of infinite scale


def test_t4_vsd_of_one_particle_with_its_exact_critic_is_sds():
    prior, condition = mixture([-2.0, 2.0], 0.09), only(Condition())
    noise, t = torch.randn(500, generator=seeded(), dtype=torch.float64), ALL.repeat(6)[:500]
    theta = torch.full_like(noise, 0.3)
    a = directions(Guidance(prior, sds(7.5)), condition, theta, t, noise)
    b = directions(Guidance(prior, vsd(7.5), mixture([0.3], 0.0)), condition, theta, t, noise)
    # (α θ + σ ε - α θ) / σ: the cancellation costs α θ / σ ulps, at most 3 for σ >= .1, of numbers up to 4
    torch.testing.assert_close(a, b, rtol=0, atol=1e-14)


def test_t5_the_noise_is_a_control_variate():
    """SDS and LD have one mean; which has the smaller spread depends on the time."""
    prior, condition = mixture([1.0], 0.25), only(Condition())
    theta = [-0.5, 2.0]
    subtracted = expected(sds(1.0), prior, condition, theta, ALL)
    kept = expected(replace(ld(1.0), weight=sigma_squared), prior, condition, theta, ALL)
    torch.testing.assert_close(subtracted, kept, rtol=1e-12, atol=1e-13)  # the mean of ε vanishes by symmetry
    for t, with_noise, without, digit in ((100, 0.68, 0.32, 5e-3), (500, 0.087, 0.91, 5e-3), (800, 0.0095, 0.99, 5e-3)):
        pair = [0.3, 0.3], torch.tensor([t, t]), [1.0, -1.0]  # both are linear in ε: half a difference is the spread
        for method, spread in ((sds(1.0), with_noise), (ld(1.0), without)):
            g = directions(Guidance(prior, replace(method, weight=one)), condition, *pair)
            assert 0.5 * float((g[0] - g[1]).abs()) == pytest.approx(spread, abs=digit)  # two decimals are printed


class SeesViews:
    """The critic of a generator θ = √S z: told the view, which is z, it knows θ; else only that θ ~ N(0, S)."""

    def __init__(self, theta, spread):
        self.map, self.free = mixture([theta], 0.0), mixture([0.0], spread)

    def eps(self, at, condition):
        return (self.free if condition.camera is None else self.map).eps(at, Condition())


def spread_at_rest(variance, view_free, t, weight):
    """S where the mean gradient of √S, `E[z g(√S z)]`, vanishes; linear in z and ε, so that z = 1 tells all."""
    method, conditions = replace(esd(1.0, view_free), weight=weight), only(Condition(camera=torch.zeros(1, 1)))
    low, high = 0.0, variance
    while high - low > 1e-4:
        middle = 0.5 * (low + high)
        critic = SeesViews(middle**0.5, middle)
        pull = expected(method, mixture([0.0], variance), conditions, [middle**0.5], t, critic=critic, nodes=4)
        low, high = (middle, high) if pull < 0 else (low, middle)
    return low


@pytest.mark.parametrize(
    "t, view_free, spread", [(100, 0.5, 0.441), (300, 0.5, 0.153), (100, 0.3, 0.218), (300, 0.3, 0.0)]
)
def test_t7_esd_keeps_the_spread_that_its_formula_says(t, view_free, spread):
    """`S = max(0, λ Σ - (1 - λ) σ² / α²)` for Σ = 1."""
    ratio = float((SCHEDULE.sigma[t] / SCHEDULE.alpha[t]) ** 2)
    formula = max(0.0, view_free - (1.0 - view_free) * ratio)
    assert formula == pytest.approx(spread, abs=1.1e-3)  # printed with three digits, found by simulation
    found = spread_at_rest(1.0, view_free, torch.tensor([t]), one)
    assert found == pytest.approx(formula, abs=1e-4)  # the bisection's


@pytest.mark.parametrize(
    "variance, view_free, weight, spread",
    [(1.0, 0.5, one, 0.132), (1.0, 0.5, sigma_squared, 0.0), (0.09, 0.5, one, 0.0), (0.09, 0.9, one, 0.0535)],
)
def test_t7_esd_over_all_times_collapses_narrow_modes(variance, view_free, weight, spread):
    assert spread_at_rest(variance, view_free, torch.arange(20, 981), weight) == pytest.approx(
        spread, abs=6e-4
    )  # the last printed digit


def test_t9_dds_moves_by_the_difference_of_the_words_and_has_no_variance():
    prior = mixture([-1.0, 2.0], 0.3)
    for scale in (1.0, 7.5):
        conditions = Conditions(
            weighed(0, 1), weighed(1, 0), source=weighed(1, 0), source_pictures=scalars([0.4]).expand(256, -1, -1, -1)
        )
        rest = scalars([0.4 + scale * 3.0]).expand(256, -1, -1, -1)
        guidance = Guidance(prior, dds(scale))
        assert isinstance(guidance.method.path, SharedNoise) and guidance.method.combine == Cfg(scale)
        g = guidance.step(rest, conditions, seeded()).direction
        assert float(g.abs().max()) < 1e-13 * scale  # zero sample by sample, whatever t and ε: mean and variance
