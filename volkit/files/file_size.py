"""How many bytes a scene takes on the disk, with the files that it names."""

import re
from pathlib import Path

__all__ = ["size_in_words", "stored_bytes"]

NAMED = re.compile(rb'[^\s"\'<>|]+\.(?:bin|json|jpe?g|mtl|png|webp)')
NAMING = (".gltf", ".json", ".mtl", ".obj")
MAX_SEARCHED_BYTES = 1 << 24  # of a file, from its beginning, that is looked through for names
MAX_REFERENCE_DEPTH = 3  # an .obj names an .mtl that names pictures; levels name files that name pictures


def stored_bytes(path: Path) -> int:
    """Bytes of a file and of all that it names beside or below it, each once."""
    return sum(part.stat().st_size for part in _parts(path, path.parent.resolve(), MAX_REFERENCE_DEPTH))


def size_in_words(count: float) -> str:
    """Bytes in a unit that leaves few digits."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def _parts(path: Path, folder: Path, depth: int) -> set[Path]:
    path = path.resolve()
    found = {path}
    if depth and path.suffix.lower() in NAMING:
        with path.open("rb") as file:
            names = NAMED.findall(file.read(MAX_SEARCHED_BYTES))
        for name in names:
            part = (path.parent / name.decode(errors="replace")).resolve()
            if part != path and part.is_relative_to(folder) and part.is_file():
                found |= _parts(part, folder, depth - 1)
    return found
