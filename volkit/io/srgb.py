"""Display-referred sRGB and linear light (IEC 61966-2-1), for doors behind which colours are linear."""

import numpy as np

__all__ = ["linear_from_srgb", "srgb_from_linear"]


def srgb_from_linear(linear: np.ndarray) -> np.ndarray:
    """Display-referred sRGB of linear light, both in [0, 1]."""
    linear = np.clip(linear, 0.0, 1.0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def linear_from_srgb(coded: np.ndarray) -> np.ndarray:
    """Linear light of display-referred sRGB, both in [0, 1]."""
    coded = np.clip(coded, 0.0, 1.0)
    return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
