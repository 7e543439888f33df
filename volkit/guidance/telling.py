"""Languages in which a prior is told from where a picture was taken, and on which ground."""

from collections.abc import Callable

import torch

from volkit.geometry import Cameras
from volkit.guidance.prompts import angles, camera_numbers
from volkit.typing import Float, Tensor

__all__ = ["CAMERA_ENCODINGS", "circle_numbers"]

HARMONICS = 3


def circle_numbers(
    cameras: Cameras, background: Float[Tensor, "3"] | Float[Tensor, "camera 3"]
) -> Float[Tensor, "camera 16"]:
    """`1, 2 b - 1 (3), 4 log₂ w, sin ka, cos ka (k = 1 ... 3), sin e, cos e, sin 2e, cos 2e, cos a cos e`.

    Cameras look at the origin with +Z up, from azimuth a and elevation e (`angles`); b is the background's colour; w
    is half the width that is seen at the origin's distance.
    All sixteen are zero for a prior that is told nothing.
    """
    azimuth, elevation = angles(cameras)
    half = cameras.centres.norm(dim=-1) * 0.5 * cameras.size[:, 0] / cameras.intrinsics[:, 0]
    ground = 2.0 * background.to(half).expand(len(cameras), 3) - 1.0
    turns = [wave(k * azimuth) for k in range(1, HARMONICS + 1) for wave in (torch.sin, torch.cos)]
    tilts = [wave(k * elevation) for k in (1, 2) for wave in (torch.sin, torch.cos)]
    facing = azimuth.cos() * elevation.cos()
    return torch.stack([torch.ones_like(half), *ground.unbind(-1), 4.0 * half.log2(), *turns, *tilts, facing], -1)


def _pose(cameras: Cameras, background: Tensor) -> Float[Tensor, "camera 16"]:
    del background
    return camera_numbers(cameras)


def _silent(cameras: Cameras, background: Tensor) -> Float[Tensor, "camera 16"]:
    del background
    return cameras.intrinsics.new_zeros(len(cameras), 16)


# By the name that a prior's folder gives to the meaning of its numbers.
CAMERA_ENCODINGS: dict[str, Callable[[Cameras, Tensor], Float[Tensor, "camera 16"]]] = {
    "pose": _pose,
    "circle": circle_numbers,
    "silent": _silent,
}
