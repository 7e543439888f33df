"""A teacher's matter on a dense lattice, as bounds on a student's feature and colours where light can reach."""

from dataclasses import dataclass

from volkit.distillation.exact.colours import neighbours, spread_colours
from volkit.distillation.exact.lattice import Axes, footprint_answers, node_units, nodes_near_matter, sh_of
from volkit.representations.field import Field
from volkit.typing import Bool, Float, Int, Tensor

__all__ = ["LatticeMatter", "matter_on", "shown_colours"]

EMPTY_ALPHA = 2e-3  # mean alpha of a cell below which it holds nothing: a ray meets a few hundred of them at most
OPAQUE_ALPHA = 0.95


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
