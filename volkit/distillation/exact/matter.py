"""A teacher's matter on a dense lattice, as bounds on a student's feature and colours where light can reach."""

from dataclasses import dataclass

import torch

from volkit.distillation.exact.lattice import Axes, footprint_answers, node_units, nodes_near_matter, sh_of
from volkit.representations.field import Field
from volkit.typing import Bool, Float, Int, Tensor

__all__ = ["LatticeMatter", "matter_on", "neighbours", "shown_colours", "spread_colours"]


STEPS = ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1))

EMPTY_ALPHA = 2e-3  # mean alpha of a cell below which it holds nothing: a ray meets a few hundred of them at most
OPAQUE_ALPHA = 0.95


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


@dataclass(frozen=True)
class LatticeMatter:
    """What a teacher holds at the nodes (sorted linear indices) of a lattice near its matter."""

    sizes: tuple[int, ...]
    nodes: Int[Tensor, " node"]
    near: Int[Tensor, "node 6"]
    density: Float[Tensor, " node"]  # of the cell around the node, 1 / local unit
    alpha: Float[Tensor, " node"]  # of the same over the cell's edge
    place: Float[Tensor, "node 3"]  # centre of opacity, local frame

    @property
    def solid(self) -> Bool[Tensor, " node"]:
        """Where there is anything."""
        return self.alpha > EMPTY_ALPHA

    @property
    def shown(self) -> Bool[Tensor, " node"]:
        """Where there is something that light can reach: not all neighbours are opaque."""
        opaque = self.alpha > OPAQUE_ALPHA
        return self.solid & ~(opaque & ((self.near >= 0) & opaque[self.near.clamp_min(0)]).all(1))

    def grown(self, mask: Bool[Tensor, " node"], steps: int) -> Bool[Tensor, " node"]:
        """A mask and what lies within so many steps along the axes."""
        for _ in range(steps):
            mask = mask | ((self.near >= 0) & mask[self.near.clamp_min(0)]).any(1)
        return mask


def matter_on(teacher: Field, student: Field, axes: Axes, cell: Float[Tensor, "3"]) -> LatticeMatter:
    """Ask the teacher around the nodes of a lattice in the student's unit cube; `cell` is a node's share of it."""
    nodes = nodes_near_matter(student, axes)
    density, alpha, place = footprint_answers(teacher, student.domain, node_units(axes, nodes), cell)
    sizes = tuple(len(axis) for axis in axes)
    return LatticeMatter(sizes, nodes, neighbours(nodes, sizes), density, alpha, place)


def shown_colours(teacher: Field, matter: LatticeMatter) -> Float[Tensor, "node 27"]:
    """Degree-2 coefficients, channel by channel: asked where light can reach, taken from neighbours around it."""
    shown = matter.shown
    colours = matter.density.new_zeros(len(matter.nodes), 27)
    colours[shown] = sh_of(teacher, matter.place[shown]).flatten(1)
    return spread_colours(colours, shown, matter.near)
