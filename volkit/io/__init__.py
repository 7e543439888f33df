"""Scene files: one file or folder per format; `formats.py` is the table."""

from volkit.files.errors import FormatError, PlaceError
from volkit.io.format import Format
from volkit.io.formats import FORMATS, check_target, describe, format_for, load, plug_in_formats, register_format, save
from volkit.io.splats.spz import SpzFrame

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
    "plug_in_formats",
    "register_format",
    "save",
]
