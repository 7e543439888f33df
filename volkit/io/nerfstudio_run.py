"""What nerfstudio leaves around a checkpoint: the run's folder, its settings, and the way back to the dataset's frame.

`config.yml` and `dataparser_transforms.json` stand in the run's folder, checkpoints in `nerfstudio_models` below it.
Source: nerfstudio `engine/trainer.py`, `base_dataparser.py`, `nerfstudio_dataparser.py`, `process_data_utils.py`.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from volkit.choices import Frame
from volkit.files.errors import FormatError, read_start
from volkit.files.plain_yaml import read_plain_yaml
from volkit.files.run_folder import newest_file
from volkit.geometry.frames import Similarity

__all__ = ["RunPlacement", "model_settings", "newest_checkpoint", "run_placement"]

CHECKPOINTS = "nerfstudio_models/step-*.ckpt"
SETTINGS_FILE, TRANSFORM_FILE, DATASET_FILE = "config.yml", "dataparser_transforms.json", "transforms.json"
MAX_TEXT_BYTES = 1 << 26  # a dataset's file has a matrix a picture
UP: dict[Frame, tuple[float, float, float]] = {"zup": (0, 0, 1), "yup": (0, 1, 0), "ydown": (0, -1, 0)}
MIN_UPRIGHT = math.cos(math.radians(45))  # of the up direction along the axis that a frame's name gives


@dataclass(frozen=True)
class RunPlacement:
    """Where a run's own frame, whose +Z is up, stands in the world; `world` says whose frame that is."""

    world_from_local: Similarity
    frame: Frame
    world: str


def newest_checkpoint(path: Path) -> Path:
    """The checkpoint of most steps in a run's folder, or in its `nerfstudio_models`; any other path as it is."""
    return newest_file(path, (CHECKPOINTS, CHECKPOINTS.partition("/")[2]))


def model_settings(path: Path) -> dict[str, Any]:
    """The settings of a checkpoint's model, as plain values by name; FormatError without a readable `config.yml`."""
    place = _beside(path, SETTINGS_FILE)
    if place is None:
        raise FormatError(
            path, f"lacks {SETTINGS_FILE} beside or above it, which says what its numbers mean", "copy it there"
        )
    pipeline = _mapping(read_plain_yaml(place), "pipeline")
    model = _mapping(pipeline, "model")
    if model is None:
        raise FormatError(place, "has no settings of a model", "take the config.yml of the checkpoint's run")
    return {str(name): value for name, value in model.items()}


def run_placement(path: Path) -> RunPlacement:
    """The dataset's frame, as `dataparser_transforms.json` and the dataset's `transforms.json` lead back to it.

    A point x of the dataset's first frame (COLMAP's, say) is `p = scale (R x + t)` in the run's. The poses of the
    dataset's own file are in the frame `y = applied_scale applied_transform x`; that file is looked for where the
    other is, and x is the world without it. The world's frame is named by the axis along which the run's +Z points;
    where that is no axis of a frame that has a name, the world is the run's own. ValueError for damaged files.
    """
    place = _beside(path, TRANSFORM_FILE)
    if place is None:
        return RunPlacement(Similarity(), "zup", "the run's own")
    stored = _read_json(place)
    world_from_local = _similarity(stored, "transform", "scale", TRANSFORM_FILE).inverse()
    world = "the dataset before its applied transform"
    if (dataset := _beside(path, DATASET_FILE)) is not None:
        applied = _read_json(dataset)
        if isinstance(applied, Mapping) and "applied_transform" in applied:
            change = _similarity(
                {"applied_scale": 1.0} | dict(applied), "applied_transform", "applied_scale", dataset.name
            )
            world_from_local = change @ world_from_local
        world = "the dataset"
    up = np.asarray(world_from_local.rotation)[:, 2]
    frame = max(UP, key=lambda name: float(up @ np.array(UP[name])))
    if float(up @ np.array(UP[frame])) < MIN_UPRIGHT:
        return RunPlacement(Similarity(), "zup", "the run's own, for no frame has the dataset's up axis")
    return RunPlacement(world_from_local, frame, world)


def _similarity(stored: Any, transform: str, scale: str, name: str) -> Similarity:
    """`x -> scale (R x + t)` of a matrix [R | t] and a scale."""
    try:
        matrix = np.array(stored[transform], np.float64)
        factor = float(stored[scale])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"its {name} is damaged ({type(error).__name__})") from error
    if matrix.shape not in ((3, 4), (4, 4)) or not np.isfinite(matrix).all() or not 0 < factor < math.inf:
        raise ValueError(f"its {name} lacks a matrix and a scale")
    rotation = tuple(map(tuple, matrix[:3, :3].tolist()))
    return Similarity(rotation, tuple((factor * matrix[:3, 3]).tolist()), factor)


def _read_json(place: Path) -> Any:
    text = read_start(place, MAX_TEXT_BYTES)
    try:
        return json.loads(text)
    except (RecursionError, ValueError) as error:
        raise ValueError(f"its {place.name} is damaged ({type(error).__name__})") from error


def _mapping(tree: Any, name: str) -> Mapping[Any, Any] | None:
    found = tree.get(name) if isinstance(tree, Mapping) else None
    return found if isinstance(found, Mapping) else None


def _beside(path: Path, name: str) -> Path | None:
    """A file in the checkpoint's folder or the one above; None where there is none."""
    for folder in (path.parent, path.absolute().parent.parent):
        place = folder / name
        if place.is_file():
            return place
    return None
