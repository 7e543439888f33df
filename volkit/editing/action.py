"""The interface of actions, and `edit`, which applies them in order to a copy."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch

from volkit.devices import on_device
from volkit.progress import Progress
from volkit.representations import Field, Mesh, Representation, Splats, innermost
from volkit.representations.splat_extent import core_box
from volkit.sampling.occupancy import stride_for
from volkit.sampling.occupancy_grid import fill_occupancy, unpack_bits
from volkit.training.run import make_generator

__all__ = ["Action", "apply_action", "edit", "mark_empty"]

SPLATS: tuple[type[Representation], ...] = (Splats,)
CUTTABLE: tuple[type[Representation], ...] = (Field, Splats)
ANY: tuple[type[Representation], ...] = (Field, Splats, Mesh)


class Action(ABC):
    """One change of a scene: a frozen dataclass with the method `change`.

    Positions and lengths are in the scene's world frame and unit at the time of the change. A user's action is a
    subclass.

    Attributes:
        applies_to: kinds that it can change.
        empties: whether parts of a field may become empty.
        keeps_appearance: whether the scene is meant to look nearly the same, in the same place and size.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Fade(Action):
        ...     by: float
        ...     applies_to = (Splats,)
        ...     def change(self, scene, generator):
        ...         faded = scene.with_()
        ...         faded.logits.data -= self.by
        ...         return faded
    """

    applies_to: ClassVar[tuple[type[Representation], ...]] = SPLATS
    empties: ClassVar[bool] = False
    keeps_appearance: ClassVar[bool] = False

    @abstractmethod
    def change(self, scene: Representation, generator: torch.Generator) -> Representation:
        """The changed scene; the given one stays as it is, and may share unchanged tensors (`Representation.view`).

        ValueError where the scene cannot be changed in this way.
        """

    def check(self, scene: Representation) -> None:
        """Raise ValueError where the action does not apply to a scene of this kind."""
        if isinstance(scene, self.applies_to):
            return
        name, kind = type(self).__name__, innermost(scene).config.kind
        if self.applies_to == SPLATS:
            raise ValueError(f"{name} is for splats, and the source is a {kind}; convert it to splats first")
        raise ValueError(f"{name}: a {kind} can be moved but not cut; convert it first")


def edit(
    scene: Representation,
    actions: Sequence[Action],
    *,
    seed: int | torch.Generator = 0,
    progress: Progress | None = None,
) -> Representation:
    """Apply actions in order to a copy of a scene, which shares nothing with the given one. Not differentiable.

    Each action takes the scene as the one before it left it: after `Move.scale(2)`, `Crop` crops the scaled scene.

    Args:
        scene: the scene, which stays as it is.
        actions: applied in this order.
        seed: a number, or a CPU generator; for `Decimate`.
        progress: receives a note of how many splats each action left.

    Raises:
        ValueError: an action does not apply to this scene, or left nothing of it.

    Example:
        >>> small = edit(scene, [Crop(Box((-1, -1, 0), (1, 1, 2))), Decimate(0.5)])  # doctest: +SKIP
    """
    scene, generator = scene.with_(), make_generator(seed)
    for action in actions:
        before = scene.splat_count or 0
        scene = apply_action(scene, action, generator)
        if progress is not None and scene.splat_count is not None and scene.splat_count < before:
            progress.note(f"{action}: {scene.splat_count} of {before} splats are left")
    return mark_empty(scene, generator) if any(action.empties for action in actions) else scene


def apply_action(scene: Representation, action: Action, generator: torch.Generator) -> Representation:
    """Apply one action; tensors may be shared. ValueError where it does not apply, or leaves no splat."""
    action.check(scene)
    before = scene.splat_count
    scene = action.change(scene, generator)
    if isinstance(scene, Splats) and len(scene) != before:
        if not len(scene):
            raise ValueError(f"none of {before} splats is left; remove less")
        scene = scene.view(domain=core_box(scene))
    return scene


def mark_empty(scene: Representation, generator: torch.Generator) -> Representation:
    """Clear the occupancy of the cells that a new wrapper has emptied."""
    if isinstance(scene, Field):
        visible = unpack_bits(scene.occupancy)
        fill_occupancy(scene, stride_for(scene.domain), on_device(generator, scene.device), visible=visible)
    return scene
