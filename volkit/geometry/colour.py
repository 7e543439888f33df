"""Display-referred sRGB and linear light (IEC 61966-2-1), as tensors and as arrays."""

from typing import TYPE_CHECKING

import numpy as np

from volkit.typing import Float

if TYPE_CHECKING:  # arrays need no torch
    from volkit.typing import Tensor

__all__ = [
    "array_linear_from_srgb",
    "array_srgb_from_linear",
    "bytes_from_linear",
    "linear_from_bytes",
    "linear_from_srgb",
    "srgb_from_linear",
]


def linear_from_srgb(coded: "Float[Tensor, '*any']") -> "Float[Tensor, '*any']":
    """Linear light of display-referred sRGB; differentiable everywhere."""
    import torch

    low = coded / 12.92
    return torch.where(coded <= 0.04045, low, ((coded.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(linear: "Float[Tensor, '*any']") -> "Float[Tensor, '*any']":
    """Display-referred sRGB of linear light; differentiable everywhere."""
    import torch

    low = linear * 12.92
    return torch.where(linear <= 0.0031308, low, 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)


def array_linear_from_srgb(coded: np.ndarray) -> np.ndarray:
    """Linear light of display-referred sRGB, clamped to [0, 1]."""
    coded = np.clip(coded, 0.0, 1.0)
    return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)


def array_srgb_from_linear(linear: np.ndarray) -> np.ndarray:
    """Display-referred sRGB of linear light, clamped to [0, 1]."""
    linear = np.clip(linear, 0.0, 1.0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def bytes_from_linear(light: np.ndarray) -> np.ndarray:
    """Linear colours and alpha `[..., 4]` as sRGB bytes."""
    coded = np.concatenate([array_srgb_from_linear(light[..., :3]), light[..., 3:].clip(0.0, 1.0)], -1)
    return (255.0 * coded).round().astype(np.uint8)


def linear_from_bytes(rgba: np.ndarray) -> np.ndarray:
    """sRGB bytes and alpha `[..., 4]` as linear colours and alpha in [0, 1]."""
    values = rgba / 255.0
    return np.concatenate([array_linear_from_srgb(values[..., :3]), values[..., 3:]], -1)
