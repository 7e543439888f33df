"""Writing a prior as a folder in the format of diffusers, in half precision."""

import copy
import json
from pathlib import Path
from typing import Any

import torch

from toy.networks import Model, Parts, noise_schedule, tokenizer
from toy.views import DISTANCE, ELEVATION, FIELD_OF_VIEW

__all__ = ["save"]


def save(folder: Path, model: Model, parts: Parts, vae: Any = None) -> None:
    """The parts, their index, and how the prior wants to be asked."""
    _half(parts.unet).save_pretrained(folder / "unet")
    _half(parts.text_encoder).save_pretrained(folder / "text_encoder")
    tokenizer().save_pretrained(folder / "tokenizer")
    noise_schedule().save_pretrained(folder / "scheduler")
    index: dict[str, Any] = {
        "_class_name": "DiffusionPipeline" if vae is None else "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
        "scheduler": ["diffusers", "DDPMScheduler"],
    }
    if vae is not None:
        _half(vae).save_pretrained(folder / "vae")
        index["vae"] = ["diffusers", "AutoencoderKL"]
    if model.views > 1:
        config = folder / "unet" / "config.json"
        _write(config, json.loads(config.read_text()) | {"views": model.views})
    _write(folder / "model_index.json", index)
    _write(folder / "distillation.json", _advice(model))


def _advice(model: Model) -> dict[str, Any]:
    return {
        "scale": 1.5,
        "weight": "sigma_over_alpha",
        "bounded": True,
        "size": model.side,
        "half": 1.0,
        "distance": DISTANCE,
        "field_of_view": (FIELD_OF_VIEW, FIELD_OF_VIEW),
        "elevation": (ELEVATION[0], 60.0),
        "camera": "circle",
        "sides": False,
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def _half(module: Any) -> Any:
    return copy.deepcopy(module).to(torch.float16)
