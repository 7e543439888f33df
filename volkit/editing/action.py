"""What an edit is, and how edits are applied: in their order, to a copy."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from typing import ClassVar

import torch

from volkit.devices import on_device
from volkit.progress import Progress
from volkit.representations import Field, Mesh, Representation, Splats
from volkit.representations.splat_extent import core
from volkit.sampling.occupancy import stride_for
from volkit.sampling.occupancy_grid import fill_occupancy, unpack_bits
from volkit.training.run import make_generator

__all__ = ["Action", "apply_action", "edit", "edit_in_place", "mark_empty"]

SPLATS: tuple[type[Representation], ...] = (Splats,)
CUTTABLE: tuple[type[Representation], ...] = (Field, Splats)
ANY: tuple[type[Representation], ...] = (Field, Splats, Mesh)


class Action(ABC):
    """One change of a scene, as a frozen value: a dataclass that says what is to be done, and `change`, which does it.

    Positions and lengths are in the scene's world frame and unit as they are when its turn comes. An action of one's
    own is a subclass:

    >>> @dataclass(frozen=True)
    ... class Fade(Action):
    ...     by: float
    ...     applies_to = (Splats,)
    ...     def change(self, scene, generator):
    ...         scene.logits.data -= self.by
    ...         return scene
    """

    applies_to: ClassVar[tuple[type[Representation], ...]] = SPLATS
    empties: ClassVar[bool] = False  # leaves places of a field empty that held something
    keeps_look: ClassVar[bool] = False  # leaves the scene where it is, as large as it is, and means to be seen little

    @abstractmethod
    def change(self, scene: Representation, generator: torch.Generator) -> Representation:
        """The scene changed; the one that is given may be changed and returned. ValueError where it cannot be done."""

    def check(self, scene: Representation) -> None:
        """Raise ValueError where the action has no meaning for a scene of this kind."""
        if isinstance(scene, self.applies_to):
            return
        name, kind = type(self).__name__, scene.config.kind
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
    """A new scene, changed by the actions in their order; the one given stays as it is, and nothing is shared with it.

    A cut is in the frame as it is when its turn comes: `Move.scale(2)`, then `Crop` crops the scaled scene. `seed` is
    for `Decimate`; a progress hears how many splats each action left. ValueError names the action that has no meaning
    for this scene, or that left nothing of it. Nothing here is differentiable.

    >>> small = edit(scene, [Crop(Box((-1, -1, 0), (1, 1, 2))), Decimate(0.5)])
    """
    return edit_in_place(deepcopy(scene), actions, make_generator(seed), progress)


def edit_in_place(
    scene: Representation, actions: Sequence[Action], generator: torch.Generator, progress: Progress | None = None
) -> Representation:
    """As `edit`, of a scene that nobody else needs: it is changed itself, which spares the memory of a copy."""
    for action in actions:
        before = len(scene) if isinstance(scene, Splats) else 0
        scene = apply_action(scene, action, generator)
        if progress is not None and isinstance(scene, Splats) and len(scene) < before:
            progress.note(f"{action}: {len(scene)} of {before} splats are left")
    return mark_empty(scene, generator) if any(action.empties for action in actions) else scene


def apply_action(scene: Representation, action: Action, generator: torch.Generator) -> Representation:
    """One action; ValueError where it has no meaning for the scene, or leaves no splat of it."""
    action.check(scene)
    before = len(scene) if isinstance(scene, Splats) else 0
    scene = action.change(scene, generator)
    if isinstance(scene, Splats) and len(scene) != before:
        if not len(scene):
            raise ValueError(f"none of {before} splats is left; ask for less")
        scene.domain = core(scene)
    return scene


def mark_empty(scene: Representation, generator: torch.Generator) -> Representation:
    """Mark in a field's occupancy what cuts have emptied: whoever draws or learns need not ask there."""
    if isinstance(scene, Field):
        visible = unpack_bits(scene.occupancy)
        fill_occupancy(scene, stride_for(scene.domain), on_device(generator, scene.device), visible=visible)
    return scene
