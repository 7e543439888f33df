"""Voxels by tabulation: opacity kept through averages in alpha space, colours by least squares."""

import torch

from volkit.distill.exact.colours import neighbours, spread_colours
from volkit.distill.exact.lattice import Axes, footprint_answers, node_units, nodes_near_matter, sh_of
from volkit.representations.field import Field
from volkit.representations.voxels import Voxels
from volkit.typing import Bool, Float, Int, Tensor

__all__ = ["start_voxels"]

MOST_NODES = 2 << 20  # asked at eight points each: about 2 s with a hash grid on two cores
EMPTY = 2e-3  # mean alpha of a voxel below which it holds nothing: a ray meets a few hundred of them at most
OPAQUE = 0.95


@torch.no_grad()
def start_voxels(teacher: Field, student: Voxels, generator: torch.Generator) -> None:
    """Tabulate the teacher in the cells marked by the student's occupancy, at its final resolution if affordable.

    Density: mean alpha of each voxel. Colour: degree-2 coefficients at the voxel's centre of opacity, for voxels that
    light can reach; the rest take their neighbours'. Voxels without matter around them are dropped.
    """
    resolution = student.config.resolution
    while True:
        shape = student.cells(resolution)
        axes = tuple((torch.arange(n, device=teacher.device) + 0.5) / n for n in shape)
        nodes = nodes_near_matter(student, axes)
        if len(nodes) <= MOST_NODES or resolution <= 64:
            break
        resolution = resolution * 3 // 4
    density, alpha, place = _matter(teacher, student, axes, nodes)
    near = neighbours(nodes, shape)
    solid = alpha > EMPTY
    kept = _grown(_grown(_grown(solid, near), near), near)
    hidden = (alpha > OPAQUE) & ((near >= 0) & (alpha > OPAQUE)[near.clamp_min(0)]).all(1)
    shown = solid & ~hidden
    colours = density.new_zeros(len(nodes), 27)
    colours[shown] = sh_of(teacher, place[shown]).flatten(1)
    colours = spread_colours(colours, shown, near)
    links = torch.full((shape[0] * shape[1] * shape[2],), -1, dtype=torch.int32, device=density.device)
    links[nodes[kept]] = torch.arange(int(kept.sum()), dtype=torch.int32, device=density.device)
    tensors = {"links": links.view(shape), "density_data": density[kept, None], "sh_data": colours[kept]}
    student.load_state_dict({**student.state_dict(), **tensors})


def _matter(
    teacher: Field, student: Voxels, axes: Axes, nodes: Int[Tensor, " node"]
) -> tuple[Float[Tensor, " node"], Float[Tensor, " node"], Float[Tensor, "node 3"]]:
    """Density, alpha over a voxel's edge, and centre of opacity of every node."""
    cell = torch.tensor([1.0 / len(axis) for axis in axes], device=teacher.device)
    density, place = footprint_answers(teacher, student.domain, node_units(axes, nodes), cell)
    edge = max(student.domain.extent) * float(cell.min())
    return density, -torch.expm1(-density * edge), place


def _grown(mask: Bool[Tensor, " node"], near: Int[Tensor, "node 6"]) -> Bool[Tensor, " node"]:
    return mask | ((near >= 0) & mask[near.clamp_min(0)]).any(1)
