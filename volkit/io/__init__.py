"""Scene files: one file or folder per format; `formats.py` is the table."""

from volkit.io.format import Format, FormatError, PlaceError
from volkit.io.formats import FORMATS, check_target, describe, format_for, load, save
from volkit.io.spz import SpzFrame

__all__ = [
    "FORMATS",
    "Format",
    "FormatError",
    "PlaceError",
    "SpzFrame",
    "check_target",
    "describe",
    "format_for",
    "load",
    "save",
]
