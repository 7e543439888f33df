"""The critic: it begins as the prior, learns renders and cameras, and leaves the prior as it was."""

from dataclasses import replace

import pytest
import small_pipelines
import torch

from volkit.guidance import METHODS, Condition, Conditions, Guidance, Noised
from volkit.guidance.critic import critic_loss, denoising_loss
from volkit.guidance.pipeline import LoraPrior, open_prior


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_pipelines.pixels(tmp_path_factory.mktemp("pixels"), sample_size=16)


def opened(folder, **options):
    prior = open_prior(folder, **options)
    told = Conditions(prior.embed(["a ball"]), prior.embed([""]))
    return prior, told


def place(count=4, seed=9):
    return Noised(torch.randn(count, 3, 16, 16, generator=seeded(seed)), torch.full((count,), 400))


def cameras(count):
    return torch.eye(16)[torch.arange(count) % 2]


def trained(guidance, told, pictures, steps, lr=3e-3, camera_drop=0.1):
    """The critic after some steps on renders of two cameras."""
    optimiser, generator = torch.optim.AdamW(guidance.critic.parameters(), lr=lr), seeded(1)
    for _ in range(steps):
        optimiser.zero_grad()
        critic_loss(guidance, pictures, told, generator, camera_drop).backward()
        optimiser.step()


def exactly(guidance, told, pictures):
    """The critic's loss over fixed draws."""
    with torch.no_grad():
        return float(sum(critic_loss(guidance, pictures, told, seeded(s), camera_drop=0.0) for s in range(8)) / 8)


def test_it_begins_as_the_prior_and_leaves_it_alone(folder):
    prior, told = opened(folder)
    at, condition = place(), replace(told.prompt.expand(4), camera=cameras(4))
    with torch.no_grad():
        before = prior.eps(at, told.prompt)
        critic = LoraPrior(prior, seeded(), rank=4)
        assert torch.equal(critic.eps(at, condition), before) and torch.equal(prior.eps(at, told.prompt), before)
    guidance = Guidance(prior, METHODS["vsd"](), critic)
    trained(guidance, replace(told, critic=condition), torch.rand(4, 16, 16, 3, generator=seeded(2)), 3)
    with torch.no_grad():
        assert not torch.equal(critic.eps(at, condition), before) and torch.equal(prior.eps(at, told.prompt), before)
    frozen = [p for p in prior.denoiser.network.parameters() if all(p is not q for q in critic.parameters())]
    assert frozen and all(p.grad is None for p in frozen)
    assert all(p.grad is not None and p.dtype == torch.float32 for p in critic.parameters())


def test_it_learns_what_renders_look_like_and_from_where(folder):
    """Renders are white from one camera and black from the other: with the camera the noise is easier to tell."""
    prior, told = opened(folder)
    critic = LoraPrior(prior, seeded(), rank=8)
    guidance = Guidance(prior, METHODS["vsd"](), critic)
    pictures = torch.tensor([1.0, 0.0, 1.0, 0.0]).view(4, 1, 1, 1).expand(4, 16, 16, 3)
    seen = replace(told, critic=replace(told.prompt.expand(4), camera=cameras(4)))
    blind = replace(told, critic=told.prompt)
    start = exactly(guidance, seen, pictures)
    trained(guidance, seen, pictures, 80, lr=1e-2)
    with_camera, without = exactly(guidance, seen, pictures), exactly(guidance, blind, pictures)
    assert with_camera < 0.97 < 1.0 < start  # 1 is what saying nothing costs
    assert with_camera < 0.97 * without
    step = guidance.step(pictures, seen, seeded())
    assert torch.isfinite(step.gradient).all() and step.loss > 0


