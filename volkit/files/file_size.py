"""Bytes that a scene takes on disk, including the files that it refers to."""

import re
from pathlib import Path

__all__ = ["format_size", "stored_bytes"]

FILE_NAME = re.compile(rb'[^\s"\'<>|]+\.(?:bin|json|jpe?g|mtl|png|webp)')
SEARCHED_SUFFIXES = (".gltf", ".json", ".mtl", ".obj")
MAX_SEARCHED_BYTES = 1 << 24  # at the start of a file that are searched for names
MAX_REFERENCE_DEPTH = 3  # an .obj names an .mtl that names textures; a SOG names levels that name images


def stored_bytes(path: Path) -> int:
    """Bytes of a file and of all files in its folder or below that it refers to, each once; of a folder all in it."""
    if path.is_dir():
        return sum(part.stat().st_size for part in path.rglob("*") if part.is_file())
    return sum(part.stat().st_size for part in _referenced_files(path, path.parent.resolve(), MAX_REFERENCE_DEPTH))


def format_size(count: float) -> str:
    """A number of bytes as text with three digits: `1.23 MB`."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def _referenced_files(path: Path, folder: Path, depth: int) -> set[Path]:
    path = path.resolve()
    found = {path}
    if depth and path.suffix.lower() in SEARCHED_SUFFIXES:
        with path.open("rb") as file:
            names = FILE_NAME.findall(file.read(MAX_SEARCHED_BYTES))
        for name in names:
            part = (path.parent / name.decode(errors="replace")).resolve()
            if part != path and part.is_relative_to(folder) and part.is_file():
                found |= _referenced_files(part, folder, depth - 1)
    return found
