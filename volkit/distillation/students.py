"""What a conversion fills: a representation of the kind that was asked for, of the size that suits its teacher."""

from dataclasses import replace

import torch

from volkit.choices import ParameterError
from volkit.distillation.sizes import checked_degree, default_config
from volkit.representations import (
    Field,
    Representation,
    RepresentationConfig,
    SplatsConfig,
    trainable_kinds,
)
from volkit.sampling.occupancy_grid import copy_occupancy

__all__ = ["build_student", "copy_if_alike", "new_student", "splats_config"]


def build_student(
    kind: str,
    teacher: Representation,
    splats: SplatsConfig,
    config: RepresentationConfig | None,
    generator: torch.Generator,
    anew: bool,
) -> Representation:
    """A student in its teacher's place; the teacher itself where nothing is to change; ValueError for no such kind.

    `splats` says what splats are to be like, `config` overrules the size. A field of the kind is learnt `anew`, too,
    where that is asked for or it is no such field itself, but one that was cut, moved or joined.
    """
    if kind not in trainable_kinds():
        choices = ", ".join((*trainable_kinds(), "mesh"))
        raise ParameterError(f"kind {kind}: there is no such kind to convert to; choose one of {choices}")
    if kind == splats.kind and splats == teacher.config:
        return teacher
    if kind != splats.kind and teacher.config.kind == kind and not anew:
        return teacher
    cameras = None if teacher.capture is None else teacher.capture.cameras
    config = config or default_config(kind, teacher.domain, teacher.world_from_local, cameras, splats)
    return new_student(teacher, config, generator)


def new_student(teacher: Representation, config: RepresentationConfig, generator: torch.Generator) -> Representation:
    """An untrained scene in its teacher's place: domain, placement, capture, device; of a field also occupancy."""
    student = config.build(teacher.domain, generator).view(placement=teacher.placement, capture=teacher.capture)
    student.to(teacher.device)
    if isinstance(student, Field) and isinstance(teacher, Field):
        copy_occupancy(teacher, student)
    return student


def copy_if_alike(teacher: Field, student: Field) -> bool:
    """Copy all tensors where kind, configuration and domain are equal; says whether they are."""
    alike = type(teacher) is type(student) and (teacher.config, teacher.domain) == (student.config, student.domain)
    if alike:
        student.load_state_dict(teacher.state_dict())
    return alike


def splats_config(teacher: Representation, most: int | None, degree: int | None, surfels: bool) -> SplatsConfig:
    """What splats are to be like: a source's own, but for what was asked for."""
    source = teacher.config
    own = source if isinstance(source, SplatsConfig) else SplatsConfig()
    count = min(own.count, most or own.count)
    kept = own.degree if degree is None else checked_degree(degree)
    if own is source:
        kept = min(kept, own.degree)
    changed = replace(own, count=count, degree=kept, surfels=own.surfels or surfels)
    return own if changed == own else replace(changed, extras=())
