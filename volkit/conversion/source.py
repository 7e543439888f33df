"""Sources of conversions: scenes read from files, merged and edited."""

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
    """A scene to convert, and the reference that the result is compared with.

    Attributes:
        scene: read and edited.
        whole: the same without edits that keep its appearance, such as decimation: the reference.
        splats: number of splats in the files; None for other kinds.
        files: that it was read from.
        seconds: of reading and editing.
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
        """Read one scene, or several and merge them; FormatError or ValueError with what is wrong."""
        started = time.perf_counter()
        dropping = progress if choices.drop_bad else None
        scenes = [open_scene(path, choices.device, dropping, choices.spz_frame) for path in paths]
        for path, scene in zip(paths, scenes, strict=True):
            note_reading(path, scene, progress)
        scene = scenes[0] if len(scenes) == 1 else mark_empty(merge(scenes), generator)
        return replace(cls.of(scene), files=tuple(paths), seconds=time.perf_counter() - started)

    def edited(self, actions: Sequence[Action], generator: torch.Generator, progress: Progress) -> "Source":
        """The source edited by actions in their order; ValueError where one does not apply to it."""
        if not actions:
            return self
        shapes = [action for action in actions if not action.keeps_appearance]
        return self.changed(
            lambda scene: edit(scene, actions, seed=generator, progress=progress),
            None if len(shapes) == len(actions) else lambda scene: edit(scene, shapes),
        )

    def changed(self, change: Change, shape: Change | None) -> "Source":
        """The source changed by a function; `shape` is the part of it that changes the appearance, None: all."""
        started = time.perf_counter()
        twin = None if shape is None else self.scene.with_()
        scene = change(self.scene)
        whole = scene if shape is None or twin is None else shape(twin)
        return replace(self, scene=scene, whole=whole, seconds=self.seconds + time.perf_counter() - started)
