"""Initialisation and learning rates of a student of PVD: shared heads, full size, densities within the clamp.

Facts: megvii-research/AAAI2023-PVD. Rates are AdamW's with a cosine over the budget, 1e-2 (mlp and the heads of tensors
1e-3) to 7e-5, decay 0.01. Its densities are exponentials of the parameters, which suits rates and clamp; where a
representation's published density is another function, the initialisation and, for voxels, the rate compensate for it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import singledispatch

import torch
from torch.nn import functional

from volkit.distillation.field_training import FieldTrainee, Schedule, Stage, TrainableField
from volkit.distillation.pvd_objective import PvdObjective, PvdSettings
from volkit.distillation.stages import FieldPair
from volkit.distillation.students import copy_if_alike
from volkit.ops.param_group import ParamGroup
from volkit.representations import Mlp, Representation, TensorCP, TensorVM, Voxels
from volkit.representations.field import OCCUPANCY_RESOLUTION, Field
from volkit.representations.occupancy_bits import occupancy_cells
from volkit.sampling.occupancy import OccupancySampler
from volkit.training.loop import StepInfo, cosine
from volkit.typing import Tensor

__all__ = ["initialise_density", "pvd_groups", "pvd_schedule", "pvd_trainee", "share_heads"]

RATE, SLOW_RATE, LAST_RATE = 1e-2, 1e-3, 7e-5
WEIGHT_DECAY = 0.01
SLOW_HEADS = ("tensor_vm", "tensor_cp")  # kinds whose networks have the slow rate
OWN_RATES = ("voxels",)  # kinds that keep their own rates


def pvd_trainee(pair: FieldPair, settings: PvdSettings) -> FieldTrainee:
    """The trainee of PVD or PVD-AL; the student is initialised.

    It has its full size, shared heads and the teacher's occupancy from the first step, and no penalties. Its learning
    rates follow `pvd_schedule`. Samples are jittered, as in the published code.
    """
    teacher, student, generator = pair.teacher, pair.student, pair.generator
    initialise_density(student)
    _grow(student)
    share_heads(teacher, student)
    sampler = OccupancySampler(teacher, pair.stride, pair.near, generator)
    objective = PvdObjective(teacher, pair.cameras, sampler, pair.local_rays, settings, generator)
    schedule = Schedule(pvd_groups, own_penalties=False, own_growth=False)
    return FieldTrainee(TrainableField(student, schedule=schedule), [Stage(objective)], generator)


def pvd_schedule(student: Representation) -> Callable[[StepInfo], float]:
    """Factor of the learning rates: half a cosine over the budget down to 7e-5, without warm-up."""
    return cosine(LAST_RATE / _rate(student.config.kind), warmup_steps=1)


def pvd_groups(student: Field) -> list[ParamGroup]:
    """The student's groups under Adam at the published rates, with weight decay (1e-4 of every value a step at first).

    Voxels keep their own rates: their density is no exponential and must change by its own magnitude.
    """
    groups, kind = [], student.config.kind
    for group in student.param_groups():
        rate = SLOW_RATE if group.name == "networks" and kind in SLOW_HEADS else _rate(kind)
        lr = group.lr if kind in OWN_RATES else rate
        groups.append(replace(group, lr=lr, weight_decay=WEIGHT_DECAY * rate / lr, rule="adam"))
    return groups


def _rate(kind: str) -> float:
    return SLOW_RATE if kind == "mlp" else RATE


@torch.no_grad()
def share_heads(teacher: Field, student: Field) -> tuple[str, ...]:
    """Copy every parameter of equal name and shape into the student, and the occupancy; returns the names.

    The published code loads the teacher's checkpoint into the student, strict=False. With equal
    configurations the student becomes a copy. Occupancy is copied if both have the same domain.
    """
    if copy_if_alike(teacher, student):
        return tuple(teacher.state_dict())
    theirs = dict(teacher.named_parameters())
    shared = []
    for name, parameter in student.named_parameters():
        if name in theirs and theirs[name].shape == parameter.shape:
            parameter.copy_(theirs[name])
            shared.append(name)
    if teacher.domain == student.domain:
        student.occupancy.copy_(teacher.occupancy)
        shared.append("occupancy")
    return tuple(shared)


@torch.no_grad()
def initialise_density(student: Field) -> None:
    """Set the density of an untrained student to 1 per half edge of its domain, log density 0, as published.

    A NeRF's `relu` and TensoRF's `softplus(x - 10)` are initially almost 0, below the clamp, where the gradient is 0.
    One constant component of a tensor, or a bias, changes that; hash grids and planes are exponentials already.
    """
    _set_density(student, 0.5 * max(student.domain.extent))


@singledispatch
def _set_density(student: Field, half: float) -> None:
    """Nothing to do for kinds whose density is an exponential."""


@_set_density.register
def _set_voxels(student: Voxels, half: float) -> None:
    student.density_data.fill_(1.0 / half)


@_set_density.register
def _set_mlp(student: Mlp, half: float) -> None:
    level = 1.0 if student.config.coordinates == "domain" else 1.0 / half
    if student.config.view_directions:
        student.fc_alpha.bias.fill_(level)
    else:
        student.fc_out.bias[3] = level


@_set_density.register
def _set_vm(student: TensorVM, half: float) -> None:
    _set_factors(student.factors("density")[:2], student, half)


@_set_density.register
def _set_cp(student: TensorCP, half: float) -> None:
    _set_factors(list(student.density_line), student, half)


def _set_factors(parts: Sequence[Tensor], student: TensorVM | TensorCP, half: float) -> None:
    scale = student.config.density_scale / student.domain.unit_edge
    feature = math.log(math.expm1(1.0 / (half * scale))) - student.config.density_shift
    magnitude = abs(feature) ** (1.0 / len(parts))
    for index, part in enumerate(parts):
        part[:, 0] = math.copysign(magnitude, feature) if index == 0 else magnitude


@torch.no_grad()
def _grow(student: Field) -> None:
    """Grow to the full size: the published code does not upsample. Voxels are pruned to the frozen occupancy."""
    if not isinstance(student, Voxels):
        student.refine(1.0)
        return
    student.upsample(min(128, student.config.resolution))
    device = student.occupancy.device
    cells = occupancy_cells(device).long()
    bits = (student.occupancy[:, None] >> torch.arange(8, dtype=torch.uint8, device=device)) & 1
    occupied = torch.zeros(1, 1, *(OCCUPANCY_RESOLUTION,) * 3, device=device)
    occupied[0, 0, cells[:, 0], cells[:, 1], cells[:, 2]] = bits.flatten().float()
    nodes = functional.adaptive_max_pool3d(occupied, tuple(student.links.shape))
    student.keep(functional.max_pool3d(nodes, 3, 1, 1)[0, 0] > 0)
    student.upsample(student.config.resolution)
