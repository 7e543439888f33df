"""OpenVDB's `.vdb`: sparse volumes for Blender, Houdini and renderers, by OpenVDB's own Python module.

What its grids are says `fog.py`. Source: openvdb.org, "OpenVDB Cookbook" and `FloatGrid.copyFromArray`.
"""

import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from volkit.files.atomic import atomic_write
from volkit.files.errors import format_errors, read_start
from volkit.files.provenance import PROVENANCE_KEY, about_scene, object_in, provenance_of
from volkit.files.sandbox import Sandbox
from volkit.io.volumes.fog_volume import field_of_grids, grids_of
from volkit.representations import Representation, Voxels

__all__ = ["read", "sniff", "write"]

MAGIC = b" BDV"
MODULES = ("openvdb", "pyopenvdb")  # the second as it was named before version 11
SANDBOX = Sandbox("OpenVDB", Path(__file__).with_name("vdb_probe.py"), 20.0)


def sniff(path: Path) -> bool:
    """Whether the file begins as OpenVDB's."""
    return read_start(path, len(MAGIC)) == MAGIC


def read(path: Path) -> Representation:
    """Cells with density as kind `voxels`, in the world's unit; a file without colour is grey."""
    from volkit.io.volumes.vdb_probe import dense_grids

    with format_errors(path, "an OpenVDB file", "write it again with a grid `density`"):
        SANDBOX.ask(path)
        grids, place, told = dense_grids(str(path))
        return field_of_grids(grids, place, about_scene(object_in(told)))


def write(representation: Voxels, path: Path) -> None:
    """Active voxels are the field's cells that are not empty."""
    vdb = import_module(next(filter(find_spec, MODULES)))
    arrays, place = grids_of(representation, path)
    grids = [_grid(vdb, name, values) for name, values in arrays.items()]
    grids[0].gridClass = vdb.GridClass.FOG_VOLUME
    grids[0][PROVENANCE_KEY] = json.dumps(provenance_of(representation), default=str)
    for grid in grids:
        grid.transform = vdb.createLinearTransform(np.column_stack([place, (0.0, 0.0, 0.0, 1.0)]).tolist())
    with atomic_write(path) as part:
        vdb.write(str(part), grids=grids)


def _grid(vdb: Any, name: str, values: np.ndarray) -> Any:
    grid = vdb.FloatGrid() if values.ndim == 3 else vdb.Vec3SGrid()
    grid.name = name
    grid.copyFromArray(values)
    return grid
