"""What is wrong is said in one line: the file or part, the fact, the fix."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace

import pytest
import small_pipelines
import torch

from volkit.guidance import METHODS, Condition, Conditions, Guidance, Mirror, MixturePrior


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def prior(kind=MixturePrior):
    return kind(torch.rand(2, 3, 4, 4, generator=seeded()), torch.full((2,), 0.1), ("cat", "dog"))


def said(prior):
    return Conditions(prior.embed(["cat"]), prior.embed([""]))


PICTURES = torch.rand(2, 4, 4, 3, generator=seeded(1))


class Broken(MixturePrior):
    """A prior that overflows."""

    def eps(self, at, condition):
        return super().eps(at, condition) / 0.0


class BrokenBack(MixturePrior):
    """An encoder whose derivative is infinite."""

    def encode(self, pictures):
        return super().encode(pictures) + (pictures.movedim(-1, 1) * 0.0).sqrt()


@dataclass(frozen=True)
class BrokenCritic:
    def eps(self, at, condition):
        return torch.full_like(at.x, torch.nan)


def test_numbers_that_are_not_finite_are_named_by_step_and_part():
    with pytest.raises(
        FloatingPointError,
        match=r"guidance, step 41, times \[\d+, \d+\]: the combination, Cfg of Broken is not finite in 96 of 96",
    ):
        Guidance(prior(Broken), METHODS["sds"]()).step(PICTURES, said(prior()), seeded(), 41, 0.2)
    with pytest.raises(FloatingPointError, match=r"step 7, .*: the second score, Critic, .*96 of 96 numbers"):
        Guidance(prior(), METHODS["vsd"](), BrokenCritic()).step(PICTURES, said(prior()), seeded(), 7)
    with pytest.raises(FloatingPointError, match=r"step 3, .*: the gradient through the encoder is not finite"):
        Guidance(prior(BrokenBack), METHODS["sds"]()).step(PICTURES, said(prior()), seeded(), 3)


def test_conditions_and_parts_that_are_missing_are_named():
    told = said(prior())
    for name, words in (("dds", "source_pictures"), ("vsd", "needs a critic"), ("sds_bridge", "conditions.source")):
        with pytest.raises(ValueError, match=words):
            Guidance(prior(), METHODS[name]()).step(PICTURES, told, seeded(), fraction=0.9)
    with pytest.raises(ValueError, match="jensen_shannon weights by p_t / q_t"):
        Guidance(prior(), METHODS["fdiv_sd"](), prior()).step(PICTURES, told, seeded())
    with pytest.raises(ValueError, match="in pairs, and there are 1 views"):
        mirrored = replace(METHODS["sds"](), shaping=(Mirror(),))
        Guidance(prior(), mirrored).step(PICTURES[:1], told, seeded())
    with pytest.raises(ValueError, match="'camera' is given for 1 of 2"):
        Condition.cat([Condition(camera=torch.zeros(1, 3)), Condition()])
    with pytest.raises(ValueError, match="no component 'bird': there are cat, dog"):
        prior().embed(["bird"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return small_pipelines.latent(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "model")


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_missing_part_is_named(folder, part):
    from volkit.guidance.pipeline import open_prior

    shutil.rmtree(folder / part)
    with pytest.raises(FileNotFoundError, match=rf"model: part '{part}' is missing: expected .*{part}/config.json"):
        open_prior(folder)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_missing_weights_are_named(folder, part):
    from volkit.guidance.pipeline import open_prior

    for file in (folder / part).glob("*.safetensors"):
        file.unlink()
    with pytest.raises(FileNotFoundError, match=rf"part '{part}' has no weights: expected .*{part}/\*.safetensors"):
        open_prior(folder)


def changed(folder, file, **entries):
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))
    return folder


def test_what_a_pipeline_cannot_be_asked_is_named(folder):
    from volkit.guidance.pipeline import open_prior

    with pytest.raises(ValueError, match="prediction type 'velocity' is unknown; known are epsilon, v_prediction"):
        open_prior(changed(folder, "scheduler/scheduler_config.json", prediction_type="velocity"))
    with pytest.raises(ValueError, match="cannot use a UNet3DConditionModel; known are UNet2DModel"):
        open_prior(changed(folder, "model_index.json", unet=["diffusers", "UNet3DConditionModel"]))
    with pytest.raises(FileNotFoundError, match="names neither 'unet' nor 'transformer'"):
        open_prior(changed(folder, "model_index.json", unet=[None, None]))
    with pytest.raises(FileNotFoundError, match=r"no model_index\.json; give the folder of a whole pipeline"):
        open_prior(folder / "unet")


def test_a_model_that_is_nowhere_is_one_line(whole, monkeypatch, tmp_path):
    import huggingface_hub

    from volkit.guidance.pipeline import open_prior

    def offline(*told, **options):
        raise huggingface_hub.errors.LocalEntryNotFoundError("cannot reach the hub\nand much more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as raised:
        open_prior("someone/some-model")
    text = str(raised.value)
    assert "\n" not in text and "cannot reach the hub" in text and str(tmp_path / "someone/some-model") in text
    assert "model_index.json" in text and str(huggingface_hub.constants.HF_HUB_CACHE) in text


def test_without_the_libraries_the_extra_is_named(monkeypatch):
    import importlib

    from volkit.guidance.pipeline import open_prior

    def absent(name):
        raise ImportError(f"No module named '{name}'")

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(RuntimeError, match=r"a prior, the toy one too, needs .*; pip install 'diffusers"):
        open_prior("someone/some-model")


def test_words_that_a_prior_never_saw_are_named(folder):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from volkit.guidance.pipeline import open_prior

    words = Tokenizer(models.WordLevel({"<pad>": 0, "<unk>": 1, "a": 2, "red": 3, "ball": 4}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    shutil.rmtree(folder / "tokenizer")
    fast = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", pad_token="<pad>", model_max_length=8)
    fast.save_pretrained(folder / "tokenizer")
    changed(folder, "model_index.json", tokenizer=["transformers", "PreTrainedTokenizerFast"])
    prior = open_prior(folder)
    assert prior.embed(["a red ball", ""]).text.shape == (2, 8, 32)
    with pytest.raises(ValueError, match="'a blue cube' has words unknown to this prior: blue, cube"):
        prior.embed(["a blue cube"])


def test_a_prompt_that_is_too_long_is_said(whole):
    from volkit.guidance.pipeline import open_prior

    with pytest.warns(UserWarning, match="has 102 tokens; this prior reads the first 77"):
        open_prior(whole).embed(["a " * 100])


def test_heavy_libraries_are_imported_at_first_use():
    heavy = "{'diffusers', 'transformers', 'peft', 'huggingface_hub'}"
    code = f"import sys, volkit.guidance.pipeline; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
