"""T12 to T14: what the single parts do."""

import math
from dataclasses import replace

import pytest
import torch
from closed_form import SCHEDULE, directions, mixture, seeded, weighed
from small_scene import CAMERA, EXACT, PRIOR, RENDERS, WORDS, g, pictures, same

from volkit.guidance.combine import Cfg, Linear, MinNorm, PerpNeg
from volkit.guidance.condition import Conditions
from volkit.guidance.guidance import Guidance, Method
from volkit.guidance.methods import lgvsd, sds, vsd
from volkit.guidance.noise_schedule import PREDICTIONS, NoiseSchedule
from volkit.guidance.paths import Trajectory
from volkit.guidance.prior import GridPrior, Noised
from volkit.guidance.ramps import Descending, Ramp, Uniform, switch
from volkit.guidance.ratio import DIVERGENCES
from volkit.guidance.second_scores import NoSecondScore
from volkit.guidance.step_predictions import StepPredictions
from volkit.guidance.weights import WEIGHTS, Clip, Mirror, RankWeighting, one


def test_t12_perp_neg():
    def of(beside, weights):
        return replace(WORDS, beside=beside, beside_weights=torch.tensor(weights, dtype=torch.float64))

    at_all = replace(sds(7.5), combine=PerpNeg(7.5))
    same(at_all, sds(7.5))  # nothing beside: plain guidance
    parallel = of((WORDS.prompt,), [[-3.0] * 4])
    torch.testing.assert_close(g(at_all, parallel), g(sds(7.5)), **EXACT)
    one_side = of((WORDS.source,), [[-3.0, -1.0, 0.0, -3.0]])
    pushed, plain, null = g(at_all, one_side), g(sds(7.5)), g(sds(0.0))
    main, change = (plain - null).flatten(1), (pushed - plain).flatten(1)
    along = (main * change).sum(1) / main.norm(dim=1)
    # What is added is orthogonal to the prompt's own direction, whichever way the other side points.
    assert (along.abs() < 1e-10 * main.norm(dim=1)).all() and change[0].norm() > 1e-3 and change[2].norm() == 0


def test_t13_the_shortest_vector_between_two_harms_neither():
    method = Method(second=NoSecondScore(), combine=MinNorm(15.0), weight=one)
    seen = {"inside": 0, "clipped": 0}
    for seed in range(40):
        short = g(method, seed=seed).flatten(1)
        null = g(replace(method, combine=Cfg(0.0)), seed=seed).flatten(1)
        wanted = g(replace(method, combine=Linear(prompt=15.0, null=-15.0)), seed=seed).flatten(1)
        square = short.square().sum(1)
        for end in (wanted, null):
            assert ((short * end).sum(1) >= square * (1.0 - 1e-9)).all()  # Pareto, but for rounding
        shorter = torch.where((wanted.norm(dim=1) < null.norm(dim=1))[:, None], wanted, null)
        clipped = (short - shorter).abs().amax(1) < 1e-12
        seen["clipped"] += int(clipped.sum())
        seen["inside"] += int((~clipped & (short.norm(dim=1) < shorter.norm(dim=1))).sum())
    assert seen["inside"] and seen["clipped"] and sum(seen.values()) == 160


@pytest.mark.parametrize("name", PREDICTIONS)
def test_t14_predictions_are_noise_in_other_words(name):
    """v is defined where α² + σ² = 1, flow where α + σ = 1."""
    flow = name == "flow_prediction"
    schedule = NoiseSchedule.rectified_flow() if flow else NoiseSchedule.stable_diffusion()
    x, noise = torch.randn(2, 5, 7, generator=seeded(), dtype=torch.float64)
    t = torch.tensor([20, 200, 500, 800, 980])
    alpha, sigma = schedule.at(t, x)
    language = PREDICTIONS[name]
    found = language.eps(language.target(x, noise, alpha, sigma), schedule.add_noise(x, noise, t), alpha, sigma)
    torch.testing.assert_close(found, noise, rtol=0, atol=1e-13)  # an ulp of x over σ, which is at least .02


