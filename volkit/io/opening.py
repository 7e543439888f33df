"""Opening scenes ready to be rendered."""

from functools import singledispatch
from pathlib import Path

import torch

from volkit.choices import Device
from volkit.devices import chosen_device
from volkit.io import SpzFrame, load
from volkit.io.splats.columns import check_bad
from volkit.progress import Progress
from volkit.representations import Capture, Field, Representation, Splats
from volkit.sampling.occupancy import stride_for
from volkit.sampling.occupancy_grid import fill_occupancy

__all__ = ["capture_size", "open_scene"]


def open_scene(
    path: Path, device: Device = "cpu", progress: Progress | None = None, spz_frame: SpzFrame = "rub"
) -> Representation:
    """A scene of any kind, ready to be drawn: frozen, and where it is a field, its empty space marked.

    With a progress bad splats are dropped and counted in a note; else they are a FormatError.
    """
    scene = load(path, spz_frame)
    _check(scene, path, progress)
    scene.requires_grad_(False).to(chosen_device(device))
    _mark(scene)
    return scene


@singledispatch
def _check(scene: Representation, path: Path, progress: Progress | None) -> None:
    """Raise FormatError where it cannot be drawn, or leave out what cannot; readers have looked at all but splats."""


@_check.register
def _check_splats(scene: Splats, path: Path, progress: Progress | None) -> None:
    if bool(scene.bad.any()):
        check_bad(path, int(scene.bad.sum()), progress)
        scene.kept(~scene.bad)


@singledispatch
def _mark(scene: Representation) -> None:
    """Fill the occupancy of a field that does not say where it is empty."""


@_mark.register
def _mark_field(field: Field) -> None:
    if bool((field.occupancy == 255).all()):
        generator = torch.Generator(device=field.occupancy.device).manual_seed(0)
        fill_occupancy(field, stride_for(field.domain), generator)


def capture_size(capture: Capture | None) -> int | None:
    """Longest side in pixels of the pictures that a scene was made from; None when its file does not say."""
    return None if capture is None else int(capture.cameras.size.max())
