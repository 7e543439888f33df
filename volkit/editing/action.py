"""What an edit is, and how edits are applied: in their order, to a copy."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch

from volkit.devices import on_device
from volkit.progress import Progress
from volkit.representations import Field, Mesh, Representation, Splats, innermost
from volkit.representations.splat_extent import core
from volkit.sampling.occupancy import stride_for
from volkit.sampling.occupancy_grid import fill_occupancy, unpack_bits
from volkit.training.run import make_generator

__all__ = ["Action", "apply_action", "edit", "mark_empty"]

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
    ...         faded = scene.with_()
    ...         faded.logits.data -= self.by
    ...         return faded
    """

    applies_to: ClassVar[tuple[type[Representation], ...]] = SPLATS
    empties: ClassVar[bool] = False  # leaves places of a field empty that held something
    keeps_look: ClassVar[bool] = False  # leaves the scene where it is, as large as it is, and means to be seen little

    @abstractmethod
    def change(self, scene: Representation, generator: torch.Generator) -> Representation:
        """A changed scene; the one that is given stays as it is, and tensors that are not changed may be common to both
        (`Representation.view`). ValueError where it cannot be done."""

    def check(self, scene: Representation) -> None:
        """Raise ValueError where the action has no meaning for a scene of this kind."""
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
    """A new scene, changed by the actions in their order; the one given stays as it is, and nothing is shared with it.

    A cut is in the frame as it is when its turn comes: `Move.scale(2)`, then `Crop` crops the scaled scene. `seed` is
    for `Decimate`; a progress hears how many splats each action left. ValueError names the action that has no meaning
    for this scene, or that left nothing of it. Nothing here is differentiable.

    >>> small = edit(scene, [Crop(Box((-1, -1, 0), (1, 1, 2))), Decimate(0.5)])
    """
    scene, generator = scene.with_(), make_generator(seed)
    for action in actions:
        before = scene.splat_count or 0
        scene = apply_action(scene, action, generator)
        if progress is not None and scene.splat_count is not None and scene.splat_count < before:
            progress.note(f"{action}: {scene.splat_count} of {before} splats are left")
    return mark_empty(scene, generator) if any(action.empties for action in actions) else scene


def apply_action(scene: Representation, action: Action, generator: torch.Generator) -> Representation:
    """One action; ValueError where it has no meaning for the scene, or leaves no splat of it. Tensors may be shared."""
    action.check(scene)
    before = scene.splat_count
    scene = action.change(scene, generator)
    if isinstance(scene, Splats) and len(scene) != before:
        if not len(scene):
            raise ValueError(f"none of {before} splats is left; ask for less")
        scene = scene.view(domain=core(scene))
    return scene


def mark_empty(scene: Representation, generator: torch.Generator) -> Representation:
    """Mark in the occupancy of a wrapper that was just made what it has emptied: nobody need ask there."""
    if isinstance(scene, Field):
        visible = unpack_bits(scene.occupancy)
        fill_occupancy(scene, stride_for(scene.domain), on_device(generator, scene.device), visible=visible)
    return scene
