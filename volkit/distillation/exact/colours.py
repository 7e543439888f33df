"""Colours of lattice nodes: asked where there is matter to show them, carried over to the nodes around it."""

import torch

from volkit.typing import Bool, Float, Int, Tensor

__all__ = ["neighbours", "spread_colours"]

STEPS = ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1))


def neighbours(nodes: Int[Tensor, " node"], sizes: tuple[int, ...]) -> Int[Tensor, "node 6"]:
    """Row of each node's next neighbours along the axes, -1 where there is none; nodes are sorted linear indices."""
    nx, ny, nz = sizes
    rows = torch.full((nx * ny * nz,), -1, dtype=torch.int32, device=nodes.device)
    rows[nodes] = torch.arange(len(nodes), dtype=torch.int32, device=nodes.device)
    place = torch.stack([nodes // (ny * nz), nodes // nz % ny, nodes % nz])
    columns = []
    for step in STEPS:
        moved = place + torch.tensor(step, device=nodes.device)[:, None]
        inside = ((moved >= 0) & (moved < torch.tensor(sizes, device=nodes.device)[:, None])).all(0)
        linear = (moved[0] * ny + moved[1]) * nz + moved[2]
        columns.append(torch.where(inside, rows[linear.clamp(0, len(rows) - 1)].long(), -1))
    return torch.stack(columns, 1)


def spread_colours(
    colours: Float[Tensor, "node value"],
    known: Bool[Tensor, " node"],
    near: Int[Tensor, "node 6"],
    passes: int = 3,
) -> Float[Tensor, "node value"]:
    """Give unknown nodes the mean of their known neighbours; three passes reach the corners of a cell.

    A surface is read from nodes on both of its sides, so the empty ones must have its colour too.
    """
    colours, known = colours.clone(), known.clone()
    for _ in range(passes):
        open_rows = (~known & ((near >= 0) & known[near.clamp_min(0)]).any(1)).nonzero()[:, 0]
        total = colours.new_zeros(len(open_rows), colours.shape[1])
        count = colours.new_zeros(len(open_rows), 1)
        for side in near[open_rows].unbind(1):
            usable = ((side >= 0) & known[side.clamp_min(0)])[:, None].to(colours)
            total += colours[side.clamp_min(0)] * usable
            count += usable
        colours[open_rows] = total / count
        known[open_rows] = True
    return colours
