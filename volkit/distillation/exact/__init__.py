"""Rung 0: students that start from a closed form instead of from nothing."""

from collections.abc import Callable

import torch

from volkit.distillation.exact.tensors import start_tensor_cp, start_tensor_vm
from volkit.distillation.exact.voxels import start_voxels
from volkit.distillation.students import copy_if_alike
from volkit.representations.field import Field

__all__ = ["exact"]

COPIED = 0.1  # of the first learning rates, for a student that is a copy already
STARTS: dict[str, tuple[Callable[..., None], float]] = {
    "tensor_cp": (start_tensor_cp, 1.0),
    "tensor_vm": (start_tensor_vm, 0.3),
    "voxels": (start_voxels, 0.3),
}


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