def test_t14_schedules_at_their_edges():
    drawn = Uniform(0.5, 0.2)(SCHEDULE, 50, 0.0, seeded())  # crossed ends: the low one
    assert drawn.tolist() == [500] * 50
    assert Uniform(1.0, 1.0)(SCHEDULE, 2, 0.0, seeded()).max() <= 999
    assert len(set(Uniform(shared=True)(SCHEDULE, 8, 0.0, seeded()).tolist())) == 1
    drawn = Uniform(0.02, 0.98)(SCHEDULE, 20000, 0.0, seeded())
    assert drawn.min() == 20 and drawn.max() == 980  # 961 values drawn 20000 times: each end missed once in 1e9
    ends = [int(Descending(0.98, 0.3, 0.5)(SCHEDULE, 1, f, seeded())) for f in (0.0, 0.25, 1.0)]
    assert ends == [980, 640, 300]
    ramp = Ramp(((0.2, 1.0), (0.6, 3.0)))
    assert [ramp(f) for f in (0.0, 0.2, 0.4, 0.6, 1.0)] == pytest.approx([1.0, 1.0, 2.0, 3.0, 3.0])
    assert [switch(1.0, 5.0, at=0.5)(f) for f in (0.0, 0.499, 0.5, 1.0)] == [1.0, 1.0, 5.0, 5.0]


def test_t14_the_gradient_is_that_of_a_sum_over_pixels_and_a_mean_over_views():
    seen = Guidance(PRIOR, sds(7.5)).step(RENDERS, WORDS, seeded())
    leaf = RENDERS.clone().requires_grad_()
    g = seen.direction.movedim(1, -1)
    (0.5 * (leaf - (leaf - g).detach()).square().sum() / 4).backward()
    torch.testing.assert_close(seen.gradient, leaf.grad, rtol=1e-12, atol=1e-13)  # x - (x - g) loses ulps of x
    assert seen.loss == pytest.approx(0.5 * float(seen.direction.square().sum()) / 4)


def test_t14_seeds():
    assert torch.equal(g(vsd(), seed=3), g(vsd(), seed=3)) and not torch.equal(g(vsd(), seed=3), g(vsd(), seed=4))


def test_weights_are_what_their_names_say():
    alpha, sigma = torch.tensor([0.8]), torch.tensor([0.6])
    found = {name: float(weight(alpha, sigma)) for name, weight in WEIGHTS.items()}
    assert found == pytest.approx(
        {
            "sigma_squared": 0.36,
            "one": 1.0,
            "sigma_over_alpha": 0.75,
            "alpha_over_sigma": 4 / 3,
            "alpha": 0.8,
            "alpha_sigma_squared": 0.288,
            "inverse_sigma_squared": 1 / 0.36,
        }
    )


def test_scores_of_mixtures_are_gradients_of_their_densities():
    at_x = pictures(seed=5).movedim(-1, 1).requires_grad_()
    t = torch.tensor([30, 200, 500, 900])
    at = Noised(at_x, t)
    condition = replace(WORDS.null.expand(4), camera=CAMERA)
    (score,) = torch.autograd.grad(PRIOR.log_density(at, condition).sum(), at_x)
    _, sigma = SCHEDULE.at(t, at_x)
    torch.testing.assert_close(PRIOR.eps(at, condition), -sigma * score, rtol=1e-9, atol=1e-11)


def test_directions_of_one_row_do_not_depend_on_the_others():
    conditions = Conditions(weighed(0, 1), weighed(1, 0))
    rows = [0.1, 0.5, 2.0], torch.tensor([30, 400, 800]), [0.3, -1.0, 0.7]
    guidance = Guidance(mixture([0.0, 1.0], 0.3), sds(7.5))
    together = directions(guidance, conditions, *rows)
    apart = [directions(guidance, conditions, [a], b[None], [c]) for a, b, c in zip(*rows, strict=True)]
    torch.testing.assert_close(together, torch.cat(apart), rtol=1e-13, atol=1e-13)


def test_shaping():
    x = torch.randn(4, 3, 5, 6, generator=seeded(), dtype=torch.float64)
    assert float(Clip()(3.0 * x, 0.0).abs().max()) == 0.5 and float(Clip()(3.0 * x, 1.0).abs().max()) == 2.0
    shared = Mirror()(x, 0.0)
    torch.testing.assert_close(shared[2], 0.75 * x[2] + 0.25 * x[3].flip(-1), **EXACT)
    torch.testing.assert_close(shared[3], 0.75 * x[3] + 0.25 * x[2].flip(-1), **EXACT)
    even = Mirror(0.5)(x, 0.0)
    torch.testing.assert_close(even[0], even[1].flip(-1), **EXACT)


