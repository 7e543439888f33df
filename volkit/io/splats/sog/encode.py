"""Page and pictures of version 2."""

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from volkit.files.errors import FormatError
from volkit.io.splats.columns import morton_order, opacities_of
from volkit.io.splats.quantised import coded, smallest_three
from volkit.io.splats.sog.codebook import palette, table
from volkit.io.splats.sog.container import MAX_WEBP_SIDE, webp
from volkit.io.splats.sog.decode import ABREAST, LARGEST_FIRST
from volkit.threads import thread_count
from volkit.version import __version__

__all__ = ["encoded"]

EFFORT = 60  # of WebP
MAX_PALETTE = 1 << 16  # rows of a palette
SHARE = 2  # splats to a row of it, at least


def encoded(
    path: Path, columns: dict[str, np.ndarray], model: str | None
) -> tuple[dict[str, Any], dict[str, bytes], np.ndarray]:
    """The page, pictures by name, and the splats' order, Morton's, so that neighbours are alike."""
    count = len(columns["means"])
    width = math.ceil(math.sqrt(count) / 4) * 4
    if not 0 < width <= MAX_WEBP_SIDE:
        raise FormatError(path, f"cannot hold {count} splats", f"1 to {MAX_WEBP_SIDE**2} are held")
    order = morton_order(columns["means"])
    columns = {name: column.take(order, 0) for name, column in columns.items()}
    means = columns["means"]
    logs = np.sign(means) * np.log1p(np.abs(means).astype(np.float64)).astype(np.float32)
    low, high = logs.min(0), logs.max(0)
    steps = coded((logs - low) / np.maximum(high - low, np.float32(1e-12)), 65535).astype(np.int32)
    scales, scale_numbers = table(columns["log_scales"])
    colours, colour_numbers = table(columns["sh_dc"][:, 0])
    opacity = coded(opacities_of(columns["logits"]), 255)
    largest, three = smallest_three(columns["quaternions"])
    texels = {
        "means_l": steps & 255,
        "means_u": steps >> 8,
        "quats": np.concatenate([coded(three * 0.5 + 0.5, 255), largest[:, None] + float(LARGEST_FIRST)], 1),
        "scales": scale_numbers,
        "sh0": np.concatenate([colour_numbers, opacity[:, None]], 1),
    }
    meta: dict[str, Any] = {"version": 2, "asset": {"generator": f"volkit {__version__}"}, "count": count}
    meta |= {"model": model} if model else {}
    meta |= {
        "means": {"mins": low.tolist(), "maxs": high.tolist(), "files": _files("means_l", "means_u")},
        "scales": {"codebook": scales.tolist(), "files": _files("scales")},
        "quats": {"files": _files("quats")},
        "sh0": {"codebook": colours.tolist(), "files": _files("sh0")},
    }
    pictures = {name: _picture(texel, width) for name, texel in texels.items()}
    if columns["sh_rest"].shape[1]:
        meta["shN"], more = _harmonics(columns["sh_rest"], width)
        pictures |= more
    with ThreadPoolExecutor(thread_count()) as pool:
        files = pool.map(lambda pixels: webp(pixels, EFFORT), pictures.values())
        return meta, {f"{name}.webp": data for name, data in zip(pictures, files, strict=True)}, order


def _harmonics(rest: np.ndarray, width: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A palette of rows, in numbers of one table, and the number of its row for each splat."""
    count, basis, _ = rest.shape
    size = min(MAX_PALETTE, max(ABREAST, count // SHARE // ABREAST * ABREAST))
    rows, labels = palette(rest.reshape(count, -1), size, np.random.default_rng(0))
    # Rows that are alike stand together: their pictures are smaller.
    order = np.linalg.norm(rows, axis=1).argsort(kind="stable")
    rows, labels = rows[order], order.argsort()[labels]
    numbers, texels = table(rows)
    filled = -(-len(rows) // ABREAST) * ABREAST
    grid = np.zeros((filled, basis, 3), np.uint8)
    grid[: len(rows)] = texels.reshape(-1, basis, 3)
    split = np.stack([labels & 255, labels >> 8, np.zeros_like(labels)], 1)
    about = {"count": len(rows), "bands": math.isqrt(basis + 1) - 1, "codebook": numbers.tolist(),
             "files": _files("shN_centroids", "shN_labels")}  # fmt: skip
    pictures = {"shN_centroids": _picture(grid.reshape(-1, 3), ABREAST * basis), "shN_labels": _picture(split, width)}
    return about, pictures


def _files(*names: str) -> list[str]:
    return [f"{name}.webp" for name in names]


def _picture(texels: np.ndarray, width: int) -> np.ndarray:
    """Rows of so many texels, RGBA uint8; opaque where they have three numbers."""
    height = -(-len(texels) // width)
    height = -(-height // 4) * 4
    pixels = np.zeros((height * width, 4), np.uint8)
    pixels[:, 3] = 255
    pixels[: len(texels), : texels.shape[1]] = texels
    return pixels.reshape(height, width, 4)
