"""What another library reads from a file of splats that was just written: our own reader would share our mistakes."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from volkit.io.splats.columns import SplatColumns, rounding_of
from volkit.io.splats.quantisation import colour_from_sh_dc

__all__ = ["SecondReading", "read_again"]

MAX_SHARE = 0.1  # of the command's CPU time that may go into it
MAX_COLOUR_ERROR = 1e-3  # of a mean of float32 numbers


Found = tuple[int, np.ndarray, np.ndarray, np.ndarray | None]  # count, lower, upper, mean colour


@dataclass(frozen=True)
class SecondReading:
    """Count, bounds and mean colour as `library` reads them, in the file's coordinates; `agrees`: they are ours."""

    library: str
    splats: int
    lower: list[float]
    upper: list[float]
    colour: list[float] | None  # None: the library shows none
    agrees: bool

    def as_dict(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def read_again(splats: SplatColumns, path: Path) -> SecondReading | None:
    """What a second library reads from a file of these splats, in whose world frame the file's coordinates are.

    None where no library is installed that reads the format, or where it would take more than a tenth of the CPU time
    that the process has taken so far.
    """
    name, read, seconds = READERS.get(path.suffix.lower(), ("", None, 0.0))
    if read is None or path.name.lower().endswith(".compressed.ply") or not len(splats):
        return None
    if seconds > MAX_SHARE * time.process_time():
        return None
    try:
        library = f"{name} {version(name)}"
        count, lower, upper, colour = read(path)
    except ImportError:
        return None
    low, high = splats.bounds
    allowed = 2 * rounding_of(0.0 if splats.georeferenced else splats.farthest)
    allowed += 1e-6 * float((upper - lower).max())  # an offset and remainders in float32
    apart = max(float(np.abs(lower - low).max()), float(np.abs(upper - high).max()))
    agrees = count == len(splats) and apart <= allowed
    if colour is not None:
        mean = colour_from_sh_dc(splats.sh_dc[:, 0].astype(np.float64)).mean(0)
        agrees = agrees and float(np.abs(colour - mean).max()) <= MAX_COLOUR_ERROR
    shown = None if colour is None else colour.round(4).tolist()
    return SecondReading(library, count, lower.tolist(), upper.tolist(), shown, bool(agrees))


def _read_by_plyfile(path: Path) -> Found:
    from plyfile import PlyData

    vertex = PlyData.read(path)["vertex"].data
    axes = [np.ascontiguousarray(vertex[axis]) for axis in "xyz"]
    lower, upper = (np.array([end(axis) for axis in axes], np.float64) for end in (np.min, np.max))
    mean = np.array([np.ascontiguousarray(vertex[f"f_dc_{k}"]).mean(dtype=np.float64) for k in range(3)])
    return len(vertex), lower, upper, colour_from_sh_dc(mean)


def _read_by_trimesh(path: Path) -> Found:
    import trimesh

    scene = trimesh.load_scene(path)
    lower, upper = scene.bounds
    return sum(len(part.vertices) for part in scene.geometry.values()), lower, upper, None


Reader = Callable[[Path], Found]
# Library, what it reads, and the seconds that its import takes.
READERS: dict[str, tuple[str, Reader, float]] = {
    ".ply": ("plyfile", _read_by_plyfile, 0.0),  # is imported in any case
    ".glb": ("trimesh", _read_by_trimesh, 0.5),
}
