"""Point clouds: the positions in a `.ply`, whatever else it holds."""

from pathlib import Path

import numpy as np
import torch
from plyfile import PlyData, PlyParseError

from volkit.files.errors import FormatError
from volkit.typing import Float, Tensor

__all__ = ["read_points"]


def read_points(path: Path) -> Float[Tensor, "point 3"]:
    """x, y, z of every vertex, the file's frame; those that are not finite are left out. FormatError where none is."""
    if not path.is_file():
        raise FormatError(path, "no such file", "name a .ply of points")
    try:
        vertex = PlyData.read(path)["vertex"]
        points = np.stack([np.asarray(vertex[axis], np.float32) for axis in "xyz"], -1)
    except (PlyParseError, UnicodeDecodeError, ValueError, KeyError, TypeError, MemoryError) as error:
        raise FormatError(path, f"is no .ply of points: {error}", "give one whose vertices have x, y and z") from error
    found = torch.from_numpy(points)
    found = found[torch.isfinite(found).all(-1)]
    if not len(found):
        raise FormatError(path, "holds no point", "give a .ply with at least one")
    return found
