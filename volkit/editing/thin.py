"""Edits that leave splats out, or parts of their colour, and mean to be seen as little as can be."""

from dataclasses import replace

import torch

from volkit.devices import on_device
from volkit.editing.floaters import floating
from volkit.editing.importance import contributions
from volkit.editing.merge import thin_splats
from volkit.geometry import sh_count
from volkit.rendering.viewpoints import distillation_cameras
from volkit.representations import Representation, Splats
from volkit.representations.splats import BOUND_DEVIATIONS, PARAMETERS

__all__ = ["by_opacity", "by_size", "decimate", "floaters", "harmonics"]

NEIGHBOURS, RATIO = 16, 2.0  # of floaters, where nobody says; Open3D's own example has 20 and 2
CONTRIBUTION_VIEWS, CONTRIBUTION_SIZE = 24, 200  # pictures that say what each splat shows, and pixels a side

Numbers = tuple[float, ...]


def by_opacity(scene: Representation, numbers: Numbers, generator: torch.Generator) -> Splats:
    """Keep splats that are at least so opaque."""
    (least,) = numbers
    if not 0.0 <= least <= 1.0:
        raise ValueError("an opacity lies between 0 and 1")
    splats = _splats(scene)
    splats.kept(splats.opacities >= least)
    return splats


def by_size(scene: Representation, numbers: Numbers, generator: torch.Generator) -> Splats:
    """Keep splats whose largest standard deviation, world units, is at most the last number and at least the first."""
    smallest, largest = numbers if len(numbers) == 2 else (0.0, *numbers)
    splats = _splats(scene)
    size = splats.scales.amax(-1) * splats.world_from_local.scale
    splats.kept((size >= smallest) & (size <= largest))
    return splats


def floaters(scene: Representation, numbers: Numbers, generator: torch.Generator) -> Splats:
    """Leave out splats that touch no other: `floating`, by neighbours and ratio, as far as splats are drawn."""
    neighbours, ratio = numbers or (NEIGHBOURS, RATIO)
    if neighbours != round(neighbours) or neighbours < 1:
        raise ValueError("the number of neighbours is a whole one from 1")
    splats = _splats(scene)
    splats.kept(~floating(splats.means, BOUND_DEVIATIONS * splats.scales.amax(-1), int(neighbours), ratio))
    return splats


def harmonics(scene: Representation, numbers: Numbers, generator: torch.Generator) -> Splats:
    """Keep spherical harmonics to a degree; bands are orthogonal, so that the rest stays as it is."""
    (degree,) = numbers
    if degree not in range(5):
        raise ValueError("the harmonics of splats have degree 0 to 4")
    splats = _splats(scene)
    if degree < splats.config.degree:
        columns = {name: getattr(splats, name) for name in PARAMETERS}
        splats.replaced(columns | {"sh_rest": splats.sh_rest[:, : sh_count(int(degree)) - 1]})
        splats.config = replace(splats.config, degree=int(degree))
    return splats


def decimate(scene: Representation, numbers: Numbers, generator: torch.Generator) -> Splats:
    """Thin to a share (at most 1) or a count: `thin_splats`, by what each splat gives to pictures (`contributions`).

    Pictures are those of the scene's own cameras, else of some around it. Further columns of a file are left out: they
    may be labels, and splats that are joined have no common one.
    """
    (wanted,) = numbers
    splats = _splats(scene)
    most = round(wanted * len(splats)) if wanted <= 1.0 else int(wanted)
    if most < 1 or (wanted > 1.0 and wanted != most):
        raise ValueError("give a share above 0 and up to 1, or a whole count")
    if most >= len(splats):
        return splats
    for name in splats.config.extras:
        delattr(splats, f"extra_{name}")
    splats.config = replace(splats.config, extras=())
    cameras = distillation_cameras(splats, CONTRIBUTION_VIEWS, CONTRIBUTION_SIZE, generator)
    cameras = cameras[torch.randperm(len(cameras), generator=generator)[:CONTRIBUTION_VIEWS]].to(splats.device)
    thin_splats(splats, contributions(splats, cameras), most, on_device(generator, splats.device))
    return splats


def _splats(scene: Representation) -> Splats:
    assert isinstance(scene, Splats)
    return scene
