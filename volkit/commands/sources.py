"""What a conversion starts from: one scene or several joined, with its edits; and what it is measured against."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from volkit.choices import Device, SpzFrame
from volkit.commands.edits import apply_edits, shape_edits
from volkit.editing import merge
from volkit.editing.action import mark_empty
from volkit.io.opening import open_scene
from volkit.progress import Progress
from volkit.representations import Representation, Splats

__all__ = ["OpenedSource", "SourceOptions"]


@dataclass(frozen=True)
class OpenedSource:
    """A scene to convert; `whole` is the same cut and moved but not thinned, `splats` how many the files hold."""

    scene: Representation
    whole: Representation
    splats: int | None
    seconds: float = 0.0  # that reading and editing took

    @classmethod
    def of(cls, scene: Representation) -> "OpenedSource":
        """A scene in memory as it is."""
        return cls(scene, scene, _count(scene))


@dataclass(frozen=True)
class SourceOptions:
    """How sources are read and edited, in the words of the command line."""

    device: Device
    drop_bad: bool
    spz_frame: SpzFrame
    edits: tuple[str, ...]

    def __call__(self, paths: Sequence[Path], generator: torch.Generator, progress: Progress) -> OpenedSource:
        """Read, join, edit; FormatError or ValueError with what is wrong."""
        started = time.perf_counter()
        dropping = progress if self.drop_bad else None
        scenes = [open_scene(path, self.device, dropping, self.spz_frame) for path in paths]
        scene = scenes[0] if len(scenes) == 1 else mark_empty(merge(scenes), generator)
        if not self.edits:
            return OpenedSource(scene, scene, _count(scene), time.perf_counter() - started)
        shapes, count = shape_edits(self.edits), _count(scene)
        twin = None if len(shapes) == len(self.edits) else scene.with_()
        scene = apply_edits(scene, self.edits, generator, progress)
        whole = scene if twin is None else apply_edits(twin, shapes)
        return OpenedSource(scene, whole, count, time.perf_counter() - started)


def _count(scene: Representation) -> int | None:
    return len(scene) if isinstance(scene, Splats) else None
