"""NanoVDB's `.nvdb`: sparse volumes that GPUs use without unpacking, for instant-ngp and renderers; by NVIDIA's Warp.

`dense.py` defines the grids, `nvdb_probe.py` the layout of a file. Every grid is written as its own segment,
uncompressed, in 32-bit floats, the density first: the subset that every reader of NanoVDB supports.
"""

from functools import reduce
from pathlib import Path

import numpy as np

from volkit.files.atomic import atomic_write
from volkit.files.errors import FormatError, format_errors, read_start
from volkit.files.sandbox import Sandbox
from volkit.io.volumes.dense import grids_from_voxels, voxels_from_grids
from volkit.representations import Representation, Voxels

__all__ = ["read", "sniff", "write"]

MAGIC = b"NanoVDB"
VERSION = 32 << 21 | 3 << 10 | 3  # 32.3.3, as in OpenVDB 9 and 10
SANDBOX = Sandbox("Warp", Path(__file__).with_name("nvdb_probe.py"), 20.0)  # Warp compiles first


def sniff(path: Path) -> bool:
    """Whether the file begins with NanoVDB's magic bytes."""
    return read_start(path, len(MAGIC)) == MAGIC


def read(path: Path) -> Representation:
    """The cells whose density is not 0, as kind `voxels`, in world units; grey where the file has no `Cd`."""
    from volkit.io.volumes.nvdb_probe import read_grids

    with format_errors(path, "a NanoVDB file", "write it again with a grid `density` of 32-bit floats"):
        SANDBOX.check(path)
        return voxels_from_grids(*read_grids(str(path)), {})


def write(representation: Voxels, path: Path) -> None:
    """Write leaves of 8x8x8 voxels wherever the field is not empty."""
    from volkit.io.volumes import nvdb_probe as nvdb

    grids, world_from_voxel = grids_from_voxels(representation, path)
    if not grids["density"].any():
        raise FormatError(path, "cannot hold a field that is empty everywhere", "write .volume.npz or .safetensors")
    leaves = np.unique(np.argwhere(grids["density"]) // nvdb.LEAF, axis=0) * nvdb.LEAF
    with atomic_write(path) as part, part.open("wb") as file:
        for name, values in grids.items():
            for piece in _segment(name, nvdb.build_grid(values, leaves, world_from_voxel)):
                file.write(piece)


def _segment(name: str, data: np.ndarray) -> tuple[bytes, ...]:
    """File header, metadata of the grid, its name, and the grid itself, which repeats the name."""
    from volkit.io.volumes import nvdb_probe as nvdb

    header, meta = np.zeros((), nvdb.HEADER), np.zeros((), nvdb.META)
    grid, tree = data[: nvdb.GRID.itemsize].view(nvdb.GRID)[0], data[nvdb.GRID.itemsize :][: nvdb.TREE.itemsize]
    tree = tree.view(nvdb.TREE)[0]
    grid["magic"], grid["name"], grid["class"] = nvdb.MAGIC, name, nvdb.FOG if name == "density" else 0
    header["magic"], header["version"], header["grids"] = nvdb.MAGIC, VERSION, 1
    meta["size"] = meta["packed"] = len(data)
    meta["key"], meta["name_size"], meta["version"] = _key(name), len(name) + 1, VERSION
    meta["voxels"], meta["tiles"], meta["nodes"] = tree["voxels"], tree["tiles"], [*tree["nodes"], 1]
    meta["box"] = nvdb.active_box(data).ravel()
    for field in ("type", "class", "world_box", "voxel_size"):
        meta[field] = grid[field]
    return header.tobytes(), meta.tobytes(), name.encode() + b"\0", data.tobytes()


def _key(name: str) -> int:
    """The 64-bit hash by which readers look a name up (nanovdb/util/IO.h, stringHash)."""
    return reduce(lambda key, letter: (key * 67 + letter + (key >> 56)) % (1 << 64), name.encode(), 0)