def test_rank_weighing():
    """Two channels of what they share and where they differ, by hand: the difference is halved, spreads are kept."""
    x = torch.randn(2, 2, 5, 6, generator=seeded(), dtype=torch.float64)
    shared, apart = torch.linalg.qr(x[0].flatten(1).t() - x[0].flatten(1).mean(1))[0].t().view(2, 5, 6)
    given = torch.stack([3.0 * shared + apart, 3.0 * shared - apart])
    halved = torch.stack([3.0 * shared + 0.5 * apart, 3.0 * shared - 0.5 * apart]) * math.sqrt(10.0 / 9.25)
    torch.testing.assert_close(RankWeighting()(2.0 + given[None], 0.0).std((2, 3)), given.std((1, 2))[None], **EXACT)
    torch.testing.assert_close(RankWeighting()(given[None], 0.0), halved[None], **EXACT)
    weighed = RankWeighting()(x, 0.0)
    torch.testing.assert_close(weighed.mean((2, 3)), x.mean((2, 3)), **EXACT)
    agreed = x[:, :1] * torch.tensor([1.0, -2.0, 0.5]).view(3, 1, 1)
    torch.testing.assert_close(RankWeighting()(agreed, 0.0), agreed, **EXACT)  # one rank: nothing to weaken


def test_rescaling_draws_the_spread_to_that_of_the_prompt_alone():
    at = Noised(RENDERS.movedim(-1, 1), torch.full((4,), 300))
    trajectory = Trajectory(at, torch.zeros_like(at.x))

    def spread(combine):
        predictions = StepPredictions(PRIOR, None, WORDS, trajectory, 0.0, seeded())
        return SCHEDULE.remove_noise(at.x, combine(predictions), at.t).flatten(1).std(1)

    prompt, plain, half, whole = (spread(c) for c in (Cfg(1.0), Cfg(30.0), Cfg(30.0, 0.5), Cfg(30.0, 1.0)))
    torch.testing.assert_close(whole, prompt, **EXACT)
    torch.testing.assert_close(half, 0.5 * (plain + prompt), **EXACT)
    assert (plain > 1.2 * prompt).any()


def test_a_grid_comes_back():
    grid, views = GridPrior(PRIOR, 2, 3), torch.rand(12, 4, 5, 3, generator=seeded())
    x = grid.encode(views)
    assert x.shape == (2, 3, 8, 15) and torch.equal(grid.decode(x), views)
    assert torch.equal(x[1, :, 4:, 5:10], views[10].movedim(-1, 0))
    with pytest.raises(ValueError, match="a grid of 6 views was given 4"):
        grid.encode(views[:4])


def test_weights_of_divergences_are_second_derivatives():
    """`h(r) = u f''(u)`, u = 1 / r = q / p: for `D = E_p[f(u)]` the gradient is `E_q[u f''(u) ∂ log u]`."""
    divergences = {
        "reverse_kl": lambda u: u * u.log(),
        "soft_reverse_kl": lambda u: (u + 1.0) * torch.log(0.5 * (u + 1.0)),
        "jensen_shannon": lambda u: u * u.log() - (u + 1.0) * torch.log(0.5 * (u + 1.0)),
        "hellinger": lambda u: 1.0 - u.sqrt(),
        "forward_kl": lambda u: -u.log(),
        "jeffreys": lambda u: (u - 1.0) * u.log(),
    }
    assert set(divergences) == set(DIVERGENCES)
    u, step = torch.tensor([0.2, 0.7, 1.0, 3.0], dtype=torch.float64), 1e-4
    for name, f in divergences.items():
        second = (f(u + step) - 2.0 * f(u) + f(u - step)) / step**2
        # Second differences: 1e-8 of the fourth derivative, at most 4e3 here, and 1e-16 / 1e-8 of rounding.
        torch.testing.assert_close(DIVERGENCES[name](-u.log()), u * second, rtol=1e-5, atol=1e-6)


def test_only_lgvsd_shows_the_control_picture_to_the_critic():
    told = []

    class Listening:
        def eps(self, at, condition):
            told.append(condition.control is not None)
            return torch.zeros_like(at.x)

    control = torch.rand(4, 1, 6, 6, generator=seeded())
    words = replace(WORDS, critic=None).map(lambda condition: replace(condition, control=control).expand(4))
    for method in (lgvsd(), vsd()):
        Guidance(PRIOR, method, Listening()).step(RENDERS, words, seeded())
    assert told == [True, False]
