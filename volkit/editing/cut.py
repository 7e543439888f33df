"""Cuts: keep what is inside a solid, or what is outside."""

from dataclasses import dataclass
from functools import singledispatch

import torch

from volkit.editing.action import CUTTABLE, Action
from volkit.geometry import Box
from volkit.representations import Ball, Cut, Edited, Field, Representation, Splats

__all__ = ["Crop", "Erase"]


@dataclass(frozen=True)
class Crop(Action):
    """Keep the inside of a box or a ball: of fields the density there, of splats those whose centres lie there.

    Attributes:
        region: world frame and unit.

    Example:
        >>> crop = Crop(Box((-1, -1, 0), (1, 1, 2)))
        >>> crop.region.upper
        (1, 1, 2)
    """

    region: Box | Ball
    applies_to = CUTTABLE
    empties = True

    def change(self, scene: Representation, generator: torch.Generator) -> Representation:
        """The scene without its part outside the region."""
        return _cut(scene, self.region, keep_inside=True)


@dataclass(frozen=True)
class Erase(Action):
    """Keep the outside of a box or a ball; see `Crop`.

    Attributes:
        region: world frame and unit.
    """

    region: Box | Ball
    applies_to = CUTTABLE
    empties = True

    def change(self, scene: Representation, generator: torch.Generator) -> Representation:
        """The scene without its part inside the region."""
        return _cut(scene, self.region, keep_inside=False)


@singledispatch
def _cut(scene: Representation, region: Box | Ball, keep_inside: bool) -> Representation:
    raise TypeError(f"a {type(scene).__name__} cannot be cut")


@_cut.register
def _cut_splats(scene: Splats, region: Box | Ball, keep_inside: bool) -> Representation:
    scene = scene.view()
    scene.keep(region.contains(scene.world_from_local.points(scene.means.detach())) == keep_inside)
    return scene


@_cut.register
def _cut_field(scene: Field, region: Box | Ball, keep_inside: bool) -> Representation:
    solid = region.domain if isinstance(region, Box) else region
    return Edited(scene, (Cut(solid, keep_inside, scene.world_from_local),))
