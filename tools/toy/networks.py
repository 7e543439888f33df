"""The networks of the toy prior, and their words."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from toy.grammar import VOCABULARY

__all__ = ["MODELS", "Model", "Parts", "autoencoder", "noise_schedule", "parts", "tokenizer"]

SPECIAL = ("<pad>", "<start>", "<end>", "<unknown>")
LONGEST = 16  # tokens; the longest caption, two sized solids and a side, has exactly so many
WORD_WIDTH = 64


@dataclass(frozen=True)
class Model:
    """What a prior looks at: pictures of `side` pixels, folded `block` by `block` or encoded, `views` at once."""

    side: int
    block: int = 1
    latent: bool = False
    views: int = 1
    start: str = ""  # the model whose weights it begins with


MODELS: dict[str, Model] = {
    "pixels32": Model(32, block=2),
    "pixels64": Model(64, block=4, start="pixels32"),
    "latent": Model(64, latent=True, start="pixels32"),
    "views4": Model(32, block=2, views=4, start="pixels32"),
}
LATENT_CHANNELS, LOG_VARIANCE = 4, -8.0  # of the latents' noise when learning begins


@dataclass
class Parts:
    """All that is learned together."""

    unet: Any
    text_encoder: Any

    def load(self, folder: Path) -> None:
        """Begin with the weights of another prior, but for layers that see other channels than its own."""
        _take(self.unet, UNet2DConditionModel.from_pretrained(folder / "unet"))
        _take(self.text_encoder, CLIPTextModel.from_pretrained(folder / "text_encoder"))


def _take(into: Any, other: Any) -> None:
    own = into.state_dict()
    into.load_state_dict({n: w for n, w in other.state_dict().items() if w.shape == own[n].shape}, strict=False)


def parts(model: Model) -> Parts:
    """With random weights."""
    return Parts(unet(model), text_encoder())


def unet(model: Model) -> Any:
    """Three levels, 16x16, 8x8 and 4x4, of 64 channels; words are read at 8x8 and 4x4, where that is cheap.

    16x16 is where a picture of 32x32 folded two by two, one of 64x64 folded four by four, and a latent lie.
    """
    channels = LATENT_CHANNELS if model.latent else 3 * model.block**2
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(64, 64, 64),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        mid_block_type=None,
        cross_attention_dim=WORD_WIDTH,
        attention_head_dim=2,  # which is the number of heads
        time_embedding_dim=128,
        class_embed_type="projection",
        projection_class_embeddings_input_dim=16,
    )


def text_encoder() -> Any:
    """Two layers of CLIP's text model."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(SPECIAL) + len(VOCABULARY),
            hidden_size=WORD_WIDTH,
            intermediate_size=2 * WORD_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=LONGEST,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )


def tokenizer() -> PreTrainedTokenizerFast:
    """A number a word; other words are <unknown>, which is nothing else's name, so that they can be refused."""
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate((*SPECIAL, *VOCABULARY))}, unk_token="<unknown>"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("<start>", 1), ("<end>", 2)]
    words.post_processor = processors.TemplateProcessing(single="<start> $A <end>", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        model_max_length=LONGEST,
        pad_token="<pad>",
        bos_token="<start>",
        eos_token="<end>",
        unk_token="<unknown>",
    )


def autoencoder() -> Any:
    """64x64 to 16x16 of four channels.

    Norms are over all channels and not over pairs of them, which would take a plain ground's colour away. Latents begin
    with little noise: that of the default would drown three of the four.
    """
    network = AutoencoderKL(
        block_out_channels=(16, 32, 48),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=1,
        sample_size=64,
        mid_block_add_attention=False,
    )
    torch.nn.init.zeros_(network.quant_conv.weight[LATENT_CHANNELS:].detach())
    torch.nn.init.constant_(network.quant_conv.bias[LATENT_CHANNELS:].detach(), LOG_VARIANCE)
    return network


def noise_schedule() -> Any:
    """A squared cosine, v-prediction (Nichol and Dhariwal 2021; Salimans and Ho 2022)."""
    return DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", clip_sample=False)
