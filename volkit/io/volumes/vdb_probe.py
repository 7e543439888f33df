"""Everything that calls OpenVDB to read a file; the sandbox runs it first, in case the library crashes."""

import math
from typing import Any

import numpy as np

try:
    import openvdb  # pyright: ignore[reportMissingImports]
except ImportError:  # its name before version 11
    import pyopenvdb as openvdb  # pyright: ignore[reportMissingImports]

__all__ = ["probe", "read_grids"]

MAX_VOXELS = 1 << 30  # of a dense grid: 4 GiB
MAX_CELLS_PER_VOXEL = 1 << 12  # cells of the bounding box for each active voxel: sparser files are refused
PROVENANCE_KEY = "volkit"

Grids = tuple[dict[str, np.ndarray], np.ndarray, str]


def probe(path: str) -> None:
    """Raise whatever `read_grids` raises."""
    read_grids(path)


def read_grids(path: str) -> Grids:
    """Grids [x, y, z] or [x, y, z, 3] by name, cut to the box of active density; its transform [4, 3]; our record.

    Rows of the transform: the edges of a voxel, then the centre of the box's first one, in world coordinates.
    ValueError where there is no density.
    """
    grids = {grid.name: grid for grid in openvdb.readAll(path)[0]}
    if "density" not in grids:
        raise ValueError(f"holds the grids {', '.join(grids) or 'none'}, but no density")
    density = grids["density"]
    low, high = (np.array(end, np.int64) for end in density.evalActiveVoxelBoundingBox())
    shape = tuple((high - low + 1).tolist())
    active = density.activeVoxelCount()
    if min(shape) < 2 or math.prod(shape) > min(MAX_VOXELS, MAX_CELLS_PER_VOXEL * active):
        raise ValueError(f"its density has {shape} cells, {active} of them active")
    colours = [name for name in grids if name == "Cd" or name.startswith("harmonics_")]
    values = {"density": _read_values(density, low, shape)}
    values |= {name: _read_values(grids[name], low, (*shape, 3)) for name in colours}
    *ends, centre = (np.array(density.transform.indexToWorld(tuple(at))) for at in low + np.eye(4, 3))
    record = density[PROVENANCE_KEY] if PROVENANCE_KEY in density.metadata else ""
    return values, np.stack([*(end - centre for end in ends), centre]), record if isinstance(record, str) else ""


def _read_values(grid: Any, low: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    values = np.zeros(shape, np.float32)
    grid.copyToArray(values, ijk=tuple(low.tolist()))
    return values
