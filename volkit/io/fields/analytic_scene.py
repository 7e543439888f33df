"""Analytic scenes as JSON: primitives, light, and cameras.

Frame: the scene's own, +Z up. Rotations are in degrees about x, then y, then z of the field's frame; colours are
display-referred in [0, 1]. `views` places cameras on a golden spiral around `target`: training views, and held-out ones
between them.
"""

import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from volkit.files.bundled import scene_folders
from volkit.files.errors import FormatError
from volkit.geometry import Cameras, Domain, Similarity
from volkit.representations.analytic import AnalyticConfig, AnalyticField, Finish, Light, Primitive
from volkit.representations.representation import Capture
from volkit.typing import Float, Tensor

__all__ = ["bundled", "bundled_names", "read", "sniff"]

SCENE_MARK = '"volkit": "analytic"'
MAX_FILE_BYTES = 1 << 20  # scenes are written by hand
GOLDEN_ANGLE = math.pi * (3.0 - math.sqrt(5.0))


def bundled(name: str) -> Path:
    """Path of a scene that comes with volkit, in a checkout as in an installed wheel."""
    for folder in scene_folders():
        if (folder / f"{name}.json").is_file():
            return folder / f"{name}.json"
    raise FormatError(name, "no such bundled scene", f"choose one of: {', '.join(bundled_names())}")


def bundled_names() -> list[str]:
    """Names of the scenes that come with volkit."""
    return sorted({path.stem for folder in scene_folders() for path in folder.glob("*.json")})


def read(path: Path) -> AnalyticField:
    """An analytic field with its capture; FormatError names the member that is wrong."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        scene = json.loads(text)
        field = _field(scene)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise FormatError(path, f"not readable as JSON ({error})", "write it like the files in scenes/") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        fact = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else str(error)
        raise FormatError(path, f"not an analytic scene: {fact}", "compare with the files in scenes/") from error
    return field


def sniff(path: Path) -> bool:
    """Whether a file is a small JSON text with the mark of an analytic scene."""
    if not path.is_file() or path.suffix.lower() != ".json" or path.stat().st_size > MAX_FILE_BYTES:
        return False
    return SCENE_MARK in path.read_text(encoding="utf-8", errors="replace")


def _field(scene: dict[str, Any]) -> AnalyticField:
    known = {"volkit", "version", "title", "domain", "density", "softness", "light", "primitives", "views"}
    _check_members(scene, known, "scene")
    if scene["version"] != 1:
        raise ValueError(f"its version is {scene['version']}, only 1 is supported")
    lower, upper = scene["domain"]
    config = AnalyticConfig(
        primitives=tuple(_primitive(p) for p in scene["primitives"]),
        density=float(scene["density"]),
        softness=float(scene["softness"]),
        light=_record(Light, scene.get("light", {})),
        title=str(scene.get("title", "")),
    )
    field = config.build(Domain(_triple(lower), _triple(upper)))
    return field.view(capture=_capture(**scene["views"])) if "views" in scene else field


def _primitive(entry: dict[str, Any]) -> Primitive:
    shape_members = {"shape", "size", "position", "rotation", "density"}
    texture = _record(Finish, {key: value for key, value in entry.items() if key not in shape_members})
    rotation = _rotation(_triple(entry.get("rotation", (0, 0, 0))))
    placed = Similarity(rotation, _triple(entry.get("position", (0, 0, 0))))
    density = entry.get("density")
    size = tuple(_number(edge) for edge in entry["size"])
    return Primitive(entry["shape"], size, placed, texture, None if density is None else _number(density))


def _record(kind: type, entry: dict[str, Any]) -> Any:
    _check_members(entry, {f.name for f in fields(kind)}, kind.__name__.lower())
    values = {key: _triple(value) if isinstance(value, list) else value for key, value in entry.items()}
    return kind(**values)


def _check_members(entry: dict[str, Any], known: set[str], what: str) -> None:
    if unknown := sorted(set(entry) - known):
        raise ValueError(f"{what} has the unknown member '{unknown[0]}'; known: {', '.join(sorted(known))}")


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    return float(value)


def _triple(values: Any) -> tuple[float, float, float]:
    x, y, z = values
    return _number(x), _number(y), _number(z)


def _rotation(degrees: tuple[float, float, float]) -> tuple[tuple[float, ...], ...]:
    out = torch.eye(3, dtype=torch.float64)
    for axis, angle in enumerate(degrees):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        turn = torch.eye(3, dtype=torch.float64)
        turn[i, i], turn[i, j], turn[j, i], turn[j, j] = c, -s, s, c
        out = turn @ out
    # cos and sin of right angles are off by 1e-16: rounding restores the exact zeros that the field relies on.
    return tuple(tuple(round(v, 15) + 0.0 for v in row) for row in out.tolist())


def _capture(
    train: int, test: int, size: list[int], target: list[float], distance: float, elevation: list[float], angle: float
) -> Capture:
    """Pinhole cameras with a horizontal field of view of `angle` degrees between two elevations in degrees."""
    width, height = (int(edge) for edge in size)
    focal = 0.5 * width / math.tan(math.radians(angle) / 2.0)
    centre = torch.tensor(_triple(target))
    parts = [_spiral(train, elevation, 0.0), _spiral(test, elevation, 1.234)]  # offset, so that no two cameras coincide
    centres = centre + distance * torch.cat(parts)
    cameras = Cameras.looking_at(centres, centre, torch.tensor([0.0, 0.0, 1.0]), focal, (width, height))
    trained, held = (tuple(f"{split}_{i:03d}" for i in range(n)) for split, n in (("train", train), ("test", test)))
    return Capture(cameras, trained + held, held, near=0.05 * distance, background=(1.0, 1.0, 1.0))


def _spiral(count: int, elevation: list[float], turn: float) -> Float[Tensor, "camera 3"]:
    low, high = (math.sin(math.radians(angle)) for angle in elevation)
    index = torch.arange(count, dtype=torch.float32)
    z = low + (high - low) * (index + 0.5) / max(count, 1)
    azimuth = index * GOLDEN_ANGLE + turn
    ring = (1.0 - z * z).clamp_min(0.0).sqrt()
    return torch.stack([ring * azimuth.cos(), ring * azimuth.sin(), z], -1)
