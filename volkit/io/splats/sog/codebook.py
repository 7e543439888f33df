"""Tables that stand for many values: k-means of numbers, and in two stages of rows of harmonics."""

import numpy as np

from volkit.io.splats.chunked import in_blocks
from volkit.typing import Float, Int

__all__ = ["palette", "table"]

SIZE = 256  # of a table
SAMPLE = 1 << 18  # values that a table is learnt from
ROUNDS = 50  # each looks at 255 places, not at all values
START_CELLS, FINE_CELLS = 64, 1024  # cells that a start is made from
COARSE_ROUNDS, FINE_ROUNDS = 8, 10
ROWS = 1 << 12  # whose distances to all centres are held at a time

Values = Float[np.ndarray, " value"]
Centres = Float[np.ndarray, "256"]
Cells = tuple[np.ndarray, np.ndarray]  # edges, and how many values are between two of them


def table(values: Float[np.ndarray, "*shape"]) -> tuple[Centres, Int[np.ndarray, "*shape"]]:
    """256 numbers, ascending, that stand for all with a small mean square; which one stands for each (Lloyd 1982)."""
    flat = values.reshape(-1)
    sample = np.sort(flat[:: max(1, len(flat) // SAMPLE)].astype(np.float64))
    sums = np.concatenate([[0.0], sample.cumsum()])
    found = [_settled(sample, sums, _start(cells)) for cells in _cells(sample)]
    best = min(found, key=lambda centres: _error(sample, centres)).astype(values.dtype)
    ends = np.float32(0.5) * (best[1:] + best[:-1])
    numbers = in_blocks(len(flat), lambda rows: np.searchsorted(ends, flat[rows]).astype(np.uint8))
    return best, np.concatenate(list(numbers)).reshape(values.shape)


def _cells(sample: Values) -> list[Cells]:
    """Cells of equal width, and such of equal counts, with how many values each holds: for long tails and for short."""
    even = np.linspace(sample[0], sample[-1], START_CELLS + 1)
    ends = np.searchsorted(sample, even)
    ends[-1] = len(sample)
    ranked = sample[np.linspace(0, len(sample) - 1, FINE_CELLS + 1).astype(np.int64)]
    return [(even, np.diff(ends).astype(np.float64)), (ranked, np.full(FINE_CELLS, len(sample) / FINE_CELLS))]


def _start(cells: Cells) -> Centres:
    """Numbers as dense as the cube root of the values' density: best for many numbers (Panter and Dite 1951)."""
    edges, counts = cells
    weight = np.cbrt(counts) * np.diff(edges) ** (2 / 3)  # (count / width)^(1/3) width
    share = np.concatenate([[0.0], weight.cumsum()]) / max(weight.sum(), 1e-300)
    wanted = (np.arange(SIZE) + 0.5) / SIZE
    cell = (np.searchsorted(share, wanted) - 1).clip(0, len(counts) - 1)
    within = (wanted - share[cell]) / np.maximum(np.diff(share)[cell], 1e-300)
    return edges[cell] + within.clip(0, 1) * np.diff(edges)[cell]


def _settled(sample: Values, sums: Float[np.ndarray, " end"], centres: Centres) -> Centres:
    for _ in range(ROUNDS):
        edges = np.searchsorted(sample, 0.5 * (centres[1:] + centres[:-1]))
        ends = np.concatenate([[0], edges, [len(sample)]])
        counts = np.diff(ends)
        means = (sums[ends[1:]] - sums[ends[:-1]]) / np.maximum(counts, 1)
        centres = np.sort(np.where(counts > 0, means, centres))
    return centres


def _error(sample: Values, centres: Centres) -> float:
    nearest = centres[np.searchsorted(0.5 * (centres[1:] + centres[:-1]), sample)]
    return float(np.square(sample - nearest).sum())


def palette(
    rows: Float[np.ndarray, "row value"], size: int, generator: np.random.Generator
) -> tuple[Float[np.ndarray, "size value"], Int[np.ndarray, " row"]]:
    """Rows that stand for all, and which one stands for each: groups by k-means, then k-means within each group.

    A group has a share of the size that goes with its rows and their spread. sqrt(size) / 2 groups cost
    `2.5 rows sqrt(size)` distances a round where one k-means costs `rows size`.
    """
    if len(rows) <= size:
        return rows, np.arange(len(rows))
    groups = max(1, round(0.5 * size**0.5))
    centres, group = _lloyd(rows, groups, COARSE_ROUNDS, generator)
    counts = np.bincount(group, minlength=groups)
    # High-rate theory (Zador 1982) gives shares of n^(1/(1+2/d)) spread; in 9 to 45 dimensions nearly those of n.
    spread = np.linalg.norm(rows - centres[group], axis=1)
    shares = _shares(np.bincount(group, spread, groups), counts, size)
    order, labels, found, first = group.argsort(kind="stable"), np.empty_like(group), [], 0
    for members, share in zip(np.split(order, counts.cumsum()[:-1]), shares.tolist(), strict=True):
        if not share:
            continue
        own, which = _lloyd(rows[members], share, FINE_ROUNDS, generator)
        labels[members] = which + first
        found.append(own)
        first += share
    return np.concatenate(found), labels


def _shares(
    weight: Float[np.ndarray, " group"], counts: Int[np.ndarray, " group"], size: int
) -> Int[np.ndarray, " group"]:
    """Whole numbers that go with a weight, at least 1 and at most a count, where there are any; in sum at most size."""
    some = (counts > 0).astype(np.int64)
    free = size - int(some.sum())
    shares = np.floor(free * weight / max(weight.sum(), 1e-30)).astype(np.int64)
    return np.minimum(some + shares, counts)


def _lloyd(
    rows: Float[np.ndarray, "row value"], size: int, rounds: int, generator: np.random.Generator
) -> tuple[Float[np.ndarray, "size value"], Int[np.ndarray, " row"]]:
    """k-means from random rows; a centre that stands for nothing stays where it is."""
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
    parts = (rows[start : start + ROWS] for start in range(0, len(rows), ROWS))
    return np.concatenate([(half - part @ across).argmin(1) for part in parts])
