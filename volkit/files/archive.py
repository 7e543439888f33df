"""Archives by their first bytes: a scene that is packed is named in words, not told as a damaged file."""

import zipfile
from pathlib import Path

from volkit.files.errors import read_start

__all__ = ["describe_archive"]

# Of compressed files and archives; what a file of the format begins with.
MAGIC_BYTES = {
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "compressed by gzip",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a rar archive",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"\xfd7zXZ\x00": "compressed by xz",
    b"BZh": "compressed by bzip2",
}
MAX_NAMES = 3  # of members, in a message


def describe_archive(path: Path) -> str:
    """`is a zip archive, of garden.ply`; empty where the file does not begin as one."""
    head = read_start(path, 8)
    kind = next((kind for start, kind in MAGIC_BYTES.items() if head.startswith(start)), "")
    if not kind:
        return ""
    names: list[str] = []
    if kind == "a zip archive":
        try:
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if not name.endswith("/")]
        except (zipfile.BadZipFile, OSError, ValueError):
            return f"is {kind}, and damaged"
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"is {kind}" + (f", of {', '.join(names[:MAX_NAMES])}{more}" if names else "")
