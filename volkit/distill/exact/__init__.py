"""Rung 0: students that start from a closed form instead of from nothing."""

from collections.abc import Callable

import torch

from volkit.distill.exact.tensors import start_tensor_cp, start_tensor_vm
from volkit.distill.exact.voxels import start_voxels
from volkit.representations.field import Field

__all__ = ["exact"]

STARTS: dict[str, Callable[..., None]] = {
    "tensor_cp": start_tensor_cp,
    "tensor_vm": start_tensor_vm,
    "voxels": start_voxels,
}


@torch.no_grad()
def exact(teacher: Field, student: Field, generator: torch.Generator) -> bool:
    """Give a student the best start that can be computed without optimisation; true where there is one.

    Equal kind, configuration and domain: all tensors are copied. Voxels are tabulated, VM and CP tensors solved
    for; other kinds know no closed form and are left alone. Both fields share one local frame; the student's
    occupancy says where the teacher is asked, and stays as it is.
    """
    if type(teacher) is type(student) and (teacher.config, teacher.domain) == (student.config, student.domain):
        student.load_state_dict(teacher.state_dict())
        return True
    start = STARTS.get(student.config.kind)
    if start is None:
        return False
    start(teacher, student, generator)
    return True
