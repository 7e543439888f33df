"""`meta.json` and images of a SOG of version 2; codebooks by k-means, in two stages for harmonics."""

import math
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from volkit.files.errors import FormatError
from volkit.io.splats.columns import morton_order
from volkit.io.splats.quantised import encode_smallest_three, quantise
from volkit.io.splats.sog.decode import LARGEST_BASE, MAX_PALETTE, MAX_WEBP_SIDE, PALETTE_LINE_ROWS
from volkit.representations.splats import SplatsConfig
from volkit.typing import Float, Int, Tensor
from volkit.version import __version__

__all__ = ["build_codebook", "build_palette", "encode"]


CODEBOOK_SIZE = 256  # entries
MAX_SAMPLE = 1 << 18  # values that a codebook is fitted to
CODEBOOK_ROUNDS = 50  # each costs 255 binary searches in the sorted sample
START_CELLS, FINE_CELLS = 64, 1024  # histogram cells for the initial codebook
GROUP_ROUNDS, WITHIN_ROUNDS = 8, 10
ROWS_PER_BLOCK = 1 << 15  # rows whose distances to all centres are in memory at a time

WEBP_EFFORT = 60  # of 100
SPLATS_PER_PALETTE_ROW = 2  # at least


def build_codebook(values: Float[Tensor, "*shape"]) -> tuple[Float[Tensor, "256"], Int[Tensor, "*shape"]]:
    """A codebook of 256 ascending numbers with a small mean square error, and the index of each value (Lloyd 1982)."""
    flat = values.flatten()
    sample = flat[:: max(1, len(flat) // MAX_SAMPLE)].double().sort().values
    sums = torch.cat([sample.new_zeros(1), sample.cumsum(0)])
    found = [_lloyd_sorted(sample, sums, _initial_codebook(edges)) for edges in _histograms(sample)]
    best = min(found, key=lambda centres: _squared_error(sample, centres)).to(values.dtype)
    return best, torch.bucketize(values, 0.5 * (best[1:] + best[:-1]))


def _histograms(sample: Float[Tensor, " value"]) -> list[tuple[Float[Tensor, " edge"], Float[Tensor, " cell"]]]:
    """Edges and counts of two histograms: cells of equal width suit short tails, of equal counts long ones."""
    low, high = float(sample[0]), float(sample[-1])
    even = torch.linspace(low, high, START_CELLS + 1, dtype=torch.float64)
    ranked = sample[torch.linspace(0, len(sample) - 1, FINE_CELLS + 1).long()]
    return [
        (even, torch.histc(sample, START_CELLS, low, high)),
        (ranked, torch.full((FINE_CELLS,), len(sample) / FINE_CELLS, dtype=torch.float64)),
    ]


def _initial_codebook(cells: tuple[Float[Tensor, " edge"], Float[Tensor, " cell"]]) -> Float[Tensor, "256"]:
    """An initial codebook as dense as the cube root of the values' density, the limit's optimum (Panter, Dite 1951)."""
    edges, counts = cells
    weight = counts ** (1 / 3) * edges.diff() ** (2 / 3)  # (count / width)^(1/3) width
    share = torch.cat([weight.new_zeros(1), weight.cumsum(0)]) / weight.sum().clamp_min(1e-300)
    wanted = (torch.arange(CODEBOOK_SIZE, dtype=torch.float64) + 0.5) / CODEBOOK_SIZE
    cell = (torch.searchsorted(share, wanted) - 1).clamp(0, len(counts) - 1)
    within = (wanted - share[cell]) / share.diff()[cell].clamp_min(1e-300)
    return edges[cell] + within.clamp(0, 1) * edges.diff()[cell]


def _lloyd_sorted(
    sample: Float[Tensor, " value"], sums: Float[Tensor, " end"], centres: Float[Tensor, "256"]
) -> Float[Tensor, "256"]:
    for _ in range(CODEBOOK_ROUNDS):
        edges = torch.searchsorted(sample, 0.5 * (centres[1:] + centres[:-1]))
        ends = torch.cat([edges.new_zeros(1), edges, edges.new_full((1,), len(sample))])
        counts = ends.diff()
        means = (sums[ends[1:]] - sums[ends[:-1]]) / counts.clamp_min(1)
        centres = torch.where(counts > 0, means, centres).sort().values
    return centres


def _squared_error(sample: Float[Tensor, " value"], centres: Float[Tensor, "256"]) -> float:
    nearest = centres[torch.bucketize(sample, 0.5 * (centres[1:] + centres[:-1]))]
    return float((sample - nearest).square().sum())


def build_palette(
    rows: Float[Tensor, "row value"], size: int, generator: torch.Generator
) -> tuple[Float[Tensor, "size value"], Int[Tensor, " row"]]:
    """At most `size` rows that represent all, and the index of each row: k-means into groups, then within each group.

    Groups get entries in proportion to their rows and spread. With sqrt(size) / 2 groups a round costs
    `2.5 rows sqrt(size)` distances, where a single k-means costs `rows size`.
    """
    if len(rows) <= size:
        return rows, torch.arange(len(rows))
    groups = max(1, round(0.5 * size**0.5))
    centres, group = _lloyd(rows, groups, GROUP_ROUNDS, generator)
    counts = torch.bincount(group, minlength=groups)
    # High-rate theory (Zador 1982) gives shares of n^(1/(1+2/d)) spread; in 9 to 45 dimensions nearly those of n.
    spread = (rows - centres[group]).square().sum(1).sqrt()
    weight = torch.zeros(groups).index_add_(0, group, spread)
    shares = _allot(weight, counts, size)
    order, labels, found, first = group.argsort(), torch.empty_like(group), [], 0
    for members, share in zip(order.split(counts.tolist()), shares.tolist(), strict=True):
        if not share:
            continue
        own, which = _lloyd(rows[members], share, WITHIN_ROUNDS, generator)
        labels[members] = which + first
        found.append(own)
        first += share
    return torch.cat(found), labels


def _allot(weight: Float[Tensor, " group"], counts: Int[Tensor, " group"], size: int) -> Int[Tensor, " group"]:
    """Entries per group in proportion to its weight, from 1 to its count; 0 for empty groups; at most size in all."""
    some = (counts > 0).long()
    free = size - int(some.sum())
    shares = (free * weight / weight.sum().clamp_min(1e-30)).floor().long()
    return torch.minimum(some + shares, counts)


def _lloyd(
    rows: Float[Tensor, "row value"], size: int, rounds: int, generator: torch.Generator
) -> tuple[Float[Tensor, "size value"], Int[Tensor, " row"]]:
    """k-means from random rows; a centre without members stays where it is."""
    centres = rows[torch.randperm(len(rows), generator=generator)[:size]]
    if size == len(rows):
        return rows, torch.arange(size)
    for _ in range(rounds):
        nearest = _nearest(rows, centres)
        counts = torch.bincount(nearest, minlength=size)[:, None]
        sums = torch.zeros_like(centres).index_add_(0, nearest, rows)
        centres = torch.where(counts > 0, sums / counts.clamp_min(1), centres)
    return centres, _nearest(rows, centres)


def _nearest(rows: Float[Tensor, "row value"], centres: Float[Tensor, "size value"]) -> Int[Tensor, " row"]:
    half = 0.5 * centres.square().sum(1)
    return torch.cat(
        [torch.addmm(half, part, centres.t(), alpha=-1.0).argmin(1) for part in rows.split(ROWS_PER_BLOCK)]
    )


def encode(path: Path, columns: dict[str, Tensor], config: SplatsConfig) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The JSON, and images by name; splats in Morton order, so that neighbouring texels are alike."""
    count = len(columns["means"])
    width = math.ceil(math.sqrt(count) / 4) * 4
    if not 0 < width <= MAX_WEBP_SIDE:
        raise FormatError(path, f"cannot hold {count} splats", f"1 to {MAX_WEBP_SIDE**2} are held")
    order = morton_order(columns["means"])
    columns = {name: column[order] for name, column in columns.items()}
    logs = columns["means"].sign() * columns["means"].abs().log1p()
    low, high = logs.aminmax(dim=0)
    steps = quantise((logs - low) / (high - low).clamp_min(1e-12), 65535).int()
    scales, scale_numbers = build_codebook(columns["log_scales"])
    colours, colour_numbers = build_codebook(columns["sh_dc"][:, 0])
    opacity = quantise(torch.sigmoid(columns["logits"]), 255)
    largest, three = encode_smallest_three(columns["quaternions"])
    texels = {
        "means_l": steps & 255,
        "means_u": steps >> 8,
        "quats": torch.cat([quantise(three * 0.5 + 0.5, 255), largest[:, None] + float(LARGEST_BASE)], 1),
        "scales": scale_numbers,
        "sh0": torch.cat([colour_numbers, opacity[:, None]], 1),
    }
    meta: dict[str, Any] = {"version": 2, "asset": {"generator": f"volkit {__version__}"}, "count": count}
    if config.surfels or config.mip:
        meta["model"] = "2dgs" if config.surfels else "antialiased"
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
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        files = pool.map(lambda pixels: _encode_webp(pixels, WEBP_EFFORT), pictures.values())
        return meta, {f"{name}.webp": data for name, data in zip(pictures, files, strict=True)}


def _encode_webp(pixels: np.ndarray, effort: int) -> bytes:
    """A lossless WebP that keeps the colours of transparent pixels; more `effort` (0 to 100) makes it smaller."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", lossless=True, exact=True, quality=effort, method=4)
    return file.getvalue()


def _harmonics(rest: Tensor, width: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A palette of rows, quantised by one codebook, and the index of its row for each splat."""
    count, basis, _ = rest.shape
    lines = max(1, count // SPLATS_PER_PALETTE_ROW // PALETTE_LINE_ROWS)
    size = min(MAX_PALETTE, lines * PALETTE_LINE_ROWS)
    rows, labels = build_palette(rest.flatten(1), size, torch.Generator().manual_seed(0))
    # Sorted so that similar rows are neighbours: the image compresses better.
    order = rows.norm(dim=1).argsort()
    rows, labels = rows[order], order.argsort()[labels]
    numbers, texels = build_codebook(rows)
    filled = -(-len(rows) // PALETTE_LINE_ROWS) * PALETTE_LINE_ROWS
    grid = torch.zeros(filled, basis, 3, dtype=torch.long)
    grid[: len(rows)] = texels.view(-1, basis, 3)
    split = torch.stack([labels & 255, labels >> 8, torch.zeros_like(labels)], 1)
    about = {
        "count": len(rows),
        "bands": math.isqrt(basis + 1) - 1,
        "codebook": numbers.tolist(),
        "files": _files("shN_centroids", "shN_labels"),
    }
    return about, {
        "shN_centroids": _picture(grid.view(-1, 3), PALETTE_LINE_ROWS * basis),
        "shN_labels": _picture(split, width),
    }


def _files(*names: str) -> list[str]:
    return [f"{name}.webp" for name in names]


def _picture(texels: Tensor, width: int) -> np.ndarray:
    """Texels as an RGBA image `width` wide, uint8; opaque where a texel has three values."""
    height = -(-len(texels) // width)
    height = -(-height // 4) * 4
    pixels = np.zeros((height * width, 4), np.uint8)
    pixels[:, 3] = 255
    pixels[: len(texels), : texels.shape[1]] = texels.byte().numpy()
    return pixels.reshape(height, width, 4)
