"""How splat files make numbers small: whole steps of an interval, bytes, the three smallest of four."""

import math
from collections.abc import Callable

import numpy as np

from volkit.geometry.spherical_harmonics import C0
from volkit.io.splats.chunked import in_blocks
from volkit.io.splats.columns import unit_quaternions
from volkit.typing import Float, Int, UInt8

__all__ = ["by_blocks", "coded", "colour_of_constant", "constant_of_colour", "from_smallest_three", "logits_of_bytes",
           "smallest_three"]  # fmt: skip

OTHERS = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])  # what is kept when one of four is left out
ROOT2 = np.float32(math.sqrt(2))


def coded(unit: Float[np.ndarray, "*shape"], most: int) -> Float[np.ndarray, "*shape"]:
    """Shares of 1 as the nearest whole numbers of 0 to `most`."""
    return np.rint(unit * most).clip(0, most)


def by_blocks(
    values: Float[np.ndarray, " splat *shape"], code: Callable[[np.ndarray], np.ndarray]
) -> UInt8[np.ndarray, "splat byte"]:
    """What `code` makes of values, as bytes: so many splats at a time as stay in the cache on the way."""
    width = math.prod(values.shape[1:])
    make = lambda rows: code(values[rows]).astype(np.uint8).reshape(-1, width)  # noqa: E731
    return np.concatenate(list(in_blocks(len(values), make))) if width else np.empty((len(values), 0), np.uint8)


def logits_of_bytes(opacities: UInt8[np.ndarray, " splat"]) -> Float[np.ndarray, " splat"]:
    """`logit(byte / 255)`; of 0 and 255, where it is infinite, that of a quarter of a step from the end."""
    shares = np.arange(256.0).clip(0.25, 254.75) / 255
    return np.log(shares / (1 - shares)).astype(np.float32)[opacities]


def constant_of_colour(colour: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """The harmonics' constant of a display-referred colour: `(colour - 0.5) / C0`."""
    return (colour - 0.5) / C0


def colour_of_constant(constant: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """`0.5 + C0 constant`."""
    return constant * C0 + 0.5


def smallest_three(
    quaternions: Float[np.ndarray, "splat 4"],
) -> tuple[Int[np.ndarray, " splat"], Float[np.ndarray, "splat 3"]]:
    """Which of the four is largest, and the others times sqrt(2), in [-1, 1], of the sign that makes it positive."""
    unit = unit_quaternions(quaternions)
    largest = np.abs(unit).argmax(-1)
    sign = np.where(np.take_along_axis(unit, largest[:, None], 1) < 0, -ROOT2, ROOT2)
    return largest, np.take_along_axis(unit, OTHERS[largest], 1) * sign


def from_smallest_three(
    largest: Int[np.ndarray, " splat"], three: Float[np.ndarray, "splat 3"]
) -> Float[np.ndarray, "splat 4"]:
    """Unit quaternions back."""
    three = three / ROOT2
    quaternions = np.empty((len(three), 4), three.dtype)
    np.put_along_axis(quaternions, OTHERS[largest], three, 1)
    root = np.sqrt(np.maximum(1 - np.square(three).sum(-1, keepdims=True), 0))
    np.put_along_axis(quaternions, largest[:, None], root, 1)
    return quaternions
