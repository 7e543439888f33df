"""Scene file or dataset? And opening scenes ready for rendering."""

from pathlib import Path

import torch

from volkit.choices import Device
from volkit.devices import chosen_device
from volkit.io import FORMATS, FormatError, SpzFrame, load, plug_in_formats
from volkit.progress import Progress
from volkit.representations import Capture, Field, Representation, Splats
from volkit.sampling.occupancy import stride_for
from volkit.sampling.occupancy_grid import fill_occupancy

__all__ = ["capture_size", "is_scene", "open_scene"]


def is_scene(path: Path) -> bool:
    """Whether a path is a scene file; everything else counts as a dataset. FormatError where it does not exist."""
    if not path.exists():
        raise FormatError(path, "no such file or folder", "check the path")
    if not path.is_file():
        return False
    # A damaged scene file still counts by its suffix: its own reader explains best what is wrong.
    named = any(path.name.lower().endswith(row.suffixes) and ".json" not in row.suffixes for row in FORMATS.values())
    if named or any(row.sniff(path) for row in FORMATS.values()):
        return True
    return any(path.name.lower().endswith(row.suffixes) or row.sniff(path) for row in plug_in_formats())


def open_scene(
    path: Path, device: Device = "cpu", progress: Progress | None = None, spz_frame: SpzFrame = "rub"
) -> Representation:
    """Load a scene for rendering: parameters frozen, moved to `device`, a field's empty space marked.

    Splats with values that are not finite are dropped, and noted on `progress`; without one they raise FormatError.
    """
    scene = load(path, spz_frame)
    if isinstance(scene, Field):
        return _ready(scene, device)
    if isinstance(scene, Splats) and bool(scene.bad.any()):
        count = int(scene.bad.sum())
        if progress is None:
            raise FormatError(path, f"holds {count} splats with values that are not finite", "remove them first")
        progress.note(f"{path}: {count} splats that are not finite were dropped")
        scene.kept(~scene.bad)
    return scene.requires_grad_(False).to(chosen_device(device))


def _ready(field: Field, device: Device) -> Field:
    field.requires_grad_(False)
    field.to(chosen_device(device))
    if bool((field.occupancy == 255).all()):
        generator = torch.Generator(device=field.occupancy.device).manual_seed(0)
        fill_occupancy(field, stride_for(field.domain), generator)
    return field


def capture_size(capture: Capture | None) -> int | None:
    """Longest side in pixels of the pictures that a scene was made from; None where they are not recorded."""
    return None if capture is None else int(capture.cameras.size.max())
