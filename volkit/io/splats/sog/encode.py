"""`meta.json` and images of a SOG of version 2; codebooks by k-means, in two stages for harmonics."""

import math
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from volkit.files.errors import FormatError
from volkit.io.splats.columns import map_blocks, morton_order, sigmoid_opacities
from volkit.io.splats.quantisation import encode_smallest_three, quantise
from volkit.io.splats.sog.decode import LARGEST_BASE, MAX_PALETTE, MAX_WEBP_SIDE, PALETTE_LINE_ROWS
from volkit.threads import thread_count
from volkit.typing import Float, Int
from volkit.version import __version__

__all__ = ["build_codebook", "build_palette", "encode"]


CODEBOOK_SIZE = 256  # entries
MAX_SAMPLE = 1 << 18  # values that a codebook is fitted to
CODEBOOK_ROUNDS = 50  # each costs 255 binary searches in the sorted sample
START_CELLS, FINE_CELLS = 64, 1024  # histogram cells for the initial codebook
GROUP_ROUNDS, WITHIN_ROUNDS = 8, 10
ROWS_PER_BLOCK = 1 << 12  # rows whose distances to all centres are in memory at a time

Values = Float[np.ndarray, " value"]
Centres = Float[np.ndarray, "256"]
Cells = tuple[np.ndarray, np.ndarray]  # edges, and how many values are between two of them

WEBP_EFFORT = 60  # of 100
SPLATS_PER_PALETTE_ROW = 2  # at least


