"""A teacher on the nodes of a student's lattice: density, alpha, and colours where light can reach."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional

from volkit.geometry import Domain, Points, sh_basis, sh_count
from volkit.representations.field import OCCUPANCY_RESOLUTION, Field
from volkit.representations.occupancy_bits import occupancy_cells
from volkit.typing import Bool, Float, Int, Tensor

__all__ = [
    "Axes",
    "LatticeSamples",
    "average_footprints",
    "dense_occupancy",
    "extrapolate_colours",
    "fit_sh",
    "neighbours",
    "node_units",
    "occupied_nodes",
    "sample_on_lattice",
    "surface_colours",
]

CHUNK = 1 << 17  # points evaluated at once: their features stay in the cache
DIRECTIONS = 24  # of evaluation; a fit of degree 2 has 9 unknowns
# Offsets of the points in a node's footprint, in cells: two tetrahedra, so that no lattice plane is favoured.
FOOTPRINT = 0.25 * torch.tensor(
    [[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1], [-1, -1, -1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]]
)

Axes = tuple[Float[Tensor, " node"], ...]  # node coordinates along x, y, z in the unit cube


def dense_occupancy(field: Field) -> Bool[Tensor, "x y z"]:
    """A field's occupancy bits as a dense lattice."""
    shifts = torch.arange(8, device=field.device, dtype=torch.uint8)
    bits = ((field.occupancy[:, None] >> shifts) & 1).bool().flatten()
    x, y, z = occupancy_cells(field.device).long().unbind(-1)
    dense = torch.zeros((OCCUPANCY_RESOLUTION,) * 3, dtype=torch.bool, device=field.device)
    dense[x, y, z] = bits
    return dense


