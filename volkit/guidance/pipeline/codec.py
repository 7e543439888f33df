"""Codecs between pictures and the space of a network; both directions are differentiable."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.nn.functional import interpolate, pixel_shuffle, pixel_unshuffle
from torch.utils.checkpoint import checkpoint

from volkit.typing import Float, Tensor

__all__ = ["Codec", "LatentCodec", "PixelCodec"]

CHECKPOINTED_SIZE = 256  # pixels a side from which the activations of several pictures would fill the memory


class Codec(Protocol):
    """Encodes and decodes square pictures of one size."""

    @property
    def size(self) -> int:
        """Pixels a side."""
        ...

    def encode(self, pictures: Float[Tensor, "view height width 3"]) -> Float[Tensor, "view channel row column"]:
        """Encode display-referred pictures."""
        ...

    def decode(self, x: Float[Tensor, "view channel row column"]) -> Float[Tensor, "view height width 3"]:
        """Decode to display-referred pictures."""
        ...


@dataclass(frozen=True)
class PixelCodec:
    """`x = 2 p - 1`, channels first, at the network's own size; blocks of pixels become channels (`pixel_unshuffle`).

    This is a permutation, so that white noise stays white noise (Shi et al. 2016 for the inverse, `pixel_shuffle`).
    """

    size: int
    block: int = 1

    def encode(self, pictures: Float[Tensor, "view height width 3"]) -> Float[Tensor, "view channel row column"]:
        """Resize, scale to [-1, 1], move blocks to channels."""
        return pixel_unshuffle(2.0 * _resize(pictures.movedim(-1, 1), self.size) - 1.0, self.block)

    def decode(self, x: Float[Tensor, "view channel row column"]) -> Float[Tensor, "view height width 3"]:
        """The inverse, to [0, 1]."""
        return (0.5 * (pixel_shuffle(x, self.block) + 1.0)).movedim(1, -1)


@dataclass(frozen=True)
class LatentCodec:
    """`x = (E(2 p - 1) - shift) scale`: the mean of an `AutoencoderKL`'s posterior (Rombach et al. 2022).

    Without the noise of the posterior, a step is a function of the pictures. `scale` and `shift` are the autoencoder's
    own. Large pictures are encoded one by one, and again in the backward pass: 3 GiB for 512 pixels and any number of
    views.
    """

    autoencoder: Any
    size: int

    def encode(self, pictures: Float[Tensor, "view height width 3"]) -> Float[Tensor, "view channel row column"]:
        """Resize, scale to [-1, 1], encode."""
        centred = 2.0 * _resize(pictures.movedim(-1, 1), self.size) - 1.0
        centred = centred.to(self.autoencoder.dtype)
        if self.size < CHECKPOINTED_SIZE:
            mean = self._mean(centred).to(pictures.dtype)
        else:
            one_by_one = [checkpoint(self._mean, picture, use_reentrant=False) for picture in centred.split(1)]
            mean = torch.cat(one_by_one).to(pictures.dtype)
        return (mean - self._shift) * self.autoencoder.config.scaling_factor

    def decode(self, x: Float[Tensor, "view channel row column"]) -> Float[Tensor, "view height width 3"]:
        """Decode to [0, 1]."""
        latent = x / self.autoencoder.config.scaling_factor + self._shift
        decoded = self.autoencoder.decode(latent.to(self.autoencoder.dtype)).sample.to(x.dtype)
        return (0.5 * (decoded + 1.0)).movedim(1, -1)

    def _mean(self, centred: Tensor) -> Tensor:
        return self.autoencoder.encode(centred).latent_dist.mean

    @property
    def _shift(self) -> float:
        return self.autoencoder.config.shift_factor or 0.0


def _resize(x: Float[Tensor, "view 3 height width"], size: int) -> Tensor:
    if x.shape[-2:] == torch.Size((size, size)):
        return x
    return interpolate(x, (size, size), mode="bilinear", align_corners=False, antialias=True)
