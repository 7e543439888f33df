"""Students initialised in closed form."""

import math
from collections.abc import Callable

import torch

from volkit.distillation.lattice import occupied_nodes, sample_on_lattice, surface_colours
from volkit.distillation.students import copy_if_alike
from volkit.distillation.tensor_start import initialise_tensor_cp, initialise_tensor_vm
from volkit.geometry import sh_count
from volkit.representations.field import Field
from volkit.representations.voxels import Voxels
from volkit.typing import Float, Tensor

__all__ = ["initialise_from_teacher"]

COPY_RATE = 0.1  # factor of the learning rates of a copy
MAX_NODES = 1 << 20  # a chair at 192 cells a side: 9 CPU seconds with a hash grid; 256 take 18 for 2 dB more
MIN_RESOLUTION = 64
MAX_ALPHA = 0.9  # of a voxel: interpolation towards larger densities would inflate the surface (0.8 dB)


@torch.no_grad()
def initialise_from_teacher(teacher: Field, student: Field, generator: torch.Generator) -> float:
    """Initialise a student from its teacher in closed form, without optimisation.

    With equal kind, configuration and domain all tensors are copied. Voxels are tabulated, VM and CP tensors solved
    for by least squares; other kinds have no closed form and are not changed.

    Args:
        teacher: evaluated where the student's occupancy is set.
        student: changed in place, but for its occupancy; in the teacher's local frame.
        generator: of the solvers' initial values.

    Returns:
        The factor of the learning rates: below 1 where steps at the full rate would first undo the initialisation
        (measured on voxels and VM tensors of 35 and 32 dB).
    """
    if copy_if_alike(teacher, student):
        return COPY_RATE
    if student.config.kind not in STARTS:
        return 1.0
    start, rate = STARTS[student.config.kind]
    start(teacher, student, generator)
    return rate


def _bands(colours: Float[Tensor, "voxel 27"], student: Voxels) -> Float[Tensor, "voxel coefficient"]:
    """The coefficients up to the student's degree; bands are orthogonal."""
    return colours.view(len(colours), 3, -1)[..., : sh_count(student.config.sh_degree)].flatten(1)


@torch.no_grad()
def initialise_voxels(teacher: Field, student: Voxels, generator: torch.Generator) -> None:
    """Tabulate the teacher in the cells of the student's occupancy, at the final resolution if there are few enough.

    Density: that of the mean alpha of each voxel. Colour: spherical harmonics of degree 2 at the voxel's centre of
    opacity where light can reach it, else those of its neighbours. Voxels without matter around them are pruned.
    """
    resolution, extent = student.config.resolution, student.domain.extent
    while True:
        sizes = tuple(max(2, round(resolution * edge / max(extent))) for edge in extent)
        axes = tuple((torch.arange(size, device=teacher.device) + 0.5) / size for size in sizes)
        if resolution <= MIN_RESOLUTION or len(occupied_nodes(student, axes)) <= MAX_NODES:
            break
        resolution = resolution * 3 // 4
    matter = sample_on_lattice(teacher, student, axes, 1.0 / torch.tensor(sizes, device=teacher.device))
    colours = surface_colours(teacher, matter)
    kept = matter.dilate(matter.solid, 3)  # three steps along the axes reach the corners of a cell
    if not kept.any():
        student.density_data.zero_()
        return
    rows = torch.arange(int(kept.sum()), dtype=torch.int32, device=kept.device)
    links = rows.new_full((sizes[0] * sizes[1] * sizes[2],), -1).index_copy_(0, matter.nodes[kept], rows)
    limit = -math.log1p(-MAX_ALPHA) * matter.density / -torch.log1p(-matter.alpha).clamp_max(-1e-12)
    density = torch.minimum(matter.density, limit)[kept, None]
    tensors = {"links": links.view(sizes), "density_data": density, "sh_data": _bands(colours[kept], student)}
    student.load_state_dict({**student.state_dict(), **tensors})


STARTS: dict[str, tuple[Callable[..., None], float]] = {
    "tensor_cp": (initialise_tensor_cp, 1.0),
    "tensor_vm": (initialise_tensor_vm, 0.3),
    "voxels": (initialise_voxels, 0.3),
}
