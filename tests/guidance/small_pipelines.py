"""Small pipelines with random weights in the format of diffusers, built and saved by the tests that read them."""

import json
from pathlib import Path

import torch

SIDE = 32
VOCABULARY = [*"abcdefghijklmnopqrstuvwxyz,.", *(f"{c}</w>" for c in "abcdefghijklmnopqrstuvwxyz,.")]


def seeded_weights():
    torch.manual_seed(0)


def unet(**changes):
    from diffusers import UNet2DConditionModel

    seeded_weights()
    shape = dict(
        sample_size=SIDE // 2,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=8,
    )
    return UNet2DConditionModel(**{**shape, **changes})


def autoencoder(channels=4, **changes):
    from diffusers import AutoencoderKL

    seeded_weights()
    return AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
        norm_num_groups=8,
        sample_size=SIDE,
        **changes,
    )


def text_encoder(projected=False):
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    seeded_weights()
    config = CLIPTextConfig(
        hidden_size=32,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=2,
        vocab_size=len(VOCABULARY) + 2,
        projection_dim=24,
        bos_token_id=len(VOCABULARY),
        eos_token_id=len(VOCABULARY) + 1,
        pad_token_id=len(VOCABULARY) + 1,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config).eval()


def tokenizer(folder):
    """A CLIP tokenizer that knows letters."""
    from transformers import CLIPTokenizer

    words = {w: i for i, w in enumerate([*VOCABULARY, "<|startoftext|>", "<|endoftext|>"])}
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(words))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77).save_pretrained(folder)


def save(folder: Path, pipeline: str, scheduler, *, words=1, **parts):
    """Write the parts and the index; returns the folder."""
    index = {"_class_name": pipeline, "_diffusers_version": "0.42.1"}
    for name, part in {**parts, "scheduler": scheduler}.items():
        part.save_pretrained(folder / name)
        index[name] = ["diffusers", type(part).__name__]
    for i in range(words):
        suffix = f"_{i + 1}" if i else ""
        encoder = text_encoder(projected=i > 0)
        encoder.save_pretrained(folder / f"text_encoder{suffix}")
        tokenizer(folder / f"tokenizer{suffix}")
        index |= {f"text_encoder{suffix}": ["transformers", type(encoder).__name__]}
        index |= {f"tokenizer{suffix}": ["transformers", "CLIPTokenizer"]}
    folder.joinpath("model_index.json").write_text(json.dumps(index))
    return folder


def ddpm(prediction="epsilon"):
    from diffusers import DDPMScheduler

    return DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=prediction, clip_sample=False
    )


def flow():
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler()


def latent(folder, **changes):
    """Shaped like SD 1.5."""
    return save(folder, "StableDiffusionPipeline", ddpm(), unet=unet(**changes), vae=autoencoder())


def pixels(folder, prediction="epsilon", **changes):
    """Shaped like IF's first stage, with CLIP's words."""
    shape = {"in_channels": 3, "out_channels": 3, "sample_size": SIDE, **changes}
    return save(folder, "DiffusionPipeline", ddpm(prediction), unet=unet(**shape))


def wide(folder):
    """Shaped like SDXL."""
    extra = dict(
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 24,
        cross_attention_dim=64,
    )
    net = unet(**extra)
    return save(folder, "StableDiffusionXLPipeline", ddpm(), words=2, unet=net, vae=autoencoder(force_upcast=True))


def sd3(folder):
    """Shaped like SD3, without its text encoders."""
    from diffusers import SD3Transformer2DModel

    seeded_weights()
    network = SD3Transformer2DModel(
        sample_size=SIDE // 2,
        patch_size=2,
        in_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=32,
        caption_projection_dim=32,
        pooled_projection_dim=24,
        out_channels=4,
    )
    vae = autoencoder(shift_factor=0.06)
    return save(folder, "StableDiffusion3Pipeline", flow(), words=0, transformer=network, vae=vae)


def flux(folder):
    """Shaped like Flux, without its text encoders."""
    from diffusers import FluxTransformer2DModel

    seeded_weights()
    network = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=24,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=True,
    )
    vae = autoencoder(shift_factor=0.1)
    return save(folder, "FluxPipeline", flow(), words=0, transformer=network, vae=vae)


def plain(folder):
    """Shaped like DDPM: pictures without words."""
    from diffusers import UNet2DModel

    seeded_weights()
    network = UNet2DModel(
        sample_size=SIDE,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )
    return save(folder, "DDPMPipeline", ddpm(), words=0, unet=network)


def ip_adapter(path, unet, embed=20, tokens=4):
    """An IP-Adapter with random weights for a network: its projection, then keys and values of each cross-attention."""
    from safetensors.torch import save_file

    width, generator = unet.config.cross_attention_dim, torch.Generator().manual_seed(6)
    found = {
        "image_proj.proj.weight": torch.randn(tokens * width, embed, generator=generator),
        "image_proj.proj.bias": torch.zeros(tokens * width),
        "image_proj.norm.weight": torch.ones(width),
        "image_proj.norm.bias": torch.zeros(width),
    }
    for index, name in enumerate(unet.attn_processors):
        if ".attn2." in name:
            inner = unet.get_submodule(name.removesuffix(".processor")).inner_dim
            for letter in "kv":
                found[f"ip_adapter.{index}.to_{letter}_ip.weight"] = torch.randn(inner, width, generator=generator)
    save_file(found, path)


def eyes(folder, embed=20):
    """A CLIP vision model with random weights, as IP-Adapters see with."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(2)
    shape = dict(hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4, patch_size=8)
    model = CLIPVisionModelWithProjection(CLIPVisionConfig(image_size=32, projection_dim=embed, **shape)).eval()
    model.save_pretrained(folder)
    return model
