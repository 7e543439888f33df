"""A pipeline of diffusers as a prior: whatever its network predicts, `eps` is ε."""

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
from volkit.guidance.prior import Noised, PriorDefaults
from volkit.typing import Float, Tensor

__all__ = ["JointAttention", "PipelinePrior", "attend_jointly", "open_prior"]

DEFAULTS = PriorDefaults()


@dataclass(frozen=True)
class PipelinePrior:
    """A frozen network with its text encoders, codec and noise schedule.

    The network runs in its own precision; inputs and outputs have that of the pictures.
    """

    denoiser: Denoiser
    codec: Codec
    embed_texts: TextEmbedder
    schedule: NoiseSchedule
    prediction: str = "epsilon"
    views: int = 1
    defaults: PriorDefaults = DEFAULTS
    name: str = ""  # of its folder or on the hub

    @property
    def controlled(self) -> bool:
        """Whether it takes a control picture: a ControlNet was added."""
        return getattr(self.denoiser, "control", None) is not None

    @property
    def size(self) -> int:
        """Pixels a side of the pictures that it was trained on."""
        return self.codec.size

    @property
    def bounded(self) -> bool:
        """Whether x̂0 is clamped to [-1, 1], the range of pixels."""
        return self.defaults.bounded and isinstance(self.codec, PixelCodec)

    def encode(self, pictures: Float[Tensor, "view height width 3"]) -> Float[Tensor, "view channel row column"]:
        """Pictures to the space of the network."""
        return self.codec.encode(pictures)

    def decode(self, x: Float[Tensor, "view channel row column"]) -> Float[Tensor, "view height width 3"]:
        """The space of the network to pictures."""
        return self.codec.decode(x)

    def embed(self, texts: Sequence[str]) -> Condition:
        """The condition of these texts, a row for each."""
        return self.embed_texts(texts)

    def eps(self, at: Noised, condition: Condition) -> Tensor:
        """The network's prediction, converted to ε."""
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
    """Load a pipeline from a local folder or by its name on the hub.

    A network whose configuration has `"views": n` attends to n neighbouring views jointly.

    Args:
        name: folder or hub name.
        device: of the network.
        dtype: of the network's weights.
        additions: LoRA weights, ControlNet, IP-Adapter.
        size: pixels a side of its pictures; None: the network's own.

    Raises:
        FileNotFoundError: there is no such pipeline, or a part of it is missing.
        ValueError: an unknown network, scheduler or addition.
    """
    folder, device = open_folder(name), torch.device(device)
    kind = folder.index[folder.denoiser][1]
    if kind not in DENOISERS:
        raise ValueError(f"{folder.path}: cannot use a {kind}; known are {', '.join(DENOISERS)}")
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
    defaults = PriorDefaults.of(folder.path)
    return PipelinePrior(denoiser, codec, embed_texts, schedule, prediction, views, defaults, str(name))


def _freeze(network: Any, device: torch.device) -> Any:
    return network.to(device).eval().requires_grad_(False)


def _schedule(folder: Folder) -> tuple[NoiseSchedule, str]:
    """The noise schedule and the kind of prediction, from the scheduler's configuration."""
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
    """The side of the network's training inputs; 128 for Flux, whose configuration lacks it."""
    return config.get("sample_size") or 128


def _codec(folder: Folder, device: torch.device, dtype: torch.dtype, size: int | None) -> Codec:
    """The autoencoder if there is one; else pixels, in blocks where the network takes a multiple of 3 channels."""
    config = folder.config(folder.denoiser)
    if "vae" not in folder.index:
        block = math.isqrt(config["in_channels"] // 3)
        return PixelCodec(size or block * _native_size(config), block)
    side = size or _native_size(config) * 2 ** (len(folder.config("vae")["block_out_channels"]) - 1)
    # SDXL's autoencoder overflows in float16, and its configuration says so.
    wide = dtype == torch.float16 and folder.config("vae").get("force_upcast", False)
    return LatentCodec(_freeze(folder.load("vae", torch.float32 if wide else dtype), device), side)


def _extend(network: Any, additions: Additions, dtype: torch.dtype) -> Denoiser:
    """The network with its additions, as a denoiser."""
    kind = type(network).__name__
    if (additions.control or additions.image_prompt) and kind != "UNet2DConditionModel":
        raise ValueError(f"a ControlNet or an IP-Adapter needs a UNet2DConditionModel, and this is a {kind}")
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
    """Self-attention over the tokens of `views` neighbouring rows of a batch (MVDream, arXiv 2308.16512)."""

    views: int
    within: Any  # the processor for a single picture

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Concatenate the tokens of views, attend, and split them again."""
        rows, tokens, width = hidden_states.shape
        joined = hidden_states.reshape(rows // self.views, self.views * tokens, width)
        return self.within(attn, joined, encoder_hidden_states, attention_mask).reshape(rows, tokens, width)


def attend_jointly(network: Any, views: int) -> None:
    """Make every self-attention of a UNet attend to `views` views jointly."""
    processors = {
        name: JointAttention(views, processor) if ".attn1." in name else processor
        for name, processor in network.attn_processors.items()
    }
    network.set_attn_processor(processors)
