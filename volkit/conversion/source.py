"""Scenes to convert: read from files, joined and edited."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from volkit.conversion.options import FileChoices
from volkit.editing import Action, edit, merge
from volkit.editing.action import mark_empty
from volkit.io.opening import note_reading, open_scene
from volkit.progress import Progress
from volkit.representations import Representation

__all__ = ["Source"]

Change = Callable[[Representation], Representation]


@dataclass(frozen=True)
class Source:
    """A scene to convert; `whole` is the same cut and moved but not thinned, which what is made of it is held against.

    `files` are those that it was read from, `splats` how many they hold (None: it is made of other things),
    `seconds` what reading and editing took.
    """

    scene: Representation
    whole: Representation
    splats: int | None
    files: tuple[Path, ...] = ()
    seconds: float = 0.0

    @classmethod
    def of(cls, scene: Representation) -> "Source":
        """A scene in memory as it is."""
        return cls(scene, scene, scene.splat_count)

    @classmethod
    def read(
        cls, paths: Sequence[Path], choices: FileChoices, generator: torch.Generator, progress: Progress
    ) -> "Source":
        """One scene, or several joined; FormatError or ValueError with what is wrong."""
        started = time.perf_counter()
        dropping = progress if choices.drop_bad else None
        scenes = [open_scene(path, choices.device, dropping, choices.spz_frame) for path in paths]
        for path, scene in zip(paths, scenes, strict=True):
            note_reading(path, scene, progress)
        scene = scenes[0] if len(scenes) == 1 else mark_empty(merge(scenes), generator)
        return replace(cls.of(scene), files=tuple(paths), seconds=time.perf_counter() - started)

    def edited(self, actions: Sequence[Action], generator: torch.Generator, progress: Progress) -> "Source":
        """The same changed by the actions in their order; ValueError where one has no meaning for it."""
        if not actions:
            return self
        shapes = [action for action in actions if not action.keeps_appearance]
        return self.changed(
            lambda scene: edit(scene, actions, seed=generator, progress=progress),
            None if len(shapes) == len(actions) else lambda scene: edit(scene, shapes),
        )

    def changed(self, change: Change, shape: Change | None) -> "Source":
        """The same by a change; `shape` is what of it does not only thin the scene, None: all."""
        started = time.perf_counter()
        twin = None if shape is None else self.scene.with_()
        scene = change(self.scene)
        whole = scene if shape is None or twin is None else shape(twin)
        return replace(self, scene=scene, whole=whole, seconds=self.seconds + time.perf_counter() - started)
