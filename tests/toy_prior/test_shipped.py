"""The weights that come with volkit: small, and no noise: words, cameras and grounds each lower the error."""

import json
from pathlib import Path

import pytest
import torch
from toy.grammar import parse
from toy.networks import MODELS
from toy.pictures import HELD_OUT
from toy.rendering import render
from toy.scenes import exact_scene
from toy.views import even_views

from volkit.guidance import Condition, Noised
from volkit.guidance.pipeline import open_prior
from volkit.guidance.prompts import encode_circle

FOLDER = HELD_OUT.parent
SHIPPED = [name for name in MODELS if (FOLDER / name / "model_index.json").is_file()]
TIMES = (500, 700, 850)  # where words matter most: less noise shows what there is, more hides all


def weight_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_the_default_is_there():
    assert "pixels32" in SHIPPED


def test_sizes():
    """The issue's: 4 MB for the default with its text encoder, 16 MB for all."""
    sizes = {name: weight_of(FOLDER / name) for name in SHIPPED}
    assert sizes["pixels32"] <= 4e6 and sum(sizes.values()) <= 16e6


@pytest.mark.parametrize("name", SHIPPED)
def test_an_evaluation_is_cheap(name):
    """At most half a GFLOP, for one picture."""
    from torch.utils.flop_counter import FlopCounterMode

    prior = open_prior(FOLDER / name)
    network = prior.denoiser.network
    x, told = torch.zeros(prior.views, network.config.in_channels, 16, 16), prior.embed(["a red cube"] * prior.views)
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        network(x, torch.tensor([5]), told.text, class_labels=torch.zeros(prior.views, 16))
    assert 0.1e9 < counted.get_total_flops() / prior.views <= 0.5e9


class Held:
    """Exact pictures of held-out captions, each from four sides, noised; and what a prior's error on them is."""

    def __init__(self, prior):
        texts = json.loads(HELD_OUT.read_text())
        self.prior, self.texts = prior, [*texts["plain"][::2], *texts["marked"][::2]]
        scenes = [exact_scene(parse(text)) for text in self.texts for _ in range(4)]
        self.cameras = even_views(4, prior.codec.size)[torch.arange(4).repeat(len(self.texts))]
        self.clean = prior.encode(render(scenes, self.cameras).over(torch.ones(3)).clamp(0.0, 1.0))
        self.numbers = encode_circle(self.cameras, torch.ones(3))

    def told(self, texts: list[str], numbers: torch.Tensor) -> Condition:
        return Condition(text=self.prior.embed([t for t in texts for _ in range(4)]).text, camera=numbers)

    @torch.no_grad()
    def error(self, told: Condition) -> torch.Tensor:
        """Of ε, a number a caption, over times."""
        generator = torch.Generator().manual_seed(3)
        errors = []
        for time in TIMES:
            noise, t = torch.randn(self.clean.shape, generator=generator), torch.full((len(self.clean),), time)
            said = self.prior.eps(Noised(self.prior.schedule.add_noise(self.clean, noise, t), t), told)
            errors.append((said - noise).square().mean((1, 2, 3)).view(-1, 4).mean(1))
        return torch.stack(errors).mean(0)


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_said_is_heard_on_what_was_never_shown(name):
    """True words and cameras beat wrong ones, caption by caption; chance would be half of the captions."""
    held = Held(open_prior(FOLDER / name))
    true = held.error(held.told(held.texts, held.numbers))
    wrong_words = held.error(held.told(held.texts[1:] + held.texts[:1], held.numbers))
    wrong_ground = held.error(held.told(held.texts, encode_circle(held.cameras, torch.tensor([0.1, 0.1, 0.4]))))
    # 75 %: of 24 captions that is four deviations of a fair coin from half above chance, and far below what is found.
    assert (true < wrong_words).float().mean() >= 0.75 and true.mean() < 0.8 * wrong_words.mean()
    assert (true < wrong_ground).float().mean() >= 0.75
    turned = encode_circle(held.cameras[torch.arange(len(held.clean)).view(-1, 4).flip(1).flatten()], torch.ones(3))
    marked = [i for i, text in enumerate(held.texts) if " with " in text or " beside " in text]  # the others are round
    wrong_camera = held.error(held.told(held.texts, turned))
    assert true[marked].mean() < wrong_camera[marked].mean()