def test_one_critic_serves_several_particles(folder):
    """Each particle learns from the critic of all; what the critic saw of one changes what it says to the other."""
    prior, told = opened(folder)
    critic = LoraPrior(prior, seeded(), rank=4)
    guidance = Guidance(prior, METHODS["vsd"](), critic)
    particles = torch.rand(2, 4, 16, 16, 3, generator=seeded(3))
    before = [guidance.step(p, told, seeded()).gradient for p in particles]
    trained(guidance, told, particles[0], 3)
    after = [guidance.step(p, told, seeded()).gradient for p in particles]
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_personalised_prior_and_a_critic_share_a_network(folder):
    """Bootstrapped SD: two sets of weights on one network, each trained alone."""
    prior, told = opened(folder)
    personal = LoraPrior(prior, seeded(), "personal", rank=4)
    critic = LoraPrior(prior, seeded(1), rank=4)
    guidance = Guidance(personal, METHODS["bootstrapped_sd"](), critic)
    at, condition, reference = place(), told.prompt, torch.rand(4, 16, 16, 3, generator=seeded(4))
    with torch.no_grad():
        first = critic.eps(at, condition)
    optimiser = torch.optim.AdamW(personal.parameters(), lr=1e-2)
    for step in range(5):
        optimiser.zero_grad()
        denoising_loss(prior, personal, personal.encode(reference), condition, seeded(step)).backward()
        optimiser.step()
    with torch.no_grad():
        learnt = personal.eps(at, condition)
        assert torch.equal(critic.eps(at, condition), first) and not torch.equal(learnt, first)
    trained(guidance, told, reference, 2)
    with torch.no_grad():
        assert torch.equal(personal.eps(at, condition), learnt) and not torch.equal(critic.eps(at, condition), first)
    assert guidance.step(reference, told, seeded()).loss > 0


def test_the_adversarial_critic_is_drawn_to_or_from_the_prior(folder):
    prior, told = opened(folder)
    critic = LoraPrior(prior, seeded(), rank=4)
    trained(Guidance(prior, METHODS["vsd"](), critic), told, torch.rand(4, 16, 16, 3, generator=seeded(4)), 3)
    x = prior.encode(torch.rand(4, 16, 16, 3, generator=seeded(5)))
    with torch.no_grad():
        plain, drawn = (denoising_loss(prior, critic, x, told.prompt, seeded(), g) for g in (0.0, -0.75))
        t = torch.randint(1000, (4,), generator=(same := seeded()))
        at = Noised(prior.schedule.add_noise(x, torch.randn(x.shape, generator=same), t), t)
        apart = (critic.eps(at, told.prompt) - prior.eps(at, told.prompt)).square().mean()
    torch.testing.assert_close(drawn, plain - 0.75 * apart)


@pytest.mark.parametrize("kind", ["sd3", "flux", "latent"])
def test_every_network_can_have_one(kind, tmp_path):
    prior = open_prior(getattr(small_pipelines, kind)(tmp_path), dtype=torch.bfloat16, size=small_pipelines.SIDE)
    text, pooled = torch.randn(1, 5, 32, generator=seeded()), torch.randn(1, 24, generator=seeded(1))
    told = Condition(text, None if kind == "latent" else pooled)
    conditions = Conditions(told, told, critic=replace(told, camera=torch.ones(1, 16)))
    critic = LoraPrior(prior, seeded(), rank=2)
    guidance = Guidance(prior, METHODS["esd"](), critic)
    pictures = torch.rand(2, 32, 32, 3, generator=seeded(2))
    trained(guidance, conditions, pictures, 2, camera_drop=0.0)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in (critic.parameters()[1], critic.parameters()[-1]))
    assert guidance.step(pictures, conditions, seeded()).loss > 0


def test_a_network_that_cannot_learn_says_so(tmp_path):
    with pytest.raises(ValueError, match="a UNet2DModel takes no low-rank weights"):
        LoraPrior(open_prior(small_pipelines.plain(tmp_path)), seeded())


def test_methods_without_a_critic_say_so(folder):
    prior, told = opened(folder)
    with pytest.raises(ValueError, match="only methods with a critic"):
        critic_loss(Guidance(prior, METHODS["sds"]()), torch.rand(1, 16, 16, 3), told, seeded())
    with pytest.raises(ValueError, match="needs a critic"):
        Guidance(prior, METHODS["vsd"]()).step(torch.rand(1, 16, 16, 3), told, seeded())
