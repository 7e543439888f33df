"""LoRA weights, ControlNet and IP-Adapter on a small pipeline: each is heard, and only when it is told something."""

from dataclasses import replace

import pytest
import small_pipelines
import torch
from safetensors.torch import save_file

from volkit.guidance import Noised
from volkit.guidance.pipeline import Additions, embed_pictures, open_prior


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


AT = Noised(torch.randn(1, 4, 16, 16, generator=seeded()), torch.tensor([400]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_pipelines.latent(tmp_path_factory.mktemp("latent"))


@pytest.fixture(scope="module")
def plain(folder):
    return open_prior(folder)


def said(prior, **more):
    with torch.no_grad():
        return prior.eps(AT, replace(prior.embed(["a ball"]), **more))


def lora_weights(network):
    """Random low-rank weights of rank 4 for the queries and values, as (module, side) → tensor."""
    found = {}
    for name, module in network.named_modules():
        if name.endswith((".to_q", ".to_v")):
            found[name, "down"] = torch.randn(4, module.in_features, generator=seeded(len(found)))
            found[name, "up"] = torch.randn(module.out_features, 4, generator=seeded(len(found)))
    return found


def test_lora_files_of_every_dialect_say_the_same(folder, plain, tmp_path):
    weights = lora_weights(plain.denoiser.network)
    sides = {"down": "lora_A", "up": "lora_B"}
    peft = {f"{module}.{sides[side]}.weight": w for (module, side), w in weights.items()}
    kohya = {f"lora_unet_{m.replace('.', '_')}.lora_{side}.weight": w for (m, side), w in weights.items()}
    kohya |= {f"lora_unet_{m.replace('.', '_')}.alpha": torch.tensor(4.0) for m, _ in weights}
    dialects = {"bare": peft, "diffusers": {f"unet.{name}": w for name, w in peft.items()}, "kohya": kohya}
    results = {}
    for name, tensors in dialects.items():
        save_file(tensors, tmp_path / f"{name}.safetensors")
        results[name] = said(open_prior(folder, additions=Additions(lora=tmp_path / f"{name}.safetensors")))
    assert (results["bare"] - said(plain)).abs().max() > 1e-3
    # W + B A by hand, on the network itself.
    by_hand = open_prior(folder)
    for (name, side), up in weights.items():
        if side == "up":
            by_hand.denoiser.network.get_submodule(name).weight.data += up @ weights[name, "down"]
    for result in results.values():
        torch.testing.assert_close(result, said(by_hand), rtol=1e-4, atol=1e-5)  # float32 sums in another order


def test_a_control_picture_is_heard_where_there_is_a_controlnet(folder, plain, tmp_path):
    from diffusers import ControlNetModel

    torch.manual_seed(1)
    control = ControlNetModel.from_unet(plain.denoiser.network, conditioning_embedding_out_channels=(16, 32))
    for module in control.controlnet_down_blocks:  # they begin at zero
        torch.nn.init.normal_(module.weight, std=0.1)
    control.save_pretrained(tmp_path / "control")
    prior, normals = open_prior(folder, additions=Additions(control=tmp_path / "control")), torch.rand(1, 3, 32, 32)
    assert torch.equal(said(prior), said(plain))
    assert (said(prior, control=normals) - said(plain)).abs().max() > 1e-3
    assert torch.equal(said(plain, control=normals), said(plain))


def test_a_picture_can_stand_beside_the_words(folder, plain, tmp_path):
    eyes = small_pipelines.eyes(tmp_path / "eyes")
    small_pipelines.ip_adapter(tmp_path / "image.safetensors", plain.denoiser.network)
    prior = open_prior(folder, dtype=torch.bfloat16, additions=Additions(image_prompt=tmp_path / "image.safetensors"))
    pictures = torch.rand(2, 32, 32, 3, generator=seeded(4))
    first, second = (embedded[None] for embedded in embed_pictures(tmp_path / "eyes", pictures))
    assert first.shape == (1, 1, 20)
    assert (said(prior, image=first) - said(prior)).abs().max() > 1e-3
    assert (said(prior, image=first) - said(prior, image=second)).abs().max() > 1e-4
    grey = torch.tensor([0.48145466, 0.4578275, 0.40821073]).expand(1, 32, 32, 3)  # CLIP's mean is its zero
    with torch.no_grad():
        zero = eyes(torch.zeros(1, 3, 32, 32)).image_embeds
    torch.testing.assert_close(embed_pictures(tmp_path / "eyes", grey)[:, 0], zero)


def test_what_cannot_be_added_is_named(folder, tmp_path):
    nowhere = tmp_path / "nowhere"
    for name, words in (("lora", "no such file of weights"), ("control", "no such folder of a ControlNet")):
        with pytest.raises(FileNotFoundError, match=f"nowhere: {words}"):
            open_prior(folder, additions=Additions(**{name: nowhere}))
    save_file({"other.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other.safetensors: 'other.weight' belongs to no IP-Adapter"):
        open_prior(folder, additions=Additions(image_prompt=tmp_path / "other.safetensors"))
    flux = small_pipelines.flux(tmp_path / "flux")
    with pytest.raises(ValueError, match="needs a UNet2DConditionModel, and this is a FluxTransformer2DModel"):
        open_prior(flux, additions=Additions(control=nowhere))
    with pytest.raises(FileNotFoundError, match="no such folder of a CLIP vision model"):
        embed_pictures(nowhere, torch.rand(1, 8, 8, 3))
