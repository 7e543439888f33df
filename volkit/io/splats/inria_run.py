"""The folder that INRIA's 3DGS and programs derived from it leave: the newest `.ply` of splats, cameras, arguments.

`point_cloud/iteration_N/point_cloud.ply`, `cameras.json` (centre, rotation to the world, focal lengths in pixels,
OpenCV axes) and `cfg_args`, the text of an `argparse.Namespace`, of which literals alone are read. Source:
graphdeco-inria/gaussian-splatting `scene/__init__.py`, `utils/camera_utils.py`, `train.py`.
"""

import ast
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from volkit.files.errors import FormatError, read_start
from volkit.files.ply_file import ply_header
from volkit.files.run_folder import newest_file
from volkit.io.splats import ply

__all__ = ["read", "sniff"]

SPLATS = ("point_cloud/iteration_*/point_cloud.ply", "iteration_*/point_cloud.ply")
CAMERAS_FILE, ARGUMENTS_FILE = "cameras.json", "cfg_args"
MAX_CAMERAS_BYTES, MAX_ARGUMENTS_BYTES = 1 << 27, 1 << 16
NETWORK_MARK = b" f_anchor_feat_0"  # of Scaffold-GS and Octree-GS: splats that networks make anew for each view
KEPT_ARGUMENTS = ("sh_degree", "source_path", "white_background", "eval", "resolution", "antialiasing")


def sniff(path: Path) -> bool:
    """Whether a folder is such an output, its `point_cloud`, or one iteration of it, with a `.ply` of splats."""
    if not path.is_dir():
        return False
    found = _newest(path)
    return found.is_file() and (ply.sniff(found) or NETWORK_MARK in ply_header(found))


def read(path: Path) -> Any:
    """The splats of the newest iteration, or of the one whose folder is given, with the cameras of the capture."""
    from volkit.io.splats.scene import splats_from_columns

    place = _newest(path)
    if NETWORK_MARK in ply_header(place):
        raise FormatError(
            place,
            "holds anchors of Scaffold-GS or Octree-GS, whose networks make other splats for each view",
            "render views there and fit them, or train 3DGS on the same capture",
        )
    columns = ply.read(place)
    run = _run_folder(place)
    arguments = {} if run is None else _arguments(run / ARGUMENTS_FILE)
    named = place.parent.name.removeprefix("iteration_")
    provenance = dict(columns.provenance) | {
        "source": "INRIA 3DGS",
        "steps": int(named) if named.isdecimal() and len(named) < 18 else None,
        "arguments": {name: arguments[name] for name in KEPT_ARGUMENTS if name in arguments},
    }
    capture = None if run is None else _capture(run / CAMERAS_FILE, bool(arguments.get("white_background")))
    return splats_from_columns(columns).view(capture=capture, provenance=provenance)


def _newest(path: Path) -> Path:
    """The `.ply` of the iteration whose folder is given, else of the newest; the folder itself where there is none."""
    return newest_file(path, ("point_cloud.ply",) if path.absolute().name.startswith("iteration_") else SPLATS)


def _run_folder(place: Path) -> Path | None:
    """The output's folder of one of its `.ply`; None where an iteration stands alone."""
    folder = place.absolute().parent.parent.parent
    return folder if place.absolute().parent.parent.name == "point_cloud" else None


def _arguments(place: Path) -> Mapping[str, Any]:
    """The literals of `Namespace(name=value, ...)`; empty without the file, FormatError where it is something else."""
    if not place.is_file():
        return {}
    text = read_start(place, MAX_ARGUMENTS_BYTES).decode(errors="replace")
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if not isinstance(call, ast.Call) or ast.dump(call.func) != ast.dump(ast.Name("Namespace", ast.Load())):
            raise ValueError("it is no Namespace(...)")
        return {str(word.arg): _literal(word.value) for word in call.keywords}
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise FormatError(
            place, f"is not the arguments of a training ({error})", "copy it again, or remove it"
        ) from error


def _literal(node: ast.expr) -> Any:
    """The value of a literal; None for what is none, which nothing here evaluates."""
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _capture(place: Path, white: bool) -> Any:
    """The cameras, in the frame of the splats; None without the file, or where it lists none."""
    import torch

    from volkit.geometry import Cameras
    from volkit.representations import Capture

    if not place.is_file():
        return None
    try:
        rows = json.loads(read_start(place, MAX_CAMERAS_BYTES))
        if not isinstance(rows, list):
            raise ValueError("it is no list")
        if not rows:
            return None
        rotation = np.array([row["rotation"] for row in rows], np.float64)
        centre = np.array([row["position"] for row in rows], np.float64)
        size = np.array([(row["width"], row["height"]) for row in rows], np.int64)
        focal = np.array([(row["fx"], row["fy"]) for row in rows], np.float64)
        names = tuple(str(row["img_name"]) for row in rows)
        if rotation.shape[1:] != (3, 3) or centre.shape[1:] != (3,) or not bool((size > 0).all() and (focal > 0).all()):
            raise ValueError("a camera lacks a pose or a size")
        if not all(map(math.isfinite, (rotation.sum(), centre.sum(), focal.sum()))):
            raise ValueError("a camera has numbers that are not finite")
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}".split("\n")[0][:160]
        raise FormatError(place, f"is no list of cameras ({reason})", "copy it again, or remove it") from error
    pose = torch.from_numpy(np.concatenate([rotation, centre[..., None]], 2)).float()
    intrinsics = torch.from_numpy(np.concatenate([focal, size / 2], 1)).float()
    background = (1.0, 1.0, 1.0) if white else None
    return Capture(Cameras(pose, intrinsics, torch.from_numpy(size)), names, background=background)
