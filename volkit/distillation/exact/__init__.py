"""Rung 0: students that start from a closed form instead of from nothing."""

import math
from collections.abc import Callable

import torch

from volkit.distillation.exact.lattice import nodes_near_matter
from volkit.distillation.exact.matter import matter_on, shown_colours
from volkit.distillation.exact.tensors import start_tensor_cp, start_tensor_vm
from volkit.distillation.students import copy_if_alike
from volkit.geometry import sh_count
from volkit.representations.field import Field
from volkit.representations.voxels import Voxels
from volkit.typing import Float, Tensor

__all__ = ["exact"]

COPIED = 0.1  # of the first learning rates, for a student that is a copy already
MAX_NODES = 1 << 20  # a chair at 192 a side: 9 CPU seconds with a hash grid; at 256 it takes 18 for 2 dB more
MIN_CELLS = 64
CEILING = 0.9  # alpha of a full voxel: interpolation to a larger density would swell the surface (0.8 dB)


@torch.no_grad()
def exact(teacher: Field, student: Field, generator: torch.Generator) -> float:
    """Give a student the best start that can be computed without optimisation; returns the factor of its first rates.

    Equal kind, configuration and domain: all tensors are copied. Voxels are tabulated, VM and CP tensors solved
    for; other kinds know no closed form and are left alone. Both fields share one local frame; the student's
    occupancy says where the teacher is asked, and stays as it is. The factor is below 1 where steps at the full rate
    would first undo the start (measured on voxels and VM tensors of 35 and 32 dB).
    """
    if copy_if_alike(teacher, student):
        return COPIED
    if student.config.kind not in STARTS:
        return 1.0
    start, rate = STARTS[student.config.kind]
    start(teacher, student, generator)
    return rate


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
        if resolution <= MIN_CELLS or len(nodes_near_matter(student, axes)) <= MAX_NODES:
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


STARTS: dict[str, tuple[Callable[..., None], float]] = {
    "tensor_cp": (start_tensor_cp, 1.0),
    "tensor_vm": (start_tensor_vm, 0.3),
    "voxels": (start_voxels, 0.3),
}
