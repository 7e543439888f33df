"""Voxels by tabulation: opacity kept through averages in alpha space, colours by least squares."""

import math

import torch

from volkit.distillation.exact.lattice import nodes_near_matter
from volkit.distillation.exact.matter import matter_on, shown_colours
from volkit.geometry import sh_count
from volkit.representations.field import Field
from volkit.representations.voxels import Voxels
from volkit.typing import Float, Tensor

__all__ = ["start_voxels"]

MOST_NODES = 1 << 20  # a chair at 192 a side: 9 CPU seconds with a hash grid; at 256 it takes 18 for 2 dB more
MIN_CELLS = 64
CEILING = (
    0.9  # alpha of a full voxel: interpolation to a larger density would swell the surface (0.8 dB, analytic scene)
)


def _bands(colours: Float[Tensor, "voxel 27"], student: Voxels) -> Float[Tensor, "voxel coefficient"]:
    """The coefficients that a student has room for: bands are orthogonal."""
    return colours.view(len(colours), 3, -1)[..., : sh_count(student.config.sh_degree)].flatten(1)


@torch.no_grad()
def start_voxels(teacher: Field, student: Voxels, generator: torch.Generator) -> None:
    """Tabulate the teacher in the cells marked by the student's occupancy, at its final resolution if affordable.

    Density: mean alpha of each voxel. Colour: degree-2 coefficients at the voxel's centre of opacity, for voxels that
    light can reach; the rest take their neighbours'. Voxels without matter around them are dropped.
    """
    resolution, extent = student.config.resolution, student.domain.extent
    while True:
        sizes = tuple(max(2, round(resolution * edge / max(extent))) for edge in extent)
        axes = tuple((torch.arange(size, device=teacher.device) + 0.5) / size for size in sizes)
        if resolution <= MIN_CELLS or len(nodes_near_matter(student, axes)) <= MOST_NODES:
            break
        resolution = resolution * 3 // 4
    matter = matter_on(teacher, student, axes, 1.0 / torch.tensor(sizes, device=teacher.device))
    colours = shown_colours(teacher, matter)
    kept = matter.grown(matter.solid, 3)  # three steps along the axes reach the corners of a cell
    if not kept.any():
        student.density_data.zero_()
        return
    rows = torch.arange(int(kept.sum()), dtype=torch.int32, device=kept.device)
    links = rows.new_full((sizes[0] * sizes[1] * sizes[2],), -1).index_copy_(0, matter.nodes[kept], rows)
    ceiling = -math.log1p(-CEILING) * matter.density / -torch.log1p(-matter.alpha).clamp_max(-1e-12)
    density = torch.minimum(matter.density, ceiling)[kept, None]
    tensors = {"links": links.view(sizes), "density_data": density, "sh_data": _bands(colours[kept], student)}
    student.load_state_dict({**student.state_dict(), **tensors})
