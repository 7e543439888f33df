"""Files beside a mesh file that it names: found however they are spelt, never outside its folder."""

import re
from pathlib import Path

import numpy as np

from volkit.files.eight_bits import in_8_bits
from volkit.files.errors import FormatError
from volkit.typing import UInt8

__all__ = ["KEEP_FIX", "find_beside", "read_picture"]

KEEP_FIX = "keep the files of a mesh together"
DRIVE = re.compile(r"^([A-Za-z]:)?/")


def find_beside(path: Path, name: str, folder: Path | None = None) -> Path | None:
    """A file that the one at `path` names, in `folder` or its own; of a name from the root or a disk the last part.

    None where it is not there; FormatError where it lies outside the folder of `path`.
    """
    plain = name.strip().strip('"').replace("\\", "/")
    place = folder or path.parent
    for step in (plain.rsplit("/", 1)[-1] if DRIVE.match(plain) else plain).split("/"):
        place = place.parent if step == ".." else place / step
        if not place.exists() and place.parent.is_dir():  # Windows knows no case
            place = next((one for one in place.parent.iterdir() if one.name.lower() == step.lower()), place)
    if not place.is_file():
        return None
    if not place.resolve().is_relative_to(path.parent.resolve()):
        raise FormatError(path, f"names {name}, outside its folder", KEEP_FIX)
    return place


def read_picture(path: Path, name: str, found: Path) -> UInt8[np.ndarray, "height width 4"]:
    """The pixels of a picture that the file at `path` names; FormatError where it is none."""
    from PIL import Image

    try:
        return np.array(in_8_bits(Image.open(found)).convert("RGBA"))
    except Exception as error:  # Pillow's readers raise errors of many kinds
        raise FormatError(path, f"names {name}, which is no picture that can be read", KEEP_FIX) from error
