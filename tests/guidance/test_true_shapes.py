"""Pipelines of the true shape, from the configurations of SD 1.5, SD 2.1 and a DDPM: narrow, with random weights."""

import json
import shutil

import pytest
import torch

from volkit.guidance import METHODS, Conditions, Guidance
from volkit.guidance.pipeline import LoraPrior, open_prior

NARROW = {
    "unet": {"block_out_channels": [32, 64, 64, 64], "layers_per_block": 1, "cross_attention_dim": 32},
    "text_encoder": {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2},
    "vae": {"block_out_channels": [32, 32, 32, 32], "layers_per_block": 1},
}


def built(source, target):
    """A copy of a folder of configurations, its networks made narrow and given random weights."""
    import diffusers
    import transformers

    index = json.loads((source / "model_index.json").read_text())
    shutil.copytree(source, target)
    torch.manual_seed(0)
    for part, narrow in NARROW.items():
        if part not in index:
            continue
        owner, kind = index[part]
        path = target / part / "config.json"
        config = json.loads(path.read_text()) | narrow
        if kind == "UNet2DModel":
            config |= {"block_out_channels": [32] * len(json.loads(path.read_text())["block_out_channels"])}
        if owner == "transformers":
            network = getattr(transformers, kind)(getattr(transformers, kind).config_class(**config))
        else:
            network = getattr(diffusers, kind).from_config(config)
        network.save_pretrained(target / part)
    return target


@pytest.mark.parametrize("name", ["stable-diffusion-v1-5", "stable-diffusion-2-1-base", "ddpm-butterflies-128"])
def test_it_loads_and_steps(shared_data, tmp_path, name):
    prior = open_prior(built(shared_data / "diffusers" / name, tmp_path / name), dtype=torch.bfloat16, size=128)
    told = Conditions(prior.embed(["a red ball on a blue box"]), prior.embed([""]))
    pictures = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    for method in ("sds", "vsd") if name.startswith("stable") else ("sds",):
        generator = torch.Generator().manual_seed(0)
        critic = LoraPrior(prior, generator, rank=2) if method == "vsd" else None
        seen = Guidance(prior, METHODS[method](), critic).step(pictures, told, generator)
        assert seen.gradient.shape == pictures.shape and seen.loss > 0
    # β from .00085 to .012 for Stable Diffusion, from 1e-4 to .02 for DDPM: what is left of the picture at the end
    last = float(prior.schedule.alpha[-1] ** 2)
    assert last == pytest.approx(4.66e-3 if name.startswith("stable") else 4.04e-5, rel=5e-3)  # three digits


def test_the_words_are_those_of_the_true_vocabulary(shared_data, tmp_path):
    name = "stable-diffusion-v1-5"
    prior = open_prior(built(shared_data / "diffusers" / name, tmp_path / name), size=64)
    told = prior.embed(["a red ball", "a blue ball", ""])
    assert told.text.shape == (3, 77, 32)
    # CLIP attends backwards only: "a" is the same in both, from the colour on the words differ.
    torch.testing.assert_close(told.text[0, :2], told.text[1, :2])
    assert (told.text[0, 2:] - told.text[1, 2:]).abs().amax(-1).min() > 0
