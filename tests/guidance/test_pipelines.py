"""Pipelines of diffusers as priors: every kind loads, speaks ε and lets gradients through."""

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
import small_pipelines
import torch

from volkit.guidance import METHODS, Condition, Conditions, Guidance, Noised, NoiseSchedule
from volkit.guidance.noise_schedule import PREDICTIONS
from volkit.guidance.pipeline import open_prior

KINDS = ("latent", "pixels", "wide", "sd3", "flux", "plain")
WORDLESS = ("sd3", "flux")  # without text encoders here: what they would say is given


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}

    def folder(kind, **changes):
        key = kind + json.dumps(changes)
        if key not in made:
            made[key] = getattr(small_pipelines, kind)(tmp_path_factory.mktemp(kind), **changes)
        return made[key]

    return folder


def pictures(views=2, size=small_pipelines.SIDE, dtype=torch.float32):
    return torch.rand(views, size, size, 3, generator=seeded(1), dtype=dtype)


def conditions(prior, kind):
    if kind in WORDLESS:
        text, pooled = torch.randn(2, 1, 5, 32, generator=seeded(2)), torch.randn(2, 1, 24, generator=seeded(3))
        return Conditions(Condition(text[0], pooled[0]), Condition(text[1], pooled[1]))
    return Conditions(prior.embed(["a red ball"]), prior.embed([""]))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_loads_and_steps(folders, kind):
    prior = open_prior(folders(kind), size=small_pipelines.SIDE)
    told = conditions(prior, kind)
    guidance = Guidance(prior, METHODS["sds"](7.5))
    seen = guidance.step(pictures(), told, seeded())
    assert seen.gradient.shape == pictures().shape and torch.isfinite(seen.gradient).all() and seen.loss > 0
    assert (seen.gradient.flatten(1).abs().amax(1) > 0).all()
    again = guidance.step(pictures(), told, seeded())
    assert torch.equal(seen.gradient, again.gradient)
    if kind != "plain":
        other = replace(told, prompt=told.null)
        assert not torch.equal(guidance.step(pictures(), other, seeded()).gradient, seen.gradient)  # words are heard


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_says_about_the_same(folders, kind):
    priors = [open_prior(folders(kind), dtype=d, size=small_pipelines.SIDE) for d in (torch.float32, torch.bfloat16)]
    told = conditions(priors[0], kind)
    single, half = (Guidance(prior, METHODS["sds"](1.0)).step(pictures(), told, seeded()) for prior in priors)
    assert half.gradient.dtype == torch.float32
    cosine = torch.nn.functional.cosine_similarity(single.gradient.flatten(), half.gradient.flatten(), 0)
    assert cosine > 0.99  # eight bits of mantissa through some twenty layers: errors of a few percent, uncorrelated


@dataclass(frozen=True)
class Translated:
    """A network that says the same in another language."""

    network: Any
    prediction: str
    schedule: NoiseSchedule
    control: Any = None

    def __call__(self, at, condition):
        eps = self.network(at, condition)
        alpha, sigma = self.schedule.at(at.t, at.x)
        return PREDICTIONS[self.prediction].target(self.schedule.remove_noise(at.x, eps, at.t), eps, alpha, sigma)


@dataclass(frozen=True)
class ConditionBuilder:
    """A denoiser with the precision that the adapter asks its network for."""

    inner: Any

    @property
    def network(self):
        return self.inner.network.network

    def __call__(self, at, condition):
        return self.inner(at, condition)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_results_are_the_same_through_every_language(folders, prediction):
    prior = open_prior(folders("latent"), dtype=torch.float64)
    if prediction == "flow_prediction":
        prior = replace(prior, schedule=NoiseSchedule.rectified_flow())
    spoken = ConditionBuilder(Translated(prior.denoiser, prediction, prior.schedule))
    told = conditions(prior, "latent")
    results = [
        Guidance(p, METHODS["sds"](7.5)).step(pictures(dtype=torch.float64), told, seeded()).gradient
        for p in (prior, replace(prior, denoiser=spoken, prediction=prediction))
    ]
    # There and back loses ulps times the largest of 1/α and 1/σ, below 50 in [.02, .98].
    torch.testing.assert_close(results[1], results[0], rtol=1e-9, atol=1e-12)


