"""What a file says of where its scene comes from: one JSON object, in whatever room its format has."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from volkit.choices import Frame
from volkit.geometry.frames import UP_AXIS
from volkit.version import __version__

__all__ = [
    "PROVENANCE_KEY",
    "about_scene",
    "comments_of",
    "frame_in",
    "object_in",
    "provenance_in",
    "provenance_of",
]

PROVENANCE_KEY = "volkit"
OF_THE_FILE = ("comments", "version", "spz_frame", "level", "levels")  # that was read, not of the scene
MAX_COMMENT = 1 << 13  # characters of a comment


class Told(Protocol):
    """A scene, or the columns of one."""

    @property
    def frame(self) -> Frame: ...

    @property
    def provenance(self) -> Mapping[str, Any]: ...


def provenance_of(scene: Told) -> dict[str, Any]:
    """Provenance, version, `frame`, that of the file's coordinates, and `world`, that of the scene before it."""
    told = {name: value for name, value in scene.provenance.items() if name not in OF_THE_FILE}
    return {"world": scene.frame} | told | {"volkit": __version__, "frame": scene.frame}


def comments_of(record: Mapping[str, Any]) -> list[str]:
    """A record as lines of a text header, with which way is up in words that other programs use."""
    line = f"{PROVENANCE_KEY} {json.dumps(record, separators=(',', ':'), default=str)}"
    upward = UP_AXIS[record["frame"]]
    return [f"Vertical Axis: {upward}", *([line] if len(line) <= MAX_COMMENT else [])]


def provenance_in(comments: Iterable[str]) -> dict[str, Any]:
    """The record among comments, with `frame` where they say what is up; empty where there is none or it is damaged."""
    found: dict[str, Any] = {}
    for comment in comments:
        word, _, rest = comment.partition(" ")
        if comment.lower().startswith("vertical axis:"):
            said = comment.partition(":")[2].strip().lower()
            found |= next(({"frame": frame} for frame, name in UP_AXIS.items() if name == said), {})
        elif word == PROVENANCE_KEY and len(rest) <= MAX_COMMENT:
            found |= object_in(rest)
    return found


def object_in(text: str) -> dict[str, Any]:
    """The JSON object that a text is; empty where it is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def about_scene(record: Mapping[str, Any]) -> dict[str, Any]:
    """What of a record is not about the file's own coordinates."""
    return {name: value for name, value in record.items() if name not in ("frame", "world")}


def frame_in(record: Any, name: str, otherwise: Frame) -> Frame:
    """A frame by name from what a file says, which may be anything."""
    said: Any = record.get(name) if isinstance(record, Mapping) else None
    return said if said in tuple(UP_AXIS) else otherwise
