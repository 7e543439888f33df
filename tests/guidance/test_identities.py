"""T11, T15 and the special cases: where one rule is another, or a limit of it."""

from dataclasses import dataclass, replace

import pytest
import torch
from closed_form import SCHEDULE, seeded
from small_scene import CRITIC, EXACT, PRIOR, RENDERS, WORDS, g, same

from volkit.guidance.combine import Cfg, Linear, PerpNeg, RandomScale
from volkit.guidance.condition import Condition
from volkit.guidance.guidance import Guidance, Method
from volkit.guidance.methods import (
    adversarial_sd,
    asynchronous_sd,
    bootstrapped_sd,
    csd,
    csm,
    dds,
    esd,
    fdiv_sd,
    hifa,
    ism,
    lgvsd,
    mvsds,
    nfsd,
    random_scale_vsd,
    sdi,
    sds,
    sds_bridge,
    sjc,
    vsd,
)
from volkit.guidance.paths import InvertedNoise, RandomNoise
from volkit.guidance.prior import Noised
from volkit.guidance.ramps import Uniform
from volkit.guidance.second_scores import Critic, NoSecondScore, SampledNoise
from volkit.guidance.weights import one


def test_esd_runs_from_vsd_to_the_critic_that_knows_no_view():
    same(esd(view_free=0.0), vsd())
    free = replace(WORDS, critic=Condition())
    torch.testing.assert_close(g(esd(view_free=1.0)), g(vsd(), free), **EXACT)
    mixed = 0.3 * g(esd(view_free=1.0)) + 0.7 * g(vsd())
    torch.testing.assert_close(g(esd(view_free=0.3)), mixed, **EXACT)
    assert (g(esd()) - g(vsd())).abs().max() > 1e-3


def test_csd_is_the_limit_of_sds():
    limit = replace(sds(1.0), combine=Linear(prompt=1.0, null=-1.0), second=NoSecondScore())
    for scale in (1e4, 1e7):
        # The rest is (ε_∅ - ε) / s, of numbers up to 10.
        torch.testing.assert_close(g(sds(scale)) / scale, g(limit), rtol=0, atol=20.0 / scale)
    torch.testing.assert_close(g(replace(csd(), times=Uniform()), fraction=0.0), g(limit), **EXACT)
    alone = replace(WORDS, negative=None)
    torch.testing.assert_close(g(csd(), alone, fraction=0.0), g(csd(), alone, fraction=0.4), **EXACT)


def test_nfsd_is_csd_and_a_domain_term():
    """`s (ε_y - ε_∅)` and `ε_∅`, less `ε_neg` where t >= .2 T."""
    for seed in range(6):
        early = Uniform()(SCHEDULE, 4, 0.0, seeded(seed)) < 200
        domain = Linear(null=1.0, negative=-1.0), Linear(null=1.0)
        late_term, early_term = (g(Method(second=NoSecondScore(), combine=c), seed=seed) for c in domain)
        term = torch.where(early.view(-1, 1, 1, 1), early_term, late_term)
        difference = g(Method(second=NoSecondScore(), combine=Linear(prompt=7.5, null=-7.5)), seed=seed)
        torch.testing.assert_close(g(nfsd(), seed=seed), difference + term, **EXACT)


def test_the_bridge_is_sds_then_csd_with_words_for_the_source():
    same(sds_bridge(), sds(40.0), fraction=0.2)
    second = Method(second=NoSecondScore(), combine=Linear(prompt=40.0, source=-40.0))
    same(sds_bridge(), second, fraction=0.7)


def test_dds_is_a_bridge_whose_source_is_a_picture():
    still = replace(WORDS, source_pictures=RENDERS)
    bridge = Method(second=NoSecondScore(), combine=Linear(prompt=7.5, source=-7.5), weight=one, times=dds().times)
    torch.testing.assert_close(g(dds(), still), g(bridge, still), **EXACT)


def test_csm_is_ism_without_the_interval_term_and_csd_on_its_path():
    same(csm(), replace(ism(), combine=Linear(prompt=1.0, null=-1.0), second=NoSecondScore()))
    without = replace(csm(), path=RandomNoise())
    csd_there = replace(csd(), weight=without.weight, times=without.times)
    same(without, csd_there, fraction=0.0)