def occupied_nodes(student: Field, axes: Axes) -> Int[Tensor, " node"]:
    """Linear indices (x slowest) of the nodes whose interpolation reaches an occupied cell of the student."""
    dense = dense_occupancy(student)
    sizes = [len(axis) for axis in axes]
    # A node interpolates over one lattice step, in occupancy cells rounded up.
    reach = max(1, max(-(-OCCUPANCY_RESOLUTION // size) for size in sizes))
    near = dense.float()[None]
    for _ in range(3):  # one axis at a time; after three turns the axes are in their places again
        near = functional.max_pool2d(near, (2 * reach + 1, 1), 1, (reach, 0)).permute(0, 2, 3, 1)
    x, y, z = ((a * OCCUPANCY_RESOLUTION).long().clamp(0, OCCUPANCY_RESOLUTION - 1) for a in axes)
    return (near[0] > 0)[x][:, y][:, :, z].flatten().nonzero()[:, 0]


def node_units(axes: Axes, nodes: Int[Tensor, " node"]) -> Float[Tensor, "node 3"]:
    """Unit-cube coordinates of nodes given by linear index."""
    ny, nz = len(axes[1]), len(axes[2])
    return torch.stack([axes[0][nodes // (ny * nz)], axes[1][nodes // nz % ny], axes[2][nodes % nz]], -1)


@torch.no_grad()
def average_footprints(
    teacher: Field, domain: Domain, units: Float[Tensor, "node 3"], cell: Float[Tensor, "3"]
) -> tuple[Float[Tensor, " node"], Float[Tensor, " node"], Float[Tensor, "node 3"]]:
    """Mean density and alpha of a cell around each node, and its centre of opacity (local frame).

    `alpha_j = 1 - exp(-sigma_j d)` at eight points of the cell, d its edge in local units; the density is that of
    the mean alpha, `-log(1 - mean alpha_j) / d`, which conserves the cell's opacity; the position is the mean of the
    points weighted by alpha. `units` and `cell` are in the unit cube of `domain`.
    """
    densities, alphas, places = [], [], []
    for some in _chunks(units, len(FOOTPRINT)):
        unit = some[:, None] + FOOTPRINT.to(some) * cell
        local = domain.local_from_unit(unit.reshape(-1, 3).clamp(0, 1))
        edge = _edges(local, len(FOOTPRINT))
        alpha = -torch.expm1(-teacher.density(local).float().view(len(some), -1) * edge[:, None])
        # 1e-6: alpha 1 has no finite density; float32 resolves no less.
        alphas.append(alpha.mean(1).clamp_max(1 - 1e-6))
        densities.append(-torch.log1p(-alphas[-1]) / edge)
        weight = alpha + 1e-8
        weight = weight / weight.sum(1, keepdim=True)
        places.append((local.view(len(some), -1, 3) * weight[..., None]).sum(1))
    empty = units.new_zeros(0)
    return torch.cat([empty, *densities]), torch.cat([empty, *alphas]), torch.cat([empty.view(0, 3), *places])


@torch.no_grad()
def fit_sh(
    teacher: Field, positions: Float[Tensor, "point 3"], degree: int = 2
) -> Float[Tensor, "point channel basis"]:
    """Least-squares spherical harmonics of `colour - 0.5` over even directions: one pseudo-inverse for all points."""
    directions = _fibonacci_sphere(DIRECTIONS).to(positions)
    solve = torch.linalg.pinv(sh_basis(directions, degree).double()).to(positions)
    parts = [positions.new_zeros(0, 3, sh_count(degree))]
    for some in _chunks(positions, DIRECTIONS):
        points = Points(
            some.repeat_interleave(DIRECTIONS, 0), directions.repeat(len(some), 1)
        )  # directions of a point together: its table rows are read once
        rgb = teacher.query(points).rgb.float().view(len(some), DIRECTIONS, 3)
        parts.append(torch.einsum("bd,pdc->pcb", solve, rgb - 0.5))
    return torch.cat(parts)


def _edges(local: Tensor, per_node: int) -> Tensor:
    """Edge of a node's cell in local units, contracted or not: the mean extent of its points, which span half of it."""
    spread = local.view(-1, per_node, 3)
    return 2.0 * (spread.amax(1) - spread.amin(1)).mean(-1).clamp_min(1e-9)


def _chunks(points: Tensor, evaluations: int) -> Iterator[Tensor]:
    return (some for some in points.split(max(1, CHUNK // evaluations)) if len(some))


def _fibonacci_sphere(count: int) -> Float[Tensor, "direction 3"]:
    """Directions even over the sphere."""
    k = torch.arange(count, dtype=torch.float64) + 0.5
    height = 1.0 - 2.0 * k / count
    turn = k * torch.pi * (3.0 - 5.0**0.5)
    ring = (1.0 - height * height).sqrt()
    return torch.stack([ring * turn.cos(), ring * turn.sin(), height], -1)


STEPS = ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1))

EMPTY_ALPHA = 2e-3  # mean alpha up to which a cell is empty: a ray passes a few hundred of them at most
OPAQUE_ALPHA = 0.95


def neighbours(nodes: Int[Tensor, " node"], sizes: tuple[int, ...]) -> Int[Tensor, "node 6"]:
    """Rows of each node's neighbours along the axes, -1 where there is none; nodes are sorted linear indices."""
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


def extrapolate_colours(
    colours: Float[Tensor, "node value"],
    known: Bool[Tensor, " node"],
    near: Int[Tensor, "node 6"],
    passes: int = 3,
) -> Float[Tensor, "node value"]:
    """Extend colours to unknown nodes as the mean of known neighbours; three passes reach the corners of a cell.

    A surface is interpolated from nodes on both of its sides, so that empty ones need its colour, too.

    Args:
        colours: of the nodes.
        known: which nodes have one.
        near: rows of neighbours, -1: none.
        passes: distance along the axes up to which colours are extended.
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
class LatticeSamples:
    """A teacher at the nodes of a lattice near its matter.

    Attributes:
        sizes: of the lattice along x, y, z.
        nodes: sorted linear indices, x slowest.
        near: rows of each node's neighbours, -1: none.
        density: mean of the cell around the node, 1 / local unit.
        alpha: of that density over the cell's edge.
        centre: of opacity of the cell, local frame.
    """

    sizes: tuple[int, ...]
    nodes: Int[Tensor, " node"]
    near: Int[Tensor, "node 6"]
    density: Float[Tensor, " node"]
    alpha: Float[Tensor, " node"]
    centre: Float[Tensor, "node 3"]

    @property
    def solid(self) -> Bool[Tensor, " node"]:
        """Whether the cell is not empty."""
        return self.alpha > EMPTY_ALPHA

    @property
    def visible(self) -> Bool[Tensor, " node"]:
        """Whether light can reach the cell: it is not empty, and not all neighbours are opaque."""
        opaque = self.alpha > OPAQUE_ALPHA
        return self.solid & ~(opaque & ((self.near >= 0) & opaque[self.near.clamp_min(0)]).all(1))

    def dilate(self, mask: Bool[Tensor, " node"], steps: int) -> Bool[Tensor, " node"]:
        """A mask, extended by so many steps along the axes."""
        for _ in range(steps):
            mask = mask | ((self.near >= 0) & mask[self.near.clamp_min(0)]).any(1)
        return mask


def sample_on_lattice(teacher: Field, student: Field, axes: Axes, cell: Float[Tensor, "3"]) -> LatticeSamples:
    """Evaluate the teacher around the nodes of a lattice in the student's unit cube; `cell` has the edges of a cell."""
    nodes = occupied_nodes(student, axes)
    density, alpha, centre = average_footprints(teacher, student.domain, node_units(axes, nodes), cell)
    sizes = tuple(len(axis) for axis in axes)
    return LatticeSamples(sizes, nodes, neighbours(nodes, sizes), density, alpha, centre)


def surface_colours(teacher: Field, matter: LatticeSamples) -> Float[Tensor, "node 27"]:
    """Spherical harmonics of degree 2, channel by channel: fitted where light can reach, extrapolated from there."""
    visible = matter.visible
    colours = matter.density.new_zeros(len(matter.nodes), 27)
    colours[visible] = fit_sh(teacher, matter.centre[visible]).flatten(1)
    return extrapolate_colours(colours, visible, matter.near)
