"""OpenVDB's `.vdb`: sparse volumes for Blender, Houdini and renderers, by OpenVDB's own Python module.

`dense.py` defines the grids. Source: openvdb.org, "OpenVDB Cookbook" and `FloatGrid.copyFromArray`.
"""

import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from volkit.files.atomic import atomic_write
from volkit.files.errors import format_errors, read_start
from volkit.files.provenance import PROVENANCE_KEY, parse_object, provenance_record, without_frames
from volkit.files.sandbox import Sandbox
from volkit.io.volumes.dense import grids_from_voxels, voxels_from_grids
from volkit.representations import Representation, Voxels

__all__ = ["read", "sniff", "write"]

MAGIC = b" BDV"
MODULES = ("openvdb", "pyopenvdb")  # the second: its name before version 11
SANDBOX = Sandbox("OpenVDB", Path(__file__).with_name("vdb_probe.py"), 20.0)


def sniff(path: Path) -> bool:
    """Whether the file begins with OpenVDB's magic bytes."""
    return read_start(path, len(MAGIC)) == MAGIC


def read(path: Path) -> Representation:
    """The active cells as kind `voxels`, in world units; grey where the file has no `Cd`."""
    from volkit.io.volumes.vdb_probe import read_grids

    with format_errors(path, "an OpenVDB file", "write it again with a grid `density`"):
        SANDBOX.check(path)
        grids, world_from_voxel, record = read_grids(str(path))
        return voxels_from_grids(grids, world_from_voxel, without_frames(parse_object(record)))


def write(representation: Voxels, path: Path) -> None:
    """Write one grid per quantity; active voxels are the cells that are not empty."""
    vdb = import_module(next(filter(find_spec, MODULES)))
    arrays, world_from_voxel = grids_from_voxels(representation, path)
    grids = [_grid(vdb, name, values) for name, values in arrays.items()]
    grids[0].gridClass = vdb.GridClass.FOG_VOLUME
    grids[0][PROVENANCE_KEY] = json.dumps(provenance_record(representation), default=str)
    for grid in grids:
        grid.transform = vdb.createLinearTransform(np.column_stack([world_from_voxel, (0.0, 0.0, 0.0, 1.0)]).tolist())
    with atomic_write(path) as part:
        vdb.write(str(part), grids=grids)


def _grid(vdb: Any, name: str, values: np.ndarray) -> Any:
    grid = vdb.FloatGrid() if values.ndim == 3 else vdb.Vec3SGrid()
    grid.name = name
    grid.copyFromArray(values)
    return grid
