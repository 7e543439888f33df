"""Additions to a pipeline: LoRA weights, a ControlNet, an IP-Adapter and its image encoder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch.nn.functional import interpolate

from volkit.guidance.pipeline.folder import library
from volkit.typing import Float, Tensor

__all__ = ["Additions", "add_image_prompt", "add_lora", "control_network", "embed_pictures"]

# The classes of diffusers that read the layouts of LoRA files (its own, kohya's, ...), by the network's class.
LORA_READERS = {
    "UNet2DConditionModel": "StableDiffusionLoraLoaderMixin",
    "SD3Transformer2DModel": "SD3LoraLoaderMixin",
    "FluxTransformer2DModel": "FluxLoraLoaderMixin",
}
# Mean and standard deviation of CLIP's training pictures (Radford et al. 2021, their preprocessing).
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Additions:
    """Additions to a pipeline; None leaves one out.

    Attributes:
        lora: a file of LoRA weights.
        image_prompt: a file of an IP-Adapter.
        control: the folder of a ControlNet.
    """

    lora: str | Path | None = None
    image_prompt: str | Path | None = None
    control: str | Path | None = None


def add_lora(network: Any, path: str | Path) -> None:
    """Merge LoRA weights into a network, in place; weights for text encoders are left out."""
    kind, part = type(network).__name__, "unet" if type(network).__name__.startswith("UNet") else "transformer"
    if kind not in LORA_READERS:
        raise ValueError(f"{path}: a {kind} takes no LoRA weights")
    tensors = _tensors(path)
    if not any(name.startswith((part, "lora_", "text_encoder", "diffusion_model")) for name in tensors):
        tensors = {f"{part}.{name}": tensor for name, tensor in tensors.items()}
    reader = getattr(library("diffusers.loaders"), LORA_READERS[kind])
    read = reader.lora_state_dict(tensors, unet_config=network.config)
    weights, alphas = read if isinstance(read, tuple) else (read, None)
    network.load_lora_adapter(weights, prefix=part, network_alphas=alphas)
    network.fuse_lora()
    network.unload_lora()


def add_image_prompt(network: Any, path: str | Path) -> None:
    """Give a UNet the keys and values of an IP-Adapter (Ye et al. 2023)."""
    parts: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for name, tensor in _tensors(path).items():
        part, _, rest = name.partition(".")
        if part not in parts:
            raise ValueError(f"{path}: '{name}' belongs to no IP-Adapter, which has image_proj.* and ip_adapter.*")
        parts[part][rest] = tensor
    network._load_ip_adapter_weights([parts])


def control_network(path: str | Path, dtype: torch.dtype) -> Any:
    """Load a ControlNet (Zhang et al. 2023)."""
    if not Path(path).is_dir():
        raise FileNotFoundError(f"{path}: no such folder of a ControlNet")
    return library("diffusers").ControlNetModel.from_pretrained(path, dtype=dtype)


@torch.no_grad()
def embed_pictures(folder: str | Path, pictures: Float[Tensor, "view height width 3"]) -> Float[Tensor, "view 1 width"]:
    """Picture embeddings for an IP-Adapter, by the CLIP vision model in `folder`, which is dropped afterwards."""
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"{folder}: no such folder of a CLIP vision model")
    model = library("transformers").CLIPVisionModelWithProjection.from_pretrained(folder).to(pictures.device).eval()
    side = model.config.image_size
    x = interpolate(pictures.movedim(-1, 1), (side, side), mode="bicubic", align_corners=False, antialias=True)
    mean, std = (x.new_tensor(numbers).view(1, 3, 1, 1) for numbers in (CLIP_MEAN, CLIP_STD))
    return model((x.clamp(0, 1) - mean) / std).image_embeds[:, None]


def _tensors(path: str | Path) -> dict[str, Tensor]:
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file of weights; give a .safetensors file")
    return load_file(path)