def test_the_gradient_goes_through_the_autoencoder(folders):
    """`∂L/∂pictures` against finite differences of `⟨E(pictures), g⟩ / views`."""
    prior = open_prior(folders("latent"), dtype=torch.float64)
    x, towards = pictures(1, dtype=torch.float64), torch.randn(1, 32, 32, 3, generator=seeded(5), dtype=torch.float64)
    seen = Guidance(prior, METHODS["sds"](7.5)).step(x, conditions(prior, "latent"), seeded())
    with torch.no_grad():
        there, back = ((prior.encode(x + s * towards) * seen.direction).sum() for s in (1e-5, -1e-5))
    slope = (there - back) / 2e-5
    # Central differences are of second order: (1e-5)² of curvature, and 1e-16 / 1e-5 of rounding.
    torch.testing.assert_close((seen.gradient * towards).sum(), slope, rtol=1e-6, atol=1e-9)


def test_latents_come_back(folders):
    prior = open_prior(folders("sd3"))
    x = torch.randn(1, 4, 16, 16, generator=seeded())
    decoded = prior.decode(x)
    shift, scale = 0.06, prior.codec.autoencoder.config.scaling_factor
    expected = prior.codec.autoencoder.decode(x / scale + shift).sample / 2 + 0.5
    assert torch.equal(decoded, expected.movedim(1, -1))
    mean = prior.codec.autoencoder.encode(2 * decoded.movedim(-1, 1) - 1).latent_dist.mean
    torch.testing.assert_close(prior.encode(decoded), (mean - shift) * scale)


def test_pictures_of_another_size_are_resized(folders):
    prior = open_prior(folders("latent"))
    seen = Guidance(prior, METHODS["hifa"](7.5)).step(pictures(2, 48), conditions(prior, "latent"), seeded())
    assert seen.gradient.shape == (2, 48, 48, 3) and seen.noised.shape == (2, 4, 16, 16)
    assert open_prior(folders("latent"), size=64).encode(pictures()).shape == (2, 4, 32, 32)


def test_words_are_embedded_once_and_encoders_dropped(folders, monkeypatch):
    from volkit.guidance.pipeline.folder import Folder

    loaded, load = [], Folder.load
    monkeypatch.setattr(Folder, "load", lambda self, part, dtype=None: loaded.append(part) or load(self, part, dtype))
    prior = open_prior(folders("latent"))
    first = prior.embed(["a ball", "", "a ball"])
    assert loaded.count("text_encoder") == 1 and torch.equal(first.text[0], first.text[2])
    again = prior.embed(["", "a ball"])
    assert loaded.count("text_encoder") == 1 and torch.equal(again.text[1], first.text[0])
    assert not any(isinstance(held, torch.nn.Module) for held in vars(prior.embed_texts).values())


def test_sdxl_is_told_what_its_own_pipeline_tells_it(folders):
    from diffusers import StableDiffusionXLPipeline

    prior, pipeline = open_prior(folders("wide")), StableDiffusionXLPipeline.from_pretrained(folders("wide"))
    told = prior.embed(["a red ball"])
    text, _, pooled, _ = pipeline.encode_prompt("a red ball", do_classifier_free_guidance=False)
    assert torch.equal(told.text, text) and torch.equal(told.pooled, pooled)
    x, t = torch.randn(1, 4, 16, 16, generator=seeded()), torch.tensor([400])
    ids = torch.tensor([[128.0, 128, 0, 0, 128, 128]])
    with torch.no_grad():
        said = pipeline.unet(x, t, text, added_cond_kwargs={"text_embeds": pooled, "time_ids": ids}).sample
        torch.testing.assert_close(prior.eps(Noised(x, t), told), said)


