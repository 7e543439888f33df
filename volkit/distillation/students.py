"""The configuration of a student and its untrained scene."""

from dataclasses import replace

import torch

from volkit.choices import ParameterError
from volkit.geometry import Cameras, Domain, Similarity
from volkit.representations import (
    Field,
    Representation,
    RepresentationConfig,
    SplatsConfig,
    config_class,
    trainable_kinds,
)
from volkit.sampling.occupancy import pixel_width
from volkit.sampling.occupancy_grid import copy_occupancy

__all__ = [
    "build_student",
    "checked_degree",
    "copy_if_alike",
    "default_config",
    "new_student",
    "splats_config",
    "untrainable",
]

MAX_DEGREE = 4  # of the spherical harmonics of splats


def checked_degree(degree: int) -> int:
    """The degree of spherical harmonics itself; ParameterError for one that splats cannot have."""
    if not 0 <= degree <= MAX_DEGREE:
        raise ParameterError(f"degree {degree}: the harmonics of splats have degree 0 to {MAX_DEGREE}")
    return degree


def default_config(
    kind: str, domain: Domain, placement: Similarity, cameras: Cameras | None, splats: SplatsConfig
) -> RepresentationConfig:
    """The default configuration of a kind: as published, but no finer than pictures of these cameras resolve.

    Args:
        kind: name of the kind.
        domain: of the scene.
        placement: world from local.
        cameras: world frame; None: they are unknown, and nothing is limited.
        splats: the configuration if the kind is that of splats.

    Raises:
        ValueError: the kind is a wrapper, which is made of other scenes.
    """
    if kind == splats.kind:
        return splats
    built = config_class(kind)
    if not issubclass(built, RepresentationConfig):
        raise ValueError(f"{kind}: is made of other scenes, and nothing by itself")
    config = built()
    if cameras is None or domain.contracted:
        return config
    return config.for_pictures(max(domain.extent) / pixel_width(domain, placement, cameras))


def build_student(
    kind: str,
    teacher: Representation,
    splats: SplatsConfig,
    config: RepresentationConfig | None,
    generator: torch.Generator,
    anew: bool,
) -> Representation:
    """An untrained student, or the teacher itself where there is nothing to change.

    Args:
        kind: of the student.
        teacher: the teacher.
        splats: configuration of the student if it is splats.
        config: configuration of any other kind; None: its default.
        generator: of the initial parameters.
        anew: build a student of a field even if the teacher is of this kind.

    Raises:
        ParameterError: there is no such trainable kind.
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
    """An untrained scene with its teacher's domain, placement, capture and device, and between fields its occupancy."""
    student = config.build(teacher.domain, generator).view(placement=teacher.placement, capture=teacher.capture)
    student.to(teacher.device)
    if isinstance(student, Field) and isinstance(teacher, Field):
        copy_occupancy(teacher, student)
    return student


def copy_if_alike(teacher: Field, student: Field) -> bool:
    """Copy all tensors if kind, configuration and domain are equal; returns whether they are."""
    alike = type(teacher) is type(student) and (teacher.config, teacher.domain) == (student.config, student.domain)
    if alike:
        student.load_state_dict(teacher.state_dict())
    return alike


def splats_config(teacher: Representation, max_splats: int | None, degree: int | None, surfels: bool) -> SplatsConfig:
    """The configuration of splats: the teacher's own if it is splats, with these changes.

    Args:
        teacher: the teacher.
        max_splats: number of splats at most; None: no limit.
        degree: of spherical harmonics, at most the own; None: the own.
        surfels: flat splats in any case.
    """
    source = teacher.config
    own = source if isinstance(source, SplatsConfig) else SplatsConfig()
    count = min(own.count, max_splats or own.count)
    new_degree = own.degree if degree is None else checked_degree(degree)
    if own is source:
        new_degree = min(new_degree, own.degree)
    changed = replace(own, count=count, degree=new_degree, surfels=own.surfels or surfels)
    return own if changed == own else replace(changed, extras=())


def untrainable(scene: Representation) -> TypeError:
    """The error about a scene that cannot be trained."""
    return TypeError(f"a {type(scene).__name__} learns nothing: fields and splats can be students")
