"""T6 and T8: many particles, and a Gaussian of them, under rules that know what renders look like."""

import math
from dataclasses import replace

import pytest
import torch
from closed_form import SCHEDULE, Given, directions, mixture, only, scalars, seeded, weighed

from volkit.guidance.condition import Condition
from volkit.guidance.guidance import Guidance
from volkit.guidance.methods import fdiv_sd, sds, vsd
from volkit.guidance.ratio import ExactRatio

COUNT, RIGHT, DRAWS, STEPS = 64, 33, 8, 300
RATE = 0.5
MATCHED = math.sqrt(4.09)  # the deviation of the prior itself: 2.022


def settled(method, seed=0):
    """64 particles after 300 steps under .7 N(2, .09) + .3 N(-2, .09), t in [.02, .5], with their exact critic."""
    generator, prior = seeded(seed), mixture([2.0, -2.0], 0.09)
    particles = 0.5 * torch.randn(COUNT, generator=generator, dtype=torch.float64) + 2.0
    particles[RIGHT:] -= 4.0
    for step in range(STEPS):
        t = torch.randint(20, 501, (COUNT * DRAWS,), generator=generator)
        guidance = Guidance(prior, replace(method, times=Given(t)), mixture(particles, 0.0))
        pictures = scalars(particles.repeat_interleave(DRAWS))
        g = guidance.step(pictures, only(weighed(0.7, 0.3), critic=Condition()), generator).direction
        particles = particles - RATE * (1.0 - step / STEPS) * g.view(COUNT, DRAWS).mean(1)
    return particles[particles > 0], particles[particles < 0]


def spread(modes):
    """Of the particles around the mean of their own mode."""
    return float(torch.cat([mode - mode.mean() for mode in modes]).std())


def test_t6_vsd_keeps_the_spread_within_modes():
    """Folklore has the masses too: they drift from the .52 of the start towards the prior's .70, and far too slowly."""
    modes = settled(vsd(1.0))
    # The standard error of a standard deviation of n draws is s / √(2 n); three of them.
    assert spread(modes) == pytest.approx(0.3, abs=3 * 0.3 / math.sqrt(2 * COUNT))
    assert len(modes[0]) / COUNT < 0.65


def test_t6_sds_collapses_each_mode_to_a_point():
    assert spread(settled(sds(1.0))) < 0.1  # a third of the prior's; what is left is the noise of the last steps


def fitted(divergence, spread, mean):
    """Mean and deviation of a Gaussian student of .5 N(-2, .09) + .5 N(2, .09) at t = 20, by descent on a lattice.

    With critic and ratio exact, g is a function of x_t alone: `∂L/∂m = ∫ q_t α g`, `∂L/∂s = ∫ q_t α E[z | x_t] g`.
    """
    prior, t = mixture([-2.0, 2.0], 0.09), 20
    alpha, sigma = float(SCHEDULE.alpha[t]), float(SCHEDULE.sigma[t])
    lattice = torch.linspace(-9, 9, 361, dtype=torch.float64)  # its step .05 is a sixth of the narrowest deviation
    times, zero = torch.full((361,), t), torch.zeros(361, dtype=torch.float64)
    student = torch.tensor([mean, math.log(spread)], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([student], lr=0.05, betas=(0.8, 0.95))
    for step in range(400):
        m, s = float(student[0].detach()), float(student[1].detach().exp())
        critic = mixture([m], s * s)
        guidance = Guidance(prior, fdiv_sd(1.0, divergence), critic, ExactRatio(prior, critic))
        g = directions(guidance, only(Condition()), lattice / alpha, times, zero)
        total = alpha**2 * s * s + sigma**2
        q = torch.exp(-0.5 * (lattice - alpha * m) ** 2 / total) / math.sqrt(2 * math.pi * total) * 0.05
        z = alpha * s * (lattice - alpha * m) / total
        student.grad = torch.stack([(q * g).sum(), (q * g * z).sum() * s]) * alpha
        optimiser.param_groups[0]["lr"] = 0.05 * (1.0 - step / 400)
        optimiser.step()
    return abs(float(student[0].detach())), float(student[1].detach().exp())


@pytest.mark.parametrize(
    "divergence, mean, spread, rest",
    [
        ("forward_kl", 2.0, 0.3, (0.0, MATCHED)),
        ("forward_kl", 0.5, 2.0, (0.0, MATCHED)),
        ("reverse_kl", 1.5, 0.3, (2.00, 0.30)),
        ("reverse_kl", 0.1, 2.0, (0.01, 1.65)),
        ("jensen_shannon", 1.5, 0.3, (2.00, 0.30)),
        ("jensen_shannon", 0.1, 2.0, (0.0, 2.01)),
        ("hellinger", 0.1, 2.0, (0.0, 2.0)),
    ],
)
def test_t8_the_divergence_decides_between_covering_and_seeking(divergence, mean, spread, rest):
    assert fitted(divergence, spread, mean) == pytest.approx(rest, abs=0.012)  # one unit of the last printed digit
