"""What a conversion starts from: one scene or several joined, with its edits; and what it is measured against."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional

from volkit.choices import Device
from volkit.devices import on_device
from volkit.editing.actions import edited, shaping
from volkit.io import SpzFrame
from volkit.io.opening import open_scene
from volkit.io.splats.columns import FLAT_LOG_SCALE, joined, splats_of
from volkit.progress import Progress
from volkit.representations import Composed, Field, Placed, Representation, Splats
from volkit.sampling.occupancy import stride_for
from volkit.sampling.occupancy_grid import fill_occupancy, unpack_bits

__all__ = ["OpenedSource", "SourceOptions", "joined_scenes"]


@dataclass(frozen=True)
class OpenedSource:
    """A scene to convert; `whole` is the same cut and moved but not thinned, `splats` how many the files hold."""

    scene: Representation
    whole: Representation
    splats: int | None


@dataclass(frozen=True)
class SourceOptions:
    """How sources are read and edited, in the words of the command line."""

    device: Device
    drop_bad: bool
    spz_frame: SpzFrame
    edits: tuple[str, ...]

    def __call__(self, paths: Sequence[Path], generator: torch.Generator, progress: Progress) -> OpenedSource:
        """Read, join, edit; FormatError or ValueError with what is wrong."""
        dropping = progress if self.drop_bad else None
        scenes = [open_scene(path, self.device, dropping, self.spz_frame) for path in paths]
        scene = scenes[0] if len(scenes) == 1 else joined_scenes(scenes)
        if not self.edits:
            return OpenedSource(scene, scene, _count(scene))
        shapes, count = shaping(self.edits), _count(scene)
        twin = None if len(shapes) == len(self.edits) else scene.with_()
        scene = edited(scene, self.edits, generator, progress)
        if isinstance(scene, Field):
            somewhere, look = unpack_bits(scene.occupancy), on_device(generator, scene.device)
            fill_occupancy(scene, stride_for(scene.domain), look, visible=somewhere)
        return OpenedSource(scene, scene if twin is None else edited(twin, shapes), count)


def joined_scenes(scenes: Sequence[Representation]) -> Representation:
    """All in one, in the world's frame: fields add up, splats lie beside one another. ValueError for other mixtures.

    Splats of lower degree get harmonics of zero, surfels among others a third scale of nearly nothing; columns that are
    not understood are left out. Cameras are those of the first scene that has any.
    """
    fields = [scene for scene in scenes if isinstance(scene, Field)]
    splats = [scene for scene in scenes if isinstance(scene, Splats)]
    if len(fields) == len(scenes):
        return Composed([f if f.world_from_local.is_identity else Placed(f, f.world_from_local) for f in fields])
    if len(splats) < len(scenes):
        kinds = ", ".join(dict.fromkeys(scene.config.kind for scene in scenes))
        raise ValueError(f"--compose joins fields, or splats, and not {kinds}; convert them to one kind first")
    columns = [scene.columns_in() for scene in splats]
    if not all(scene.config.surfels for scene in splats):
        for each in columns:
            each["log_scales"] = functional.pad(
                each["log_scales"], (0, 3 - each["log_scales"].shape[1]), value=FLAT_LOG_SCALE
            )
    mip = all(scene.config.mip for scene in splats)
    whole = splats_of(joined(columns), mip=mip, provenance={"joined": [dict(scene.provenance) for scene in splats]})
    capture = next((scene.capture for scene in splats if scene.capture is not None), None)
    return whole.view(capture=capture).requires_grad_(False)


def _count(scene: Representation) -> int | None:
    return len(scene) if isinstance(scene, Splats) else None
