"""Resizing by exact area average of premultiplied colour."""

import numpy as np
import torch

from volkit.typing import Tensor, UInt8

__all__ = ["area_average"]


def area_average(pixels: np.ndarray, size: tuple[int, int] | None = None) -> UInt8[Tensor, "height width channel"]:
    """Average straight-alpha pixels over the area that each new pixel covers, and round to 8 bits.

    `pixels` is [height, width, 3 or 4], 8-bit, or float in [0, 1]; `size` is (width, height), None keeps it.
    Colour is weighted by alpha and divided by it afterwards, so what lies under transparent pixels never shows.
    """
    height, width = pixels.shape[:2]
    if size is None or size == (width, height):
        eight = pixels if pixels.dtype == np.uint8 else _rounded(pixels * np.float32(255))
        return torch.from_numpy(np.array(eight, order="C"))
    scale = np.float32(1 if pixels.dtype == np.uint8 else 255)
    values = pixels.astype(np.float32) * scale
    if values.shape[2] == 4:
        values[..., :3] *= values[..., 3:] / np.float32(255)
    values = _averaged(_averaged(values, size[1]).swapaxes(0, 1), size[0]).swapaxes(0, 1)
    if values.shape[2] == 4:
        values[..., :3] /= np.maximum(values[..., 3:] / np.float32(255), np.float32(1e-6))
    return torch.from_numpy(np.ascontiguousarray(_rounded(values)))


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.clip(values + np.float32(0.5), 0, 255).astype(np.uint8)


def _averaged(values: np.ndarray, count: int) -> np.ndarray:
    """Average axis 0 into `count` equal intervals."""
    length = values.shape[0]
    if length % count == 0:
        return values.reshape(count, length // count, *values.shape[1:]).mean(1)
    edges = np.arange(count + 1) * (length / count)
    low, high = edges[:-1, None], edges[1:, None]
    cell = np.arange(length)[None]
    weights = np.clip(np.minimum(high, cell + 1) - np.maximum(low, cell), 0, None) * (count / length)
    return np.einsum("ol,lwc->owc", weights.astype(np.float32), values, optimize=True)
