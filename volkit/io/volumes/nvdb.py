"""NanoVDB's `.nvdb`: sparse volumes that GPUs read as they lie, for instant-ngp and renderers, by NVIDIA's Warp.

What its grids are says `fog.py`, how a file is built `nvdb_probe.py`. Each grid has a segment of its own and lies raw,
in 32-bit floats, the density first: as much as every reader of NanoVDB knows.
"""

from functools import reduce
from pathlib import Path

import numpy as np

from volkit.files.atomic import atomic_write
from volkit.files.errors import FormatError, format_errors, read_start
from volkit.files.sandbox import Sandbox
from volkit.io.volumes.fog_volume import field_of_grids, grids_of
from volkit.representations import Representation, Voxels

__all__ = ["read", "sniff", "write"]

MAGIC = b"NanoVDB"
VERSION = 32 << 21 | 3 << 10 | 3  # 32.3.3, of OpenVDB 9 and 10
SANDBOX = Sandbox("Warp", Path(__file__).with_name("nvdb_probe.py"), 20.0)  # whose kernels are compiled once


def sniff(path: Path) -> bool:
    """Whether the file begins as NanoVDB's."""
    return read_start(path, len(MAGIC)) == MAGIC


def read(path: Path) -> Representation:
    """Cells with density as kind `voxels`, in the world's unit; a file without colour is grey."""
    from volkit.io.volumes.nvdb_probe import dense_grids

    with format_errors(path, "a NanoVDB file", "write it again with a grid `density` of 32-bit floats"):
        SANDBOX.ask(path)
        return field_of_grids(*dense_grids(str(path)), {})


def write(representation: Voxels, path: Path) -> None:
    """Leaves of 8x8x8 voxels wherever the field is not empty."""
    from volkit.io.volumes import nvdb_probe as nvdb

    grids, place = grids_of(representation, path)
    if not grids["density"].any():
        raise FormatError(path, "cannot hold a field without matter", "write .volume.npz or .safetensors")
    leaves = np.unique(np.argwhere(grids["density"]) // nvdb.LEAF, axis=0) * nvdb.LEAF
    with atomic_write(path) as part, part.open("wb") as file:
        for name, values in grids.items():
            for piece in _segment(name, nvdb.built(values, leaves, place)):
                file.write(piece)


def _segment(name: str, data: np.ndarray) -> tuple[bytes, ...]:
    """Header, what is said of the grid, its name, the grid, which is named too."""
    from volkit.io.volumes import nvdb_probe as nvdb

    header, said = np.zeros((), nvdb.HEADER), np.zeros((), nvdb.SAID)
    grid, tree = data[: nvdb.GRID.itemsize].view(nvdb.GRID)[0], data[nvdb.GRID.itemsize :][: nvdb.TREE.itemsize]
    tree = tree.view(nvdb.TREE)[0]
    grid["magic"], grid["name"], grid["class"] = nvdb.MAGIC, name, nvdb.FOG if name == "density" else 0
    header["magic"], header["version"], header["grids"] = nvdb.MAGIC, VERSION, 1
    said["size"] = said["packed"] = len(data)
    said["key"], said["name_size"], said["version"] = _key(name), len(name) + 1, VERSION
    said["voxels"], said["tiles"], said["nodes"] = tree["voxels"], tree["tiles"], [*tree["nodes"], 1]
    said["box"] = nvdb.box_of(data).ravel()
    for field in ("type", "class", "world_box", "voxel_size"):
        said[field] = grid[field]
    return header.tobytes(), said.tobytes(), name.encode() + b"\0", data.tobytes()


def _key(name: str) -> int:
    """What readers that look for a name compare first: a hash in 64 bits (nanovdb/util/IO.h, stringHash)."""
    return reduce(lambda key, letter: (key * 67 + letter + (key >> 56)) % (1 << 64), name.encode(), 0)
