"""A pipeline of diffusers as a prior: whatever its network predicts, what comes out is ε."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from volkit.guidance.condition import Condition
from volkit.guidance.noise_schedule import NoiseSchedule
from volkit.guidance.pipeline.codec import Codec, LatentCodec, PixelCodec
from volkit.guidance.pipeline.denoiser import DENOISERS, Denoiser
from volkit.guidance.pipeline.folder import Folder, library, open_folder
from volkit.guidance.pipeline.joint import attend_jointly
from volkit.guidance.pipeline.words import Words
from volkit.guidance.prediction import PREDICTIONS
from volkit.guidance.prior import Noised
from volkit.typing import Float, Tensor

__all__ = ["Extras", "PipelinePrior", "open_prior"]


@dataclass(frozen=True)
class Extras:
    """What is added to a pipeline: folders or files of a ControlNet, of LoRA weights, of an IP-Adapter."""

    control: str | Path | None = None
    lora: str | Path | None = None
    image_prompt: str | Path | None = None


@dataclass(frozen=True)
class PipelinePrior:
    """A frozen network with its words, its space of pictures and its noise schedule.

    The network runs in its own precision; what comes in and goes out keeps that of the pictures.
    """

    denoiser: Denoiser
    codec: Codec
    words: Words
    schedule: NoiseSchedule
    prediction: str = "epsilon"
    views: int = 1

    def encode(self, pictures: Float[Tensor, "view height width 3"]) -> Float[Tensor, "view channel row column"]:
        """Into the space of the network."""
        return self.codec.encode(pictures)

    def decode(self, x: Float[Tensor, "view channel row column"]) -> Float[Tensor, "view height width 3"]:
        """Back to pictures."""
        return self.codec.decode(x)

    def embed(self, texts: Sequence[str]) -> Condition:
        """What the network is told for these texts, a row each."""
        return self.words(texts)

    def eps(self, at: Noised, condition: Condition) -> Tensor:
        """The network's prediction, turned into ε."""
        dtype = self.denoiser.network.dtype
        told = condition.rows(len(at.x)).mapped(lambda member: member.to(at.x.device, dtype))
        output = self.denoiser(Noised(at.x.to(dtype), at.t), told).to(at.x.dtype)
        alpha, sigma = self.schedule.at(at.t, at.x)
        return PREDICTIONS[self.prediction].eps(output, at.x, alpha, sigma)


def open_prior(
    name: str | Path,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    extras: Extras | None = None,
    size: int | None = None,
) -> PipelinePrior:
    """Load a pipeline from a local folder or by hub name; `size` is that of its pictures if not the network's own.

    A network whose configuration says `"views": n` sees n neighbouring views jointly.
    """
    folder, device = open_folder(name), torch.device(device)
    kind = folder.index[folder.denoiser][1]
    if kind not in DENOISERS:
        raise ValueError(f"{folder.path}: cannot ask a {kind}; known are {', '.join(DENOISERS)}")
    schedule, prediction = _schedule(folder)
    network = _frozen(folder.load(folder.denoiser, dtype=dtype), device)
    config = folder.config(folder.denoiser)
    views = int(config.get("views", 1))
    control = _extended(network, extras or Extras(), device, dtype)
    if views > 1:
        attend_jointly(network, views)
    codec = _codec(folder, device, dtype, size or _native(config) * _downscale(folder))
    words = Words(folder, device, dtype)
    return PipelinePrior(DENOISERS[kind](network, control), codec, words, schedule.to(device), prediction, views)


def _frozen(network: Any, device: torch.device) -> Any:
    return network.to(device).eval().requires_grad_(False)


def _schedule(folder: Folder) -> tuple[NoiseSchedule, str]:
    """α, σ and the language of the predictions, from the scheduler's configuration."""
    config = folder.config("scheduler")
    if "FlowMatch" in folder.index["scheduler"][1]:
        return NoiseSchedule.rectified_flow(config["num_train_timesteps"]), "flow_prediction"
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in PREDICTIONS:
        raise ValueError(
            f"{folder.path}/scheduler: prediction type '{prediction}' is unknown; known are {', '.join(PREDICTIONS)}"
        )
    if prediction == "flow_prediction":
        return NoiseSchedule.rectified_flow(config["num_train_timesteps"]), prediction
    scheduler = library("diffusers").DDPMScheduler.from_config(config)
    return NoiseSchedule.of_cumulated(scheduler.alphas_cumprod), prediction


def _native(config: dict[str, Any]) -> int:
    """The side of what the network was trained on; Flux does not say, its pipeline does: 128."""
    return config.get("sample_size") or 128


def _downscale(folder: Folder) -> int:
    return 2 ** (len(folder.config("vae")["block_out_channels"]) - 1) if "vae" in folder.index else 1


def _codec(folder: Folder, device: torch.device, dtype: torch.dtype, size: int) -> Codec:
    if "vae" not in folder.index:
        return PixelCodec(size)
    # SDXL's autoencoder overflows in float16, and its configuration says so.
    wide = dtype == torch.float16 and folder.config("vae").get("force_upcast", False)
    return LatentCodec(_frozen(folder.load("vae", dtype=torch.float32 if wide else dtype), device), size)


def _extended(network: Any, extras: Extras, device: torch.device, dtype: torch.dtype) -> Any:
    """Load LoRA weights and an IP-Adapter into the network; the ControlNet, if there is one, is returned."""
    if extras.lora is not None:
        network.load_lora_adapter(_tensors(extras.lora), prefix=None)
        network.fuse_lora()
        network.unload_lora()
    if extras.image_prompt is not None:
        parts: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
        for name, tensor in _tensors(extras.image_prompt).items():
            part, rest = name.split(".", 1)
            parts[part][rest] = tensor
        network._load_ip_adapter_weights([parts])
        _frozen(network.to(dtype), device)
    if extras.control is None:
        return None
    return _frozen(library("diffusers").ControlNetModel.from_pretrained(extras.control, dtype=dtype), device)


def _tensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, without the name of the part that they belong to."""
    from safetensors.torch import load_file

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of weights; give a .safetensors file")
    return {name.removeprefix("unet.").removeprefix("transformer."): t for name, t in load_file(path).items()}
