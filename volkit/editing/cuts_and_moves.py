"""Edits that say what of a scene is to be seen, and where: cuts of fields and splats, similarities of anything."""

import math
from collections.abc import Callable
from typing import Literal

import torch

from volkit.geometry import Domain, Similarity
from volkit.representations import Ball, Cut, Edited, Field, Representation, Splats

__all__ = ["cut", "scale", "translate", "turn"]

Numbers = tuple[float, ...]
Change = Callable[[Representation, Numbers, torch.Generator], Representation]


def cut(shape: Literal["box", "sphere"], keep_inside: bool) -> Change:
    """The edit that keeps what is inside a box (two corners) or a ball (centre, radius), or else outside."""

    def cut_off(scene: Representation, numbers: Numbers, generator: torch.Generator) -> Representation:
        region = _box(numbers) if shape == "box" else _ball(numbers)
        if isinstance(scene, Splats):
            scene.kept(region.contains(scene.world_from_local.points(scene.means.detach())) == keep_inside)
            return scene
        assert isinstance(scene, Field)
        return Edited(scene, (Cut(region, keep_inside, scene.world_from_local),))

    return cut_off


def scale(scene: Representation, factor: Numbers, generator: torch.Generator) -> Representation:
    """Larger by a factor, about the world's origin."""
    return _moved(scene, Similarity(scale=factor[0]))


def translate(scene: Representation, offset: Numbers, generator: torch.Generator) -> Representation:
    """Elsewhere in the world."""
    return _moved(scene, Similarity(translation=offset))


def turn(axis: str) -> Change:
    """The edit that turns about one of the world's axes, counter-clockwise as seen against it, by degrees."""

    def turned(scene: Representation, degrees: Numbers, generator: torch.Generator) -> Representation:
        return _moved(scene, Similarity(rotation=_rotation(axis, math.radians(degrees[0]))))

    return turned


def _box(corners: Numbers) -> Domain:
    return Domain(corners[:3], corners[3:])  # pyright: ignore[reportArgumentType]


def _ball(numbers: Numbers) -> Ball:
    x, y, z, radius = numbers
    return Ball((x, y, z), radius)


def _moved(scene: Representation, change: Similarity) -> Representation:
    placement = change @ scene.world_from_local
    return scene.view(placement=placement, capture=None if scene.capture is None else scene.capture.moved(change))


def _rotation(axis: str, angle: float) -> tuple[Numbers, ...]:
    i = "xyz".index(axis)
    j, k = (i + 1) % 3, (i + 2) % 3
    rows = [[0.0] * 3 for _ in range(3)]
    rows[i][i] = 1.0
    rows[j][j] = rows[k][k] = math.cos(angle)
    rows[k][j], rows[j][k] = math.sin(angle), -math.sin(angle)
    return tuple(map(tuple, rows))
