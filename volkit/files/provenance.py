"""The provenance record that files carry: one JSON object, wherever the format has a place for it."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from volkit.choices import Frame
from volkit.geometry.frames import UP_AXIS, frame_of_up
from volkit.version import __version__

__all__ = [
    "PROVENANCE_KEY",
    "comments_from_record",
    "frame_from_record",
    "parse_object",
    "provenance_record",
    "record_from_comments",
    "without_frames",
]

PROVENANCE_KEY = "volkit"
FILE_KEYS = (
    "comments",
    "notes",
    "version",
    "spz_frame",
    "level",
    "levels",
)  # about the file that was read
FRAME_KEYS = ("frame", "world", "vertical_axis")  # about its coordinates
MAX_COMMENT = 1 << 13  # characters
AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}


class Described(Protocol):
    """A scene, or the columns of one: anything with a frame and a provenance."""

    @property
    def frame(self) -> Frame: ...

    @property
    def provenance(self) -> Mapping[str, Any]: ...


def provenance_record(scene: Described) -> dict[str, Any]:
    """The scene's provenance with volkit's version, `frame` (of the file's coordinates) and `world` (of the scene)."""
    scene_entries = {name: value for name, value in scene.provenance.items() if name not in FILE_KEYS}
    return {"world": scene.frame} | scene_entries | {"volkit": __version__, "frame": scene.frame}


def comments_from_record(record: Mapping[str, Any]) -> list[str]:
    """A record as comments of a text header; the up axis also as `Vertical Axis:`, which other programs write."""
    line = f"{PROVENANCE_KEY} {json.dumps(record, separators=(',', ':'), default=str)}"
    upward = UP_AXIS[record["frame"]]
    return [f"Vertical Axis: {upward}", *([line] if len(line) <= MAX_COMMENT else [])]


def record_from_comments(comments: Iterable[str]) -> dict[str, Any]:
    """The record in comments, with `frame` from `Vertical Axis:`; empty where there is none, or it is damaged.

    A vertical axis that is none of the frames' is named by `vertical_axis` as well, three numbers. Brush writes `y` to
    each of its files, whose upward axis is -Y, as its own reader has it; newer ones have three numbers there.
    """
    found: dict[str, Any] = {}
    lines = list(comments)
    by_brush = any(line.lower().startswith("exported from brush") for line in lines)
    for comment in lines:
        word, _, rest = comment.partition(" ")
        if comment.lower().startswith("vertical axis:"):
            up = _parse_up(comment.partition(":")[2], by_brush)
            if up is None:
                continue
            frame, change = frame_of_up(up)
            found |= {"frame": frame} | ({} if change.is_identity else {"vertical_axis": list(up)})
        elif word == PROVENANCE_KEY and len(rest) <= MAX_COMMENT:
            record = parse_object(rest)
            if "frame" in record:
                found.pop("vertical_axis", None)
            found |= {name: value for name, value in record.items() if name != "vertical_axis"}
    return found


def _parse_up(text: str, by_brush: bool) -> tuple[float, float, float] | None:
    """The direction that `z`, `-y` or `0 -0.8 0.6` names; None where it is none."""
    text = text.strip().lower()
    if text.removeprefix("+") in AXES or text.removeprefix("-") in AXES:
        sign = -1.0 if text.startswith("-") or (by_brush and text == "y") else 1.0
        x, y, z = AXES[text.lstrip("+-")]
        return sign * x, sign * y, sign * z
    try:
        x, y, z = map(float, text.replace(",", " ").split())
    except ValueError:
        return None
    return (x, y, z) if 0 < math.hypot(x, y, z) < math.inf else None


def parse_object(text: str) -> dict[str, Any]:
    """A text parsed as a JSON object; empty where it is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def without_frames(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without `frame`, `world` and `vertical_axis`, which are about the file's coordinates."""
    return {name: value for name, value in record.items() if name not in FRAME_KEYS}


def frame_from_record(record: Any, name: str, otherwise: Frame) -> Frame:
    """The frame under a name in an untrusted record, or `otherwise`."""
    value: Any = record.get(name) if isinstance(record, Mapping) else None
    return value if value in tuple(UP_AXIS) else otherwise
