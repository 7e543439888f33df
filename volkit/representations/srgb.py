"""Display-referred sRGB and linear light as tensors (IEC 61966-2-1), differentiable everywhere."""

import torch

from volkit.typing import Float, Tensor

__all__ = ["linear_from_srgb", "srgb_from_linear"]


def linear_from_srgb(coded: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Linear light of display-referred sRGB."""
    low = coded / 12.92
    return torch.where(coded <= 0.04045, low, ((coded.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(linear: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Display-referred sRGB of linear light."""
    low = linear * 12.92
    return torch.where(linear <= 0.0031308, low, 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)
