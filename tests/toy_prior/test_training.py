"""What the training tool writes is read by `open_prior`, whatever the model; and it goes on where it stopped."""

import json
from dataclasses import replace

import pytest
import torch
import train_toy_prior
from toy import denoising
from toy.networks import MODELS, autoencoder, parts
from toy.saving import save
from toy.views import even_views

from volkit.guidance import Cfg, Conditions, Noised
from volkit.guidance.pipeline import open_prior
from volkit.guidance.prompts import CAMERA_ENCODINGS
from volkit.guidance.sample import sample

WORDS = "a red cube on a blue sphere"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of each model with random weights."""
    place = tmp_path_factory.mktemp("toy")
    for name, model in MODELS.items():
        torch.manual_seed(0)
        save(place / name, model, parts(model), autoencoder() if model.latent else None)
    return place


@pytest.mark.parametrize("name", MODELS)
def test_folders_are_priors(folders, name):
    """Pictures go in and come out at their size; each of words, camera and ground is heard."""
    prior, model = open_prior(folders / name), MODELS[name]
    assert prior.prediction == "v_prediction" and prior.views == model.views and prior.codec.size == model.side
    x = prior.encode(torch.rand(4, model.side, model.side, 3, generator=torch.Generator().manual_seed(1)))
    assert x.shape[2:] == (16, 16) and prior.decode(x).shape == (4, model.side, model.side, 3)
    if not model.latent:
        torch.testing.assert_close(prior.encode(prior.decode(x)), x)
    teller = CAMERA_ENCODINGS[json.loads((folders / name / "distillation.json").read_text())["camera"]]
    cameras, at = even_views(4, model.side), Noised(x, torch.full((4,), 500))
    words, others = (prior.embed([text] * 4) for text in (WORDS, "a blue cube on a red sphere"))
    told = replace(words, camera=teller(cameras, torch.ones(3)))
    with torch.no_grad():
        said = prior.eps(at, told)
        assert said.shape == x.shape and bool(torch.isfinite(said).all())
        for change in (
            replace(told, text=others.text),
            replace(told, camera=teller(cameras, torch.zeros(3))),
            replace(told, camera=teller(cameras[[1, 2, 3, 0]], torch.ones(3))),
            replace(told, camera=None),
        ):
            assert (prior.eps(at, change) - said).abs().max() > 1e-5


def test_words_that_it_never_saw_are_named(folders):
    prior = open_prior(folders / "pixels32")
    with pytest.raises(ValueError, match="words unknown to this prior: corgi, reading"):
        prior.embed(["a red corgi reading"])
    prior.embed(["A red ball on a box, front view", ""])


def test_it_draws(folders):
    prior = open_prior(folders / "views4")
    words = Conditions(prior.embed([WORDS]).expand(4), prior.embed([""]).expand(4))
    drawn = sample(prior, (4, 12, 16, 16), words, torch.Generator().manual_seed(0), Cfg(2.0), steps=3)
    assert prior.decode(drawn).shape == (4, 32, 32, 3) and bool(torch.isfinite(drawn).all())


def few_steps(place):
    return ["--work", str(place / "work"), "--out", str(place), "--threads", "1", "--batch", "4", "--minutes"]


def test_training_goes_on_where_it_stopped(tmp_path, monkeypatch):
    """The second run starts with the step after the first one's last, and counts its time."""
    monkeypatch.setattr("toy.learning.LOGGED", 1)
    run = few_steps(tmp_path)
    train_toy_prior.main([*run, "0.02"])
    log = tmp_path / "work" / "pixels32.jsonl"
    first = [json.loads(line) for line in log.read_text().splitlines()]
    train_toy_prior.main([*run, "0.04"])
    both = [json.loads(line) for line in log.read_text().splitlines()]
    assert [entry["step"] for entry in both] == list(range(1, len(both) + 1)) and len(both) > len(first) > 1
    assert both[len(first)]["cpu_seconds"] >= first[-1]["cpu_seconds"]
    assert open_prior(tmp_path / "pixels32").embed([WORDS]).text is not None


def test_the_latent_model_learns_its_autoencoder_first(tmp_path):
    train_toy_prior.main([*few_steps(tmp_path), "0.02", "--model", "latent"])
    prior = open_prior(tmp_path / "latent")
    some = denoising.shown(MODELS["latent"], 64, 7, set()).pictures
    assert prior.encode(some).std() == pytest.approx(1.0, abs=0.1)  # the scale was set on other pictures


def test_the_same_seed_shows_the_same():
    a, b, c = (denoising.shown(MODELS["pixels32"], 8, seed, set()) for seed in (3, 3, 4))
    assert a.words == b.words and torch.equal(a.pictures, b.pictures) and not torch.equal(a.pictures, c.pictures)
