"""What the toy prior learns: the velocity of noised pictures; and, for the latent one, an autoencoder before that."""

from dataclasses import dataclass, field
from typing import Any

import torch

from toy.networks import Model, Parts, autoencoder, noise_schedule, parts, tokenizer
from toy.pictures import held_out, shown
from volkit.guidance import NoiseSchedule
from volkit.guidance.pipeline.codec import Codec, LatentCodec, PixelCodec
from volkit.guidance.pipeline.prior import attend_jointly
from volkit.typing import Tensor

__all__ = ["Denoising", "Reconstruction"]

SEEDS = 1 << 24  # batches of one run; runs with other seeds never show the same
KL, EDGES = 1e-6, 1.0  # weights of a posterior's width and of differences between neighbouring pixels


@dataclass
class Denoising:
    """`E ‖f(α x + σ ε, t, words, numbers) - (α ε - σ x)‖²`, t uniform (Salimans and Ho 2022, v-prediction)."""

    model: Model
    codec: Codec
    seed: int = 0
    batch: int = 64
    parts: Parts = field(init=False)

    def __post_init__(self) -> None:
        torch.manual_seed(self.seed)
        self.parts = parts(self.model)
        self.parts.unet.to(memory_format=torch.channels_last)
        if self.model.views > 1:
            attend_jointly(self.parts.unet, self.model.views)
        self.schedule = NoiseSchedule.from_alphas_cumprod(noise_schedule().alphas_cumprod)
        self.tokens, self.never = tokenizer(), held_out()

    @property
    def modules(self) -> dict[str, torch.nn.Module]:
        """Both learn together."""
        return {"unet": self.parts.unet, "text_encoder": self.parts.text_encoder}

    def loss(self, step: int) -> Tensor:
        """Of the batch of a step."""
        batch = shown(self.model, self.batch, self.seed * SEEDS + step, self.never)
        generator = torch.Generator().manual_seed(self.seed * SEEDS + step)
        with torch.no_grad():
            clean = self.codec.encode(batch.pictures)
        noise = torch.randn(clean.shape, generator=generator)
        groups = self.batch // self.model.views
        t = torch.randint(len(self.schedule.alpha), (groups,), generator=generator).repeat_interleave(self.model.views)
        return (
            (self.predicted(clean, noise, t, batch.words, batch.numbers) - self.velocity(clean, noise, t))
            .square()
            .mean()
        )

    def velocity(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """`α ε - σ x`."""
        alpha, sigma = self.schedule.at(t, clean)
        return alpha * noise - sigma * clean

    def predicted(self, clean: Tensor, noise: Tensor, t: Tensor, words: list[str], numbers: Tensor) -> Tensor:
        """What the network says of the noised batch."""
        x = self.schedule.add_noise(clean, noise, t).contiguous(memory_format=torch.channels_last)
        ids = self.tokens(words, padding="max_length", return_tensors="pt").input_ids
        with torch.autocast("cpu", torch.bfloat16):
            told = self.parts.text_encoder(ids).last_hidden_state
            return self.parts.unet(x, t, told, class_labels=numbers).sample.float()


@dataclass
class Reconstruction:
    """An autoencoder: mean error of colours and of their steps from pixel to pixel, and a little of KL."""

    model: Model
    seed: int = 0
    batch: int = 8
    network: Any = field(init=False)

    def __post_init__(self) -> None:
        torch.manual_seed(self.seed)
        self.network = autoencoder()

    @property
    def modules(self) -> dict[str, torch.nn.Module]:
        """The one."""
        return {"vae": self.network}

    def loss(self, step: int) -> Tensor:
        """Of the batch of a step."""
        batch = shown(self.model, self.batch, (self.seed + 1) * SEEDS + step, held_out())
        x = PixelCodec(self.model.side).encode(batch.pictures)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = self.network.encode(x).latent_dist
            generator = torch.Generator().manual_seed(step)
            z = posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=generator)
            back = self.network.decode(z).sample.float()
        gap = back - x
        edges = sum(gap.diff(dim=axis).abs().mean() for axis in (2, 3))
        kl = 0.5 * (posterior.mean.float() ** 2 + posterior.var.float() - 1.0 - posterior.logvar.float()).mean()
        return gap.abs().mean() + EDGES * edges + KL * kl

    @torch.no_grad()
    def settle(self) -> LatentCodec:
        """Fix the scale so that latents have deviation 1, and give the way there."""
        codec = LatentCodec(self.network.eval().requires_grad_(False), self.model.side)
        self.network.register_to_config(scaling_factor=1.0)
        some = shown(self.model, 256, (self.seed + 2) * SEEDS, held_out()).pictures
        latents = codec.encode(some)
        self.network.register_to_config(shift_factor=float(latents.mean()), scaling_factor=float(1.0 / latents.std()))
        return codec
