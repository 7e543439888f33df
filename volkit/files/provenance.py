"""The provenance record that files carry: one JSON object, wherever the format has a place for it."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from volkit.choices import Frame
from volkit.geometry.frames import UP_AXIS
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
    "version",
    "spz_frame",
    "level",
    "levels",
)  # about the file that was read
MAX_COMMENT = 1 << 13  # characters


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
    """The record in comments, with `frame` from `Vertical Axis:`; empty where there is none, or it is damaged."""
    found: dict[str, Any] = {}
    for comment in comments:
        word, _, rest = comment.partition(" ")
        if comment.lower().startswith("vertical axis:"):
            value = comment.partition(":")[2].strip().lower()
            found |= next(({"frame": frame} for frame, name in UP_AXIS.items() if name == value), {})
        elif word == PROVENANCE_KEY and len(rest) <= MAX_COMMENT:
            found |= parse_object(rest)
    return found


def parse_object(text: str) -> dict[str, Any]:
    """A text parsed as a JSON object; empty where it is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def without_frames(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without `frame` and `world`, which are about the file's coordinates."""
    return {name: value for name, value in record.items() if name not in ("frame", "world")}


def frame_from_record(record: Any, name: str, otherwise: Frame) -> Frame:
    """The frame under a name in an untrusted record, or `otherwise`."""
    value: Any = record.get(name) if isinstance(record, Mapping) else None
    return value if value in tuple(UP_AXIS) else otherwise
