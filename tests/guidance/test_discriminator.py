"""A learnt density ratio against the exact one."""

from dataclasses import replace

import torch
from closed_form import seeded

from volkit.guidance import METHODS, Condition, Conditions, Guidance, MixturePrior, Noised
from volkit.guidance.critic import Discriminator
from volkit.guidance.ratio import ExactRatio


def around(level):
    return MixturePrior(torch.full((1, 3, 4, 4), level), torch.tensor([0.05]))


def batch(level, count, generator):
    return level + 0.05**0.5 * torch.randn(count, 3, 4, 4, generator=generator)


def test_it_comes_to_the_exact_ratio():
    """Pictures around .3 against renders around .5: the log ratio is linear in their mean at every time."""
    prior, renders, generator = around(0.3), around(0.5), seeded()
    learnt = Discriminator(3, prior.schedule, generator)
    exact = ExactRatio(prior, renders)
    optimiser = torch.optim.AdamW(learnt.parameters(), lr=3e-3)
    for _ in range(300):
        optimiser.zero_grad()
        learnt.loss(batch(0.3, 64, generator), batch(0.5, 64, generator), generator).backward()
        optimiser.step()
    for time in (200, 500):
        t = torch.full((256,), time)
        x = torch.cat([batch(0.3, 128, generator), batch(0.5, 128, generator)])
        at = Noised(prior.schedule.add_noise(x, torch.randn(x.shape, generator=generator), t), t)
        with torch.no_grad():
            found, true = learnt.raw(at), exact(at, Condition(), Condition())
        assert (
            torch.corrcoef(torch.stack([found, true]))[0, 1] > 0.9
        )  # untrained ones of six seeds lie between -.25 and .4
        assert learnt(at, Condition(), Condition()).exp().mean().sub(1.0).abs() < 1e-4  # normalised


def test_it_weighs_a_step():
    prior, generator = around(0.3), seeded()
    learnt = Discriminator(3, prior.schedule, generator)
    told = Conditions(Condition(), Condition())
    pictures = torch.rand(4, 4, 4, 3, generator=generator)
    guidance = Guidance(prior, METHODS["fdiv_sd"](), around(0.5), learnt)
    weighed = guidance.step(pictures, told, seeded()).direction
    plain = replace(guidance, method=METHODS["vsd"]()).step(pictures, told, seeded())
    at = Noised(plain.noised, plain.t)
    with torch.no_grad():
        share = learnt(at, Condition(), Condition()).sigmoid()  # h of Jensen and Shannon
    torch.testing.assert_close(weighed, share.view(-1, 1, 1, 1) * plain.direction)