def test_cameras_are_heard_and_a_missing_one_is_zero(folders):
    camera = dict(class_embed_type="projection", projection_class_embeddings_input_dim=16)
    prior = open_prior(folders("pixels", **camera))
    told = conditions(prior, "pixels")
    at = Noised(torch.randn(2, 3, 32, 32, generator=seeded()), torch.tensor([300, 300]))
    with torch.no_grad():
        none, zero, one = (
            prior.eps(at, replace(told.prompt, camera=c)) for c in (None, torch.zeros(1, 16), torch.ones(1, 16))
        )
    assert torch.equal(none, zero) and (one - zero).abs().max() > 1e-4


def test_joint_views_are_seen_together(folders, tmp_path):
    """Four views whose self-attention runs over all of them; one view of them changes what is said about the others."""
    folder = small_pipelines.pixels(tmp_path)
    config = folder / "unet" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"views": 4}))
    joint, alone = open_prior(folder), open_prior(folders("pixels"))
    assert joint.views == 4
    told = conditions(joint, "pixels").prompt
    x, t = torch.randn(8, 3, 32, 32, generator=seeded()), torch.full((8,), 300)
    changed = x.clone()
    changed[0] += 1.0
    with torch.no_grad():
        for prior, heard in ((joint, True), (alone, False)):
            moved = (prior.eps(Noised(changed, t), told) - prior.eps(Noised(x, t), told)).flatten(1).abs().amax(1)
            assert moved[0] > 1e-3 and bool((moved[1:4] > 1e-6).all()) == heard
            assert (moved[4:] < 1e-5).all()  # the other group; blocked products round differently at most
        equal = x[:1].expand(4, -1, -1, -1)  # attention over copies is attention over one
        torch.testing.assert_close(
            joint.eps(Noised(equal, t[:4]), told), alone.eps(Noised(equal, t[:4]), told), rtol=1e-4, atol=1e-5
        )
    seen = Guidance(joint, METHODS["mvsds"]()).step(pictures(8), conditions(joint, "pixels"), seeded())
    assert len(set(seen.t.tolist())) == 1
    with pytest.raises(ValueError, match="4 views at once and was given 3"):
        Guidance(joint, METHODS["sds"]()).step(pictures(3), conditions(joint, "pixels"), seeded())


def test_transformers_are_asked_as_their_own_pipelines_ask_them(folders):
    """`ε = x_t + (1 - τ) v`: SD3 is told τ in thousandths; Flux is told τ, and diffusers packs its latents."""
    from diffusers import FluxPipeline

    x, t = torch.randn(2, 4, 16, 12, generator=seeded()), torch.tensor([399, 699])
    tau = torch.tensor([0.4, 0.7])
    for kind in WORDLESS:
        prior = open_prior(folders(kind), size=small_pipelines.SIDE)
        told, network = conditions(prior, kind).prompt.expand(2), prior.denoiser.network
        with torch.no_grad():
            if kind == "sd3":
                v = network(x, told.text, told.pooled, 1000.0 * tau).sample
            else:
                packed = FluxPipeline._pack_latents(x, 2, 4, 16, 12)
                places = FluxPipeline._prepare_latent_image_ids(2, 8, 6, "cpu", torch.float32)
                said = network(
                    packed, told.text, told.pooled, tau, places, torch.zeros(5, 3), guidance=torch.ones(2)
                ).sample
                v = FluxPipeline._unpack_latents(said, 16 * 8, 12 * 8, 8)
            expected = x + (1.0 - tau).view(2, 1, 1, 1) * v
            torch.testing.assert_close(prior.eps(Noised(x, t), told), expected, rtol=1e-4, atol=1e-5)  # float32


def test_large_pictures_are_encoded_one_by_one(folders, monkeypatch):
    """The same latents and the same way back as all at once, with what was remembered made again."""
    from volkit.guidance.pipeline import codec

    prior, found = open_prior(folders("latent"), size=64), []
    for large in (65, 64):
        monkeypatch.setattr(codec, "CHECKPOINTED_SIZE", large)
        seen = pictures(size=64).requires_grad_()
        x = prior.encode(seen)
        (gradient,) = torch.autograd.grad(x, seen, x.detach().cos())
        found.append((x.detach(), gradient))
    for whole, parts in zip(*found, strict=True):
        torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-5)  # float32 sums in another order
