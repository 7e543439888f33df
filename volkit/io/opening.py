"""Open scenes ready for rendering."""

from pathlib import Path

import torch

from volkit.choices import Device
from volkit.devices import chosen_device
from volkit.io import SpzFrame, load
from volkit.io.splats.columns import check_invalid
from volkit.io.splats.scene import columns_from_splats
from volkit.progress import Progress
from volkit.representations import Capture, Field, Representation, Splats
from volkit.sampling.occupancy import stride_for
from volkit.sampling.occupancy_grid import fill_occupancy

__all__ = ["capture_size", "note_reading", "open_scene"]


def open_scene(
    path: Path, device: Device = "cpu", progress: Progress | None = None, spz_frame: SpzFrame = "auto"
) -> Representation:
    """Load a scene for rendering: parameters frozen, moved to `device`, a field's empty space marked.

    Splats with values that are not finite are dropped, and noted on `progress`; without one they raise FormatError.
    """
    scene = load(path, spz_frame)
    if isinstance(scene, Splats) and bool(scene.invalid.any()):
        check_invalid(path, columns_from_splats(scene), progress)
        scene.keep(~scene.invalid)
    scene.requires_grad_(False).to(chosen_device(device))
    if isinstance(scene, Field) and bool((scene.occupancy == 255).all()):
        generator = torch.Generator(device=scene.occupancy.device).manual_seed(0)
        fill_occupancy(scene, stride_for(scene.domain), generator)
    return scene


def note_reading(path: Path, scene: Representation, progress: Progress) -> None:
    """Note on `progress` what of a scene's file was left out or guessed."""
    for note in scene.provenance.get("notes", ()):
        progress.note(f"{path}: {note}")


def capture_size(capture: Capture | None) -> int | None:
    """Longest side in pixels of the pictures that a scene was made from; None where they are not recorded."""
    return None if capture is None else int(capture.cameras.size.max())