def build_codebook(values: Float[np.ndarray, "*shape"]) -> tuple[Centres, Int[np.ndarray, "*shape"]]:
    """A codebook of 256 ascending numbers with a small mean square error, and the index of each value (Lloyd 1982)."""
    flat = values.reshape(-1)
    sample = np.sort(flat[:: max(1, len(flat) // MAX_SAMPLE)].astype(np.float64))
    sums = np.concatenate([[0.0], sample.cumsum()])
    found = [_lloyd_sorted(sample, sums, _initial_codebook(cells)) for cells in _cells(sample)]
    best = min(found, key=lambda centres: _squared_error(sample, centres)).astype(values.dtype)
    ends = np.float32(0.5) * (best[1:] + best[:-1])
    numbers = map_blocks(len(flat), lambda rows: np.searchsorted(ends, flat[rows]).astype(np.uint8))
    return best, np.concatenate(list(numbers)).reshape(values.shape)


def _cells(sample: Values) -> list[Cells]:
    """Edges and counts of two histograms: cells of equal width suit short tails, of equal counts long ones."""
    even = np.linspace(sample[0], sample[-1], START_CELLS + 1)
    ends = np.searchsorted(sample, even)
    ends[-1] = len(sample)
    ranked = sample[np.linspace(0, len(sample) - 1, FINE_CELLS + 1).astype(np.int64)]
    return [(even, np.diff(ends).astype(np.float64)), (ranked, np.full(FINE_CELLS, len(sample) / FINE_CELLS))]


def _initial_codebook(cells: Cells) -> Centres:
    """An initial codebook as dense as the cube root of the values' density, the limit's optimum (Panter, Dite 1951)."""
    edges, counts = cells
    weight = np.cbrt(counts) * np.diff(edges) ** (2 / 3)  # (count / width)^(1/3) width
    share = np.concatenate([[0.0], weight.cumsum()]) / max(weight.sum(), 1e-300)
    wanted = (np.arange(CODEBOOK_SIZE) + 0.5) / CODEBOOK_SIZE
    cell = (np.searchsorted(share, wanted) - 1).clip(0, len(counts) - 1)
    within = (wanted - share[cell]) / np.maximum(np.diff(share)[cell], 1e-300)
    return edges[cell] + within.clip(0, 1) * np.diff(edges)[cell]


def _lloyd_sorted(sample: Values, sums: Float[np.ndarray, " end"], centres: Centres) -> Centres:
    for _ in range(CODEBOOK_ROUNDS):
        edges = np.searchsorted(sample, 0.5 * (centres[1:] + centres[:-1]))
        ends = np.concatenate([[0], edges, [len(sample)]])
        counts = np.diff(ends)
        means = (sums[ends[1:]] - sums[ends[:-1]]) / np.maximum(counts, 1)
        centres = np.sort(np.where(counts > 0, means, centres))
    return centres


def _squared_error(sample: Values, centres: Centres) -> float:
    nearest = centres[np.searchsorted(0.5 * (centres[1:] + centres[:-1]), sample)]
    return float(np.square(sample - nearest).sum())


def build_palette(
    rows: Float[np.ndarray, "row value"], size: int, generator: np.random.Generator
) -> tuple[Float[np.ndarray, "size value"], Int[np.ndarray, " row"]]:
    """At most `size` rows that represent all, and the index of each row: k-means into groups, then within each group.

    Groups get entries in proportion to their rows and spread. With sqrt(size) / 2 groups a round costs
    `2.5 rows sqrt(size)` distances, where a single k-means costs `rows size`.
    """
    if len(rows) <= size:
        return rows, np.arange(len(rows))
    groups = max(1, round(0.5 * size**0.5))
    centres, group = _lloyd(rows, groups, GROUP_ROUNDS, generator)
    counts = np.bincount(group, minlength=groups)
    # High-rate theory (Zador 1982) gives shares of n^(1/(1+2/d)) spread; in 9 to 45 dimensions nearly those of n.
    spread = np.linalg.norm(rows - centres[group], axis=1)
    shares = _allot(np.bincount(group, spread, groups), counts, size)
    order, labels, found, first = group.argsort(kind="stable"), np.empty_like(group), [], 0
    for members, share in zip(np.split(order, counts.cumsum()[:-1]), shares.tolist(), strict=True):
        if not share:
            continue
        own, which = _lloyd(rows[members], share, WITHIN_ROUNDS, generator)
        labels[members] = which + first
        found.append(own)
        first += share
    return np.concatenate(found), labels


def _allot(
    weight: Float[np.ndarray, " group"], counts: Int[np.ndarray, " group"], size: int
) -> Int[np.ndarray, " group"]:
    """Entries per group in proportion to its weight, from 1 to its count; 0 for empty groups; at most size in all."""
    some = (counts > 0).astype(np.int64)
    free = size - int(some.sum())
    shares = np.floor(free * weight / max(weight.sum(), 1e-30)).astype(np.int64)
    return np.minimum(some + shares, counts)


def _lloyd(
    rows: Float[np.ndarray, "row value"], size: int, rounds: int, generator: np.random.Generator
) -> tuple[Float[np.ndarray, "size value"], Int[np.ndarray, " row"]]:
    """k-means from random rows; a centre without members stays where it is."""
    if size == len(rows):
        return rows, np.arange(size)
    centres = rows[generator.permutation(len(rows))[:size]]
    values = np.ascontiguousarray(rows.T)
    for _ in range(rounds):
        nearest = _nearest(rows, centres)
        counts = np.bincount(nearest, minlength=size)[:, None]
        sums = np.stack([np.bincount(nearest, value, size) for value in values], 1)
        centres = np.where(counts > 0, sums / np.maximum(counts, 1), centres).astype(rows.dtype)
    return centres, _nearest(rows, centres)


def _nearest(rows: Float[np.ndarray, "row value"], centres: Float[np.ndarray, "size value"]) -> Int[np.ndarray, " row"]:
    half, across = 0.5 * np.square(centres).sum(1), np.ascontiguousarray(centres.T)
    parts = (rows[start : start + ROWS_PER_BLOCK] for start in range(0, len(rows), ROWS_PER_BLOCK))
    return np.concatenate([(half - part @ across).argmin(1) for part in parts])


def encode(
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
    steps = quantise((logs - low) / np.maximum(high - low, np.float32(1e-12)), 65535).astype(np.int32)
    scales, scale_numbers = build_codebook(columns["log_scales"])
    colours, colour_numbers = build_codebook(columns["sh_dc"][:, 0])
    opacity = quantise(sigmoid_opacities(columns["logits"]), 255)
    largest, three = encode_smallest_three(columns["quaternions"])
    texels = {
        "means_l": steps & 255,
        "means_u": steps >> 8,
        "quats": np.concatenate([quantise(three * 0.5 + 0.5, 255), largest[:, None] + float(LARGEST_BASE)], 1),
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
        files = pool.map(lambda pixels: _encode_webp(pixels, WEBP_EFFORT), pictures.values())
        return meta, {f"{name}.webp": data for name, data in zip(pictures, files, strict=True)}, order


def _encode_webp(pixels: np.ndarray, effort: int) -> bytes:
    """A lossless WebP that keeps the colours of transparent pixels; more `effort` (0 to 100) makes it smaller."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", lossless=True, exact=True, quality=effort, method=4)
    return file.getvalue()


def _harmonics(rest: np.ndarray, width: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A palette of rows, quantised by one codebook, and the index of its row for each splat."""
    count, basis, _ = rest.shape
    size = min(
        MAX_PALETTE, max(PALETTE_LINE_ROWS, count // SPLATS_PER_PALETTE_ROW // PALETTE_LINE_ROWS * PALETTE_LINE_ROWS)
    )
    rows, labels = build_palette(rest.reshape(count, -1), size, np.random.default_rng(0))
    # Sorted so that similar rows are neighbours: the image compresses better.
    order = np.linalg.norm(rows, axis=1).argsort(kind="stable")
    rows, labels = rows[order], order.argsort()[labels]
    numbers, texels = build_codebook(rows)
    filled = -(-len(rows) // PALETTE_LINE_ROWS) * PALETTE_LINE_ROWS
    grid = np.zeros((filled, basis, 3), np.uint8)
    grid[: len(rows)] = texels.reshape(-1, basis, 3)
    split = np.stack([labels & 255, labels >> 8, np.zeros_like(labels)], 1)
    about = {
        "count": len(rows),
        "bands": math.isqrt(basis + 1) - 1,
        "codebook": numbers.tolist(),
        "files": _files("shN_centroids", "shN_labels"),
    }
    pictures = {
        "shN_centroids": _picture(grid.reshape(-1, 3), PALETTE_LINE_ROWS * basis),
        "shN_labels": _picture(split, width),
    }
    return about, pictures


def _files(*names: str) -> list[str]:
    return [f"{name}.webp" for name in names]


def _picture(texels: np.ndarray, width: int) -> np.ndarray:
    """Texels as an RGBA image `width` wide, uint8; opaque where a texel has three values."""
    height = -(-len(texels) // width)
    height = -(-height // 4) * 4
    pixels = np.zeros((height * width, 4), np.uint8)
    pixels[:, 3] = 255
    pixels[: len(texels), : texels.shape[1]] = texels
    return pixels.reshape(height, width, 4)
