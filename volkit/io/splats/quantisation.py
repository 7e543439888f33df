"""How splat files quantise: integer steps of an interval, bytes, quaternions by their three smallest components."""

import math
from collections.abc import Callable

import numpy as np

from volkit.geometry.spherical_harmonics import C0
from volkit.io.splats.columns import map_blocks, normalise_quaternions
from volkit.typing import Float, Int, UInt8

__all__ = [
    "colour_from_sh_dc",
    "decode_smallest_three",
    "encode_smallest_three",
    "logits_from_bytes",
    "quantise",
    "quantise_in_blocks",
    "sh_dc_from_colour",
]

# The components that are kept when one of four is dropped.
REMAINING_THREE = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])
ROOT2 = np.float32(math.sqrt(2))


def quantise(unit: Float[np.ndarray, "*shape"], most: int) -> Float[np.ndarray, "*shape"]:
    """Round values in [0, 1] to integers from 0 to `most`."""
    return np.rint(unit * most).clip(0, most)


def quantise_in_blocks(
    values: Float[np.ndarray, " splat *shape"], code: Callable[[np.ndarray], np.ndarray]
) -> UInt8[np.ndarray, "splat byte"]:
    """Apply `code` and round to bytes, a block of splats at a time."""
    width = math.prod(values.shape[1:])
    make = lambda rows: code(values[rows]).astype(np.uint8).reshape(-1, width)  # noqa: E731
    return np.concatenate(list(map_blocks(len(values), make))) if width else np.empty((len(values), 0), np.uint8)


def logits_from_bytes(opacities: UInt8[np.ndarray, " splat"]) -> Float[np.ndarray, " splat"]:
    """`logit(byte / 255)`; 0 and 255, where it is infinite, count as a quarter of a step from the end."""
    shares = np.arange(256.0).clip(0.25, 254.75) / 255
    return np.log(shares / (1 - shares)).astype(np.float32)[opacities]


def sh_dc_from_colour(colour: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """The degree-0 harmonic of a display-referred colour: `(colour - 0.5) / C0`."""
    return (colour - 0.5) / C0


def colour_from_sh_dc(constant: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """The display-referred colour of a degree-0 harmonic: `0.5 + C0 constant`."""
    return constant * C0 + 0.5


def encode_smallest_three(
    quaternions: Float[np.ndarray, "splat 4"],
) -> tuple[Int[np.ndarray, " splat"], Float[np.ndarray, "splat 3"]]:
    """Index of the largest component, and the other three times sqrt(2), in [-1, 1], for a positive largest."""
    unit = normalise_quaternions(quaternions)
    largest = np.abs(unit).argmax(-1)
    sign = np.where(np.take_along_axis(unit, largest[:, None], 1) < 0, -ROOT2, ROOT2)
    return largest, np.take_along_axis(unit, REMAINING_THREE[largest], 1) * sign


def decode_smallest_three(
    largest: Int[np.ndarray, " splat"], three: Float[np.ndarray, "splat 3"]
) -> Float[np.ndarray, "splat 4"]:
    """Unit quaternions from `encode_smallest_three`."""
    three = three / ROOT2
    quaternions = np.empty((len(three), 4), three.dtype)
    np.put_along_axis(quaternions, REMAINING_THREE[largest], three, 1)
    root = np.sqrt(np.maximum(1 - np.square(three).sum(-1, keepdims=True), 0))
    np.put_along_axis(quaternions, largest[:, None], root, 1)
    return quaternions
