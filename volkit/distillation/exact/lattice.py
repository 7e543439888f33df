"""A teacher on the nodes of a student's lattice: where it holds matter, how much, and of which colour."""

from collections.abc import Iterator

import torch
from torch.nn import functional

from volkit.geometry import Domain, Points, sh_basis, sh_count
from volkit.representations.field import OCCUPANCY_RESOLUTION, Field
from volkit.representations.occupancy_bits import occupancy_cells
from volkit.typing import Bool, Float, Int, Tensor

__all__ = ["Axes", "dense_occupancy", "footprint_answers", "node_units", "nodes_near_matter", "sh_of"]

CHUNK = 1 << 17  # questions at once: their features stay in the cache
DIRECTIONS = 24  # seen along; a degree-2 fit has 9 unknowns
# Offsets of the questions in a node's footprint, in cells: a tetrahedral pair, so that no lattice plane is favoured.
FOOTPRINT = 0.25 * torch.tensor(
    [[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1], [-1, -1, -1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]]
)

Axes = tuple[Float[Tensor, " node"], ...]  # node coordinates along x, y, z in the unit cube


def dense_occupancy(field: Field) -> Bool[Tensor, "x y z"]:
    """A field's occupancy bits as a lattice."""
    shifts = torch.arange(8, device=field.device, dtype=torch.uint8)
    bits = ((field.occupancy[:, None] >> shifts) & 1).bool().flatten()
    x, y, z = occupancy_cells(field.device).long().unbind(-1)
    dense = torch.zeros((OCCUPANCY_RESOLUTION,) * 3, dtype=torch.bool, device=field.device)
    dense[x, y, z] = bits
    return dense


def nodes_near_matter(student: Field, axes: Axes) -> Int[Tensor, " node"]:
    """Linear indices (x slowest) of the nodes whose interpolation reaches an occupied cell of the student."""
    dense = dense_occupancy(student)
    sizes = [len(axis) for axis in axes]
    # A node reaches one lattice step; what that is in occupancy cells is rounded up.
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
def footprint_answers(
    teacher: Field, domain: Domain, units: Float[Tensor, "node 3"], cell: Float[Tensor, "3"]
) -> tuple[Float[Tensor, " node"], Float[Tensor, " node"], Float[Tensor, "node 3"]]:
    """Mean density and alpha of a cell around each node, and where in it (local frame) the light is stopped.

    `alpha_j = 1 - exp(-sigma_j d)` at eight points of the cell, d its edge in local units; the density is the one that
    gives the mean alpha, `-log(1 - mean alpha_j) / d`, so that a cell's opacity survives the averaging; the position
    is the mean of the points weighted by alpha. `units` and `cell` are in the unit cube of `domain`.
    """
    densities, alphas, places = [], [], []
    for some in _chunks(units, len(FOOTPRINT)):
        unit = some[:, None] + FOOTPRINT.to(some) * cell
        local = domain.local_from_unit(unit.reshape(-1, 3).clamp(0, 1))
        edge = _edges(local, len(FOOTPRINT))
        alpha = -torch.expm1(-teacher.density(local).float().view(len(some), -1) * edge[:, None])
        # 1e-6: a mean alpha of one has no density; float32 ends there.
        alphas.append(alpha.mean(1).clamp_max(1 - 1e-6))
        densities.append(-torch.log1p(-alphas[-1]) / edge)
        weight = alpha + 1e-8
        weight = weight / weight.sum(1, keepdim=True)
        places.append((local.view(len(some), -1, 3) * weight[..., None]).sum(1))
    empty = units.new_zeros(0)
    return torch.cat([empty, *densities]), torch.cat([empty, *alphas]), torch.cat([empty.view(0, 3), *places])


@torch.no_grad()
def sh_of(teacher: Field, positions: Float[Tensor, "point 3"], degree: int = 2) -> Float[Tensor, "point channel basis"]:
    """Least-squares coefficients of `colour - 0.5` over directions spread evenly: one pseudo-inverse for all points."""
    directions = _fibonacci_sphere(DIRECTIONS).to(positions)
    solve = torch.linalg.pinv(sh_basis(directions, degree).double()).to(positions)
    parts = [positions.new_zeros(0, 3, sh_count(degree))]
    for some in _chunks(positions, DIRECTIONS):
        points = Points(
            some.repeat_interleave(DIRECTIONS, 0), directions.repeat(len(some), 1)
        )  # a point's questions stay together: its table rows are read once
        rgb = teacher.query(points).rgb.float().view(len(some), DIRECTIONS, 3)
        parts.append(torch.einsum("bd,pdc->pcb", solve, rgb - 0.5))
    return torch.cat(parts)


def _edges(local: Tensor, per_node: int) -> Tensor:
    """Edge of a node's cell in local units: a contracted cell is as long as its questions lie apart."""
    spread = local.view(-1, per_node, 3)
    return 2.0 * (spread.amax(1) - spread.amin(1)).mean(-1).clamp_min(1e-9)


def _chunks(points: Tensor, questions: int) -> Iterator[Tensor]:
    return (some for some in points.split(max(1, CHUNK // questions)) if len(some))


def _fibonacci_sphere(count: int) -> Float[Tensor, "direction 3"]:
    """Directions spread evenly over the sphere."""
    k = torch.arange(count, dtype=torch.float64) + 0.5
    height = 1.0 - 2.0 * k / count
    turn = k * torch.pi * (3.0 - 5.0**0.5)
    ring = (1.0 - height * height).sqrt()
    return torch.stack([ring * turn.cos(), ring * turn.sin(), height], -1)
