"""Tables that stand for many values: k-means of numbers, and in two stages of rows of harmonics."""

import torch

from volkit.typing import Float, Int, Tensor

__all__ = ["palette", "table"]

SIZE = 256  # of a table
SAMPLE = 1 << 18  # values that a table is learnt from
ROUNDS = 50  # each looks at 255 places, not at all values
START_CELLS, FINE_CELLS = 64, 1024  # cells that a start is made from
COARSE_ROUNDS, FINE_ROUNDS = 8, 10
ROWS = 1 << 15  # whose distances to all centres are held at a time


def table(values: Float[Tensor, "*shape"]) -> tuple[Float[Tensor, "256"], Int[Tensor, "*shape"]]:
    """256 numbers, ascending, that stand for all with a small mean square; which one stands for each (Lloyd 1982)."""
    flat = values.flatten()
    sample = flat[:: max(1, len(flat) // SAMPLE)].double().sort().values
    sums = torch.cat([sample.new_zeros(1), sample.cumsum(0)])
    found = [_settled(sample, sums, _start(edges)) for edges in _edges(sample)]
    best = min(found, key=lambda centres: _error(sample, centres)).to(values.dtype)
    return best, torch.bucketize(values, 0.5 * (best[1:] + best[:-1]))


def _edges(sample: Float[Tensor, " value"]) -> list[tuple[Float[Tensor, " edge"], Float[Tensor, " cell"]]]:
    """Cells of equal width, and such of equal counts, with how many values each holds: for long tails and for short."""
    low, high = float(sample[0]), float(sample[-1])
    even = torch.linspace(low, high, START_CELLS + 1, dtype=torch.float64)
    ranked = sample[torch.linspace(0, len(sample) - 1, FINE_CELLS + 1).long()]
    return [
        (even, torch.histc(sample, START_CELLS, low, high)),
        (ranked, torch.full((FINE_CELLS,), len(sample) / FINE_CELLS, dtype=torch.float64)),
    ]


def _start(cells: tuple[Float[Tensor, " edge"], Float[Tensor, " cell"]]) -> Float[Tensor, "256"]:
    """Numbers as dense as the cube root of the values' density: best for many numbers (Panter and Dite 1951)."""
    edges, counts = cells
    weight = counts ** (1 / 3) * edges.diff() ** (2 / 3)  # (count / width)^(1/3) width
    share = torch.cat([weight.new_zeros(1), weight.cumsum(0)]) / weight.sum().clamp_min(1e-300)
    wanted = (torch.arange(SIZE, dtype=torch.float64) + 0.5) / SIZE
    cell = (torch.searchsorted(share, wanted) - 1).clamp(0, len(counts) - 1)
    within = (wanted - share[cell]) / share.diff()[cell].clamp_min(1e-300)
    return edges[cell] + within.clamp(0, 1) * edges.diff()[cell]


def _settled(
    sample: Float[Tensor, " value"], sums: Float[Tensor, " end"], centres: Float[Tensor, "256"]
) -> Float[Tensor, "256"]:
    for _ in range(ROUNDS):
        edges = torch.searchsorted(sample, 0.5 * (centres[1:] + centres[:-1]))
        ends = torch.cat([edges.new_zeros(1), edges, edges.new_full((1,), len(sample))])
        counts = ends.diff()
        means = (sums[ends[1:]] - sums[ends[:-1]]) / counts.clamp_min(1)
        centres = torch.where(counts > 0, means, centres).sort().values
    return centres


def _error(sample: Float[Tensor, " value"], centres: Float[Tensor, "256"]) -> float:
    nearest = centres[torch.bucketize(sample, 0.5 * (centres[1:] + centres[:-1]))]
    return float((sample - nearest).square().sum())


def palette(
    rows: Float[Tensor, "row value"], size: int, generator: torch.Generator
) -> tuple[Float[Tensor, "size value"], Int[Tensor, " row"]]:
    """Rows that stand for all, and which one stands for each: groups by k-means, then k-means within each group.

    A group has a share of the size that goes with its rows and their spread. sqrt(size) / 2 groups cost
    `2.5 rows sqrt(size)` distances a round where one k-means costs `rows size`.
    """
    if len(rows) <= size:
        return rows, torch.arange(len(rows))
    groups = max(1, round(0.5 * size**0.5))
    centres, group = _lloyd(rows, groups, COARSE_ROUNDS, generator)
    counts = torch.bincount(group, minlength=groups)
    # High-rate theory (Zador 1982) gives shares of n^(1/(1+2/d)) spread; in 9 to 45 dimensions nearly those of n.
    spread = (rows - centres[group]).square().sum(1).sqrt()
    weight = torch.zeros(groups).index_add_(0, group, spread)
    shares = _shares(weight, counts, size)
    order, labels, found, first = group.argsort(), torch.empty_like(group), [], 0
    for members, share in zip(order.split(counts.tolist()), shares.tolist(), strict=True):
        if not share:
            continue
        own, which = _lloyd(rows[members], share, FINE_ROUNDS, generator)
        labels[members] = which + first
        found.append(own)
        first += share
    return torch.cat(found), labels


def _shares(weight: Float[Tensor, " group"], counts: Int[Tensor, " group"], size: int) -> Int[Tensor, " group"]:
    """Whole numbers that go with a weight, at least 1 and at most a count, where there are any; in sum at most size."""
    some = (counts > 0).long()
    free = size - int(some.sum())
    shares = (free * weight / weight.sum().clamp_min(1e-30)).floor().long()
    return torch.minimum(some + shares, counts)


def _lloyd(
    rows: Float[Tensor, "row value"], size: int, rounds: int, generator: torch.Generator
) -> tuple[Float[Tensor, "size value"], Int[Tensor, " row"]]:
    """k-means from random rows; a centre that stands for nothing stays where it is."""
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
    return torch.cat([torch.addmm(half, part, centres.t(), alpha=-1.0).argmin(1) for part in rows.split(ROWS)])
