"""How splat files quantise: integer steps of an interval, bytes, quaternions by their three smallest components."""

import math
from collections.abc import Callable

import numpy as np
import torch

from volkit.geometry.spherical_harmonics import C0
from volkit.typing import Float, Int, Tensor, UInt8

__all__ = [
    "colour_from_sh_dc",
    "decode_smallest_three",
    "encode_smallest_three",
    "logits_from_bytes",
    "quantise",
    "quantise_in_blocks",
    "sh_dc_from_colour",
]  # fmt: skip

BLOCK_SPLATS = 4096  # whose harmonics stay in the cache
REMAINING_THREE = torch.tensor(
    [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
)  # the components that are kept when one of four is dropped


def quantise(unit: Float[Tensor, "*shape"], most: int) -> Float[Tensor, "*shape"]:
    """Round values in [0, 1] to integers from 0 to `most`."""
    return (unit * most).round_().clamp_(0, most)


def quantise_in_blocks(
    values: Float[Tensor, " splat *shape"], code: Callable[[Tensor], Tensor]
) -> UInt8[np.ndarray, "splat byte"]:
    """Apply `code` and round to bytes, a block of splats at a time."""
    parts = [code(part).to(torch.uint8).flatten(1) for part in values.split(BLOCK_SPLATS)]
    return torch.cat(parts).numpy()


def logits_from_bytes(opacities: UInt8[np.ndarray, " splat"]) -> Float[Tensor, " splat"]:
    """`logit(byte / 255)`; 0 and 255, where it is infinite, count as a quarter of a step from the end."""
    shares = torch.arange(256, dtype=torch.float64).clamp_(0.25, 254.75) / 255
    return torch.from_numpy(torch.logit(shares).float().numpy()[opacities])


def sh_dc_from_colour(colour: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The degree-0 harmonic of a display-referred colour: `(colour - 0.5) / C0`."""
    return (colour - 0.5) / C0


def colour_from_sh_dc(constant: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The display-referred colour of a degree-0 harmonic: `0.5 + C0 constant`."""
    return constant * C0 + 0.5


def encode_smallest_three(
    quaternions: Float[Tensor, "splat 4"],
) -> tuple[Int[Tensor, " splat"], Float[Tensor, "splat 3"]]:
    """Index of the largest component, and the other three times sqrt(2), in [-1, 1], for a positive largest."""
    unit = torch.nn.functional.normalize(quaternions, dim=-1)
    largest = unit.abs().argmax(-1)
    sign = torch.where(unit.gather(1, largest[:, None]) < 0, -math.sqrt(2), math.sqrt(2))
    return largest, unit.gather(1, REMAINING_THREE[largest]) * sign


def decode_smallest_three(largest: Int[Tensor, " splat"], three: Float[Tensor, "splat 3"]) -> Float[Tensor, "splat 4"]:
    """Unit quaternions from `encode_smallest_three`."""
    three = three / math.sqrt(2)
    quaternions = three.new_empty(len(three), 4)
    quaternions.scatter_(1, REMAINING_THREE[largest], three)
    return quaternions.scatter_(1, largest[:, None], (1.0 - three.square().sum(-1, keepdim=True)).clamp_min(0).sqrt())
