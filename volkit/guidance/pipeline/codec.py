"""Between pictures and the space where a network knows noise; both ways differentiable."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.nn.functional import interpolate, pixel_shuffle, pixel_unshuffle
from torch.utils.checkpoint import checkpoint

from volkit.typing import Float, Tensor

__all__ = ["Codec", "LatentCodec", "PixelCodec"]

CHECKPOINTED_SIZE = 256  # pixels a side from which what an encoder remembers of several pictures would fill the memory


class Codec(Protocol):
    """Encodes and decodes square pictures of one size."""

    @property
    def size(self) -> int:
        """Pixels a side."""
        ...

    def encode(self, pictures: Float[Tensor, "view height width 3"]) -> Float[Tensor, "view channel row column"]:
        """From display-referred pictures."""
        ...

    def decode(self, x: Float[Tensor, "view channel row column"]) -> Float[Tensor, "view height width 3"]:
        """Back to them."""
        ...


@dataclass(frozen=True)
class PixelCodec:
    """`x = 2 p - 1`, channels first, at the network's own size; blocks of pixels lie behind each other as channels.

    A fold is a permutation, so white noise stays white noise (Shi et al. 2016 of the way back, `pixel_shuffle`).
    """

    size: int
    block: int = 1

    def encode(self, pictures: Float[Tensor, "view height width 3"]) -> Float[Tensor, "view channel row column"]:
        """Resize, centre, fold."""
        return pixel_unshuffle(2.0 * _resize(pictures.movedim(-1, 1), self.size) - 1.0, self.block)

    def decode(self, x: Float[Tensor, "view channel row column"]) -> Float[Tensor, "view height width 3"]:
        """Back to [0, 1]."""
        return (0.5 * (pixel_shuffle(x, self.block) + 1.0)).movedim(1, -1)


@dataclass(frozen=True)
class LatentCodec:
    """`x = (E(2 p - 1) - shift) scale`: the mean of an `AutoencoderKL`'s posterior (Rombach et al. 2022).

    Without its noise, a step is a function of the pictures. `scale` and `shift` are the autoencoder's own. Large
    pictures are encoded one by one, and once more on the way back: 3 GiB for 512 pixels however many views there are.
    """

    autoencoder: Any
    size: int

    def encode(self, pictures: Float[Tensor, "view height width 3"]) -> Float[Tensor, "view channel row column"]:
        """Resize, centre, encode."""
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
