"""Scene files: one file or folder per format; `formats.py` is the table."""

from volkit.choices import SpzFrame, SpzVersion
from volkit.files.errors import FormatError, PlaceError, TargetError
from volkit.io.format import Format
from volkit.io.formats import (
    FORMATS,
    FileAxes,
    check_target,
    describe,
    format_for,
    is_scene,
    load,
    plug_in_formats,
    register_format,
    save,
)

__all__ = [
    "FORMATS",
    "FileAxes",
    "Format",
    "FormatError",
    "PlaceError",
    "SpzFrame",
    "SpzVersion",
    "TargetError",
    "check_target",
    "describe",
    "format_for",
    "is_scene",
    "load",
    "plug_in_formats",
    "register_format",
    "save",
]