def test_ism_vanishes_without_interval_and_words():
    nothing = replace(WORDS, prompt=WORDS.null)
    tiny = g(ism(1.0, interval=0.001), nothing).abs().max()
    assert tiny < 0.02 * g(ism(1.0, interval=0.08), nothing).abs().max()  # first order in δ: 1/80, and what t adds
    assert g(ism(1.0, interval=1e-9), nothing).abs().max() < 1e-9  # no interval at all


def test_adversarial_sd_with_gamma_zero_and_with_the_optimal_critic():
    """T11: scale `1 + (s - 1)(1 + γ)` and weight `1 / (1 + γ)`: 7.5 and γ = -.75 behave as 2.625 with four steps."""
    same(adversarial_sd(anti_prior=0.0), vsd())
    gamma, conditions = -0.75, replace(WORDS, critic=None)

    @dataclass(frozen=True)
    class Optimal:
        def eps(self, at, condition):
            renders = CRITIC.eps(at, Condition())
            return (renders + gamma * PRIOR.eps(at, condition)) / (1.0 + gamma)

    class Renders:
        def eps(self, at, condition):
            return CRITIC.eps(at, Condition())

    adversarial = Guidance(PRIOR, adversarial_sd(anti_prior=gamma), Optimal())
    plain = Guidance(PRIOR, vsd(1.0 + 6.5 * (1.0 + gamma)), Renders())
    a, b = (guidance.step(RENDERS, conditions, seeded(), 0, 0.1).direction for guidance in (adversarial, plain))
    torch.testing.assert_close(a, b / (1.0 + gamma), **EXACT)


def test_the_same_rule_with_other_networks_or_weights():
    same(lgvsd(), replace(vsd(), times=Uniform()))  # no control picture: nothing to see
    same(bootstrapped_sd(), replace(vsd(2.0), times=bootstrapped_sd().times))
    same(fdiv_sd(divergence="reverse_kl"), vsd())
    same(random_scale_vsd(7.5, 7.5), replace(vsd(7.5), second=Critic(scale=7.5)))
    nothing = g(random_scale_vsd(), replace(WORDS, critic=None), critic=PRIOR)  # one scale for prior and critic
    torch.testing.assert_close(nothing, torch.zeros_like(nothing), **EXACT)
    same(sjc(30.0), replace(sds(30.0), weight=one))
    same(hifa(), replace(sds(), times=hifa().times))  # in the prior's space; the picture term comes after
    same(asynchronous_sd(later=1e-9), Method(second=NoSecondScore(), combine=Linear(prompt=6.5, null=-6.5)))


def test_mvsds_and_sdi_are_the_distance_to_the_denoised_picture():
    plain = replace(mvsds(20.0), combine=Cfg(20.0))
    for method, fraction in ((plain, 0.3), (replace(sdi(), path=RandomNoise()), 0.5), (sdi(), 0.5)):
        guidance = Guidance(PRIOR, method)
        seen = guidance.step(RENDERS, WORDS, seeded(), fraction=fraction)
        at = Noised(seen.noised, seen.t)
        prompt, null = (PRIOR.eps(at, c.expand(4)) for c in (WORDS.prompt, WORDS.null))
        clean = SCHEDULE.remove_noise(seen.noised, null + method.combine.scale * (prompt - null), seen.t)
        torch.testing.assert_close(seen.direction, RENDERS.movedim(-1, 1) - clean, **EXACT)


@pytest.mark.parametrize("fraction", [0.0, 0.6])
def test_t15_two_routes_to_one_method(fraction):
    """SDS as coefficients, as guidance of a combination, and as VSD whose critic says ε."""
    as_coefficients = Method(second=NoSecondScore(), combine=Linear(prompt=7.5, null=-6.5, noise=-1.0))
    same(as_coefficients, sds(7.5), fraction=fraction)
    same(Method(combine=PerpNeg(7.5), second=SampledNoise()), sds(7.5), fraction=fraction)
    same(Method(combine=RandomScale(7.5, 7.5)), sds(7.5), fraction=fraction, critic=None)
    same(
        Method(InvertedNoise(3), NoSecondScore(), Cfg(3.0)),
        Method(InvertedNoise(3), NoSecondScore(), Linear(prompt=3.0, null=-2.0)),
    )
    same(
        Method(second=Critic(view_free=1.0)),
        Method(second=Critic(view_free=0.4)),
        conditions=replace(WORDS, critic=Condition()),
    )
