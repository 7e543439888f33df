"""A pipeline of diffusers as a prior: whatever its network predicts, what comes out is ε."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from volkit.guidance.condition import Condition
from volkit.guidance.noise_schedule import PREDICTIONS, NoiseSchedule
from volkit.guidance.pipeline.additions import Additions, add_image_prompt, add_lora, control_network
from volkit.guidance.pipeline.codec import Codec, LatentCodec, PixelCodec
from volkit.guidance.pipeline.denoiser import DENOISERS, Denoiser, UnetDenoiser
from volkit.guidance.pipeline.folder import Folder, library, open_folder
from volkit.guidance.pipeline.text_embedder import TextEmbedder
from volkit.guidance.prior import Advice, Noised
from volkit.typing import Float, Tensor

__all__ = ["JointAttention", "PipelinePrior", "attend_jointly", "open_prior"]

ADVICE = Advice()


@dataclass(frozen=True)
class PipelinePrior:
    """A frozen network with its words, its space of pictures and its noise schedule.

    The network runs in its own precision; what comes in and goes out keeps that of the pictures.
    """

    denoiser: Denoiser
    codec: Codec
    embed_texts: TextEmbedder
    schedule: NoiseSchedule
    prediction: str = "epsilon"
    views: int = 1
    advice: Advice = ADVICE
    name: str = ""  # of its folder or on the hub

    @property
    def controlled(self) -> bool:
        """Whether it hears a control picture: a ControlNet was put on it."""
        return getattr(self.denoiser, "control", None) is not None

    @property
    def size(self) -> int:
        """Pixels a side of the pictures that it was taught."""
        return self.codec.size

    @property
    def bounded(self) -> bool:
        """Whether x̂0 is to be kept in [-1, 1], where pixels lie."""
        return self.advice.bounded and isinstance(self.codec, PixelCodec)

    def encode(self, pictures: Float[Tensor, "view height width 3"]) -> Float[Tensor, "view channel row column"]:
        """Into the space of the network."""
        return self.codec.encode(pictures)

    def decode(self, x: Float[Tensor, "view channel row column"]) -> Float[Tensor, "view height width 3"]:
        """Back to pictures."""
        return self.codec.decode(x)

    def embed(self, texts: Sequence[str]) -> Condition:
        """What the network is told for these texts, a row each."""
        return self.embed_texts(texts)

    def eps(self, at: Noised, condition: Condition) -> Tensor:
        """The network's prediction, turned into ε."""
        dtype = self.denoiser.network.dtype
        converted = condition.expand(len(at.x)).map(lambda member: member.to(at.x.device, dtype))
        output = self.denoiser(Noised(at.x.to(dtype), at.t), converted).to(at.x.dtype)
        alpha, sigma = self.schedule.at(at.t, at.x)
        return PREDICTIONS[self.prediction].eps(output, at.x, alpha, sigma)


def open_prior(
    name: str | Path,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    additions: Additions | None = None,
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
    denoiser = _extend(folder.load(folder.denoiser, dtype), additions or Additions(), dtype)
    for network in (denoiser.network, getattr(denoiser, "control", None)):
        if network is not None:
            _freeze(network, device)
    views = int(folder.config(folder.denoiser).get("views", 1))
    if views > 1:
        attend_jointly(denoiser.network, views)
    codec = _codec(folder, device, dtype, size)
    embed_texts, schedule = TextEmbedder(folder, device, dtype), schedule.to(device)
    return PipelinePrior(denoiser, codec, embed_texts, schedule, prediction, views, Advice.of(folder.path), str(name))


def _freeze(network: Any, device: torch.device) -> Any:
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
    return NoiseSchedule.from_alphas_cumprod(scheduler.alphas_cumprod), prediction


def _native_size(config: dict[str, Any]) -> int:
    """The side of what the network was trained on; Flux does not say, its pipeline does: 128."""
    return config.get("sample_size") or 128


def _codec(folder: Folder, device: torch.device, dtype: torch.dtype, size: int | None) -> Codec:
    """An autoencoder where there is one; else pixels, folded where a network takes a multiple of their channels."""
    config = folder.config(folder.denoiser)
    if "vae" not in folder.index:
        block = math.isqrt(config["in_channels"] // 3)
        return PixelCodec(size or block * _native_size(config), block)
    side = size or _native_size(config) * 2 ** (len(folder.config("vae")["block_out_channels"]) - 1)
    # SDXL's autoencoder overflows in float16, and its configuration says so.
    wide = dtype == torch.float16 and folder.config("vae").get("force_upcast", False)
    return LatentCodec(_freeze(folder.load("vae", torch.float32 if wide else dtype), device), side)


def _extend(network: Any, additions: Additions, dtype: torch.dtype) -> Denoiser:
    """The network with what is added to it, under its call."""
    kind = type(network).__name__
    if (additions.control or additions.image_prompt) and kind != "UNet2DConditionModel":
        raise ValueError(f"a ControlNet or an IP-Adapter goes on a UNet2DConditionModel, and this is a {kind}")
    if additions.lora:
        add_lora(network, additions.lora)
    if additions.image_prompt:
        add_image_prompt(network, additions.image_prompt)
        network.to(dtype)
    if additions.control:
        return UnetDenoiser(network, control_network(additions.control, dtype))
    return DENOISERS[kind](network)


@dataclass
class JointAttention:
    """Self-attention over several views at once (MVDream, arXiv 2308.16512): its tokens are those of `views`
    neighbouring rows of the batch, with the weights of one.
    """

    views: int
    within: Any  # the processor for a single picture

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Lay the views end to end, attend, cut them apart."""
        rows, tokens, width = hidden_states.shape
        joined = hidden_states.reshape(rows // self.views, self.views * tokens, width)
        return self.within(attn, joined, encoder_hidden_states, attention_mask).reshape(rows, tokens, width)


def attend_jointly(network: Any, views: int) -> None:
    """Make every self-attention of a UNet see `views` views."""
    processors = {
        name: JointAttention(views, processor) if ".attn1." in name else processor
        for name, processor in network.attn_processors.items()
    }
    network.set_attn_processor(processors)
