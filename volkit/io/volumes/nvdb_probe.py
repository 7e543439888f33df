"""Everything that calls Warp to read NanoVDB; the sandbox runs it on a file first, in case the library crashes.

A file is a sequence of segments: header, metadata of each grid, the grids, raw or deflated. Warp validates a grid and
looks values up in its tree; everything else is in the grid's own header. Source: OpenVDB, nanovdb/NanoVDB.h, util/IO.h.
"""

# pyright: reportInvalidTypeForm=false
import io
import math
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import warp

__all__ = ["FOG", "GRID", "HEADER", "LEAF", "MAGIC", "META", "TREE", "active_box", "build_grid", "probe", "read_grids"]

MAGIC, MAGIC_WORDS = b"NanoVDB0", (b"NanoVDB0", b"NanoVDB2")  # the second since version 32.6
MAJOR = 32
RAW, DEFLATED = 0, 1
FLOAT, VEC3F = 1, 6  # types of values
LEVEL_SET, FOG = 1, 2  # classes of grids
LEAF = 8  # voxels along an edge of the smallest node
MAX_VOXELS = 1 << 30  # of a dense grid: 4 GiB
MAX_CELLS_PER_BYTE = (
    64  # cells of the box about all active voxels, for each byte of a grid: leaves have 4 bytes a voxel
)

HEADER = np.dtype([("magic", "S8"), ("version", "<u4"), ("grids", "<u2"), ("codec", "<u2")])
META = np.dtype(
    [
        ("size", "<u8"), ("packed", "<u8"), ("key", "<u8"), ("voxels", "<u8"), ("type", "<u4"), ("class", "<u4"),
        ("world_box", "<f8", 6), ("box", "<i4", 6), ("voxel_size", "<f8", 3), ("name_size", "<u4"),
        ("nodes", "<u4", 4), ("tiles", "<u4", 3), ("codec", "<u2"), ("spare", "<u2"), ("version", "<u4"),
    ]
)  # fmt: skip
GRID = np.dtype(
    [
        ("magic", "S8"), ("checksum", "<u8"), ("version", "<u4"), ("flags", "<u4"), ("index", "<u4"),
        ("count", "<u4"), ("size", "<u8"), ("name", "S256"), ("single_map", "V88"), ("matrix", "<f8", (3, 3)),
        ("inverse", "<f8", (3, 3)), ("offset", "<f8", 3), ("taper", "<f8"), ("world_box", "<f8", 6),
        ("voxel_size", "<f8", 3), ("class", "<u4"), ("type", "<u4"), ("rest", "V32"),
    ]
)  # fmt: skip
TREE = np.dtype([("node_at", "<i8", 4), ("nodes", "<u4", 3), ("tiles", "<u4", 3), ("voxels", "<u8")])


@contextmanager
def _mute_stderr() -> Iterator[None]:
    """Silence Warp's note that there is no CUDA driver, which it prints to standard error whatever its settings."""
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


wp: Any = warp  # type checkers do not understand the language of its kernels
wp.config.log_level = wp.LOG_ERROR
with _mute_stderr():
    wp.init()
MODULE = wp.get_module("volkit.io.volumes.nvdb_probe")  # the same whether imported or run


@wp.kernel(enable_backward=False, module=MODULE)
def _look_up(volume: wp.uint64, low: wp.vec3i, values: wp.array3d(dtype=Any)):
    i, j, k = wp.tid()
    values[i, j, k] = wp.volume_lookup(volume, low[0] + i, low[1] + j, low[2] + k, dtype=values.dtype)


@wp.kernel(enable_backward=False, module=MODULE)
def _store(volume: wp.uint64, values: wp.array3d(dtype=Any)):
    i, j, k = wp.tid()
    wp.volume_store(volume, i, j, k, values[i, j, k])


for kernel in (_look_up, _store):
    for kind in (wp.float32, wp.vec3):
        wp.overload(kernel, {"values": wp.array3d(dtype=kind)})
wp.load_module(MODULE, device="cpu")  # before the sandbox forks, not in every fork


def probe(path: str) -> None:
    """Raise whatever `read_grids` raises."""
    read_grids(path)


def read_grids(path: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Grids [x, y, z] or [x, y, z, 3] by name, cut to the box where the density is not 0; and its transform [4, 3].

    Rows of the transform: the edges of a voxel, then the centre of the box's first one, in world coordinates. The
    density is the grid of that name, or the file's only grid whatever its name. ValueError where there is none.
    """
    segments = list(_read_segments(io.BytesIO(Path(path).read_bytes())))
    grids, name = dict(segments), segments[0][0] if len(segments) == 1 else "density"
    if name not in grids:
        raise ValueError(f"holds the grids {', '.join(name for name, _ in segments) or 'none'}, but no density")
    about, low, shape = _read_record(grids[name], 0, GRID), *_box(grids[name])
    if about["class"] == LEVEL_SET:
        raise ValueError(f"its grid '{name}' is a level set, which stores distances, not a density")
    density = _read_values(grids[name], FLOAT, low, shape)
    box = _nonzero_box(density)
    colours = [other for other in grids if other == "Cd" or other.startswith("harmonics_")]
    values = {"density": density[box]} | {
        other: _read_values(grids[other], VEC3F, low, shape)[box] for other in colours
    }
    matrix, first = about["matrix"], low + [part.start for part in box]
    return values, np.stack([*matrix.T, matrix @ first + about["offset"]])


def build_grid(values: np.ndarray, leaves: np.ndarray, world_from_voxel: np.ndarray) -> np.ndarray:
    """The bytes of a grid of values [x, y, z] or [x, y, z, 3], with leaves at [n, 3] and the transform [4, 3]."""
    empty, kind = (wp.vec3(), wp.vec3) if values.ndim == 4 else (0.0, wp.float32)
    points, transform = (
        wp.array(leaves, dtype=wp.int32, device="cpu"),
        wp.mat33f(*world_from_voxel[:3].T.ravel().tolist()),
    )
    volume = wp.Volume.allocate_by_tiles(
        points, bg_value=empty, translation=world_from_voxel[3].tolist(), device="cpu", transform=transform
    )
    inputs = [wp.uint64(volume.id), wp.array(values, dtype=kind, device="cpu")]
    wp.launch(_store, values.shape[:3], inputs, device="cpu")
    data = volume.array().numpy().copy()
    # Warp gets this wrong: findings/warp_voxel_size_of_turned_grids.sh.
    data[: GRID.itemsize].view(GRID)["voxel_size"] = np.linalg.norm(world_from_voxel[:3], axis=1)
    return data


def active_box(grid: bytes | np.ndarray) -> np.ndarray:
    """First and last active voxel [2, 3], from the root of the grid's tree."""
    root = GRID.itemsize + int(_read_record(grid, GRID.itemsize, TREE)["node_at"][3])
    return np.frombuffer(grid, "<i4", 6, max(0, root)).reshape(2, 3)


def _read_record(data: bytes | np.ndarray, at: int, layout: np.dtype) -> Any:
    """The record at a byte offset; ValueError where the data end within it."""
    return np.frombuffer(data, layout, 1, at)[0]


def _read_segments(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """Name and decompressed bytes of every grid."""
    while head := file.read(HEADER.itemsize):
        header = _read_record(head, 0, HEADER)
        if header["magic"] not in MAGIC_WORDS or header["version"] >> 21 != MAJOR:
            raise ValueError(f"a segment is not NanoVDB, or not of version {MAJOR}")
        metas = [_read_meta(file) for _ in range(header["grids"])]
        for about, name in metas:
            yield name, _inflate(file, int(about["size"]), int(header["codec"]))


def _read_meta(file: BinaryIO) -> tuple[Any, str]:
    about = _read_record(file.read(META.itemsize), 0, META)
    return about, file.read(int(about["name_size"])).rstrip(b"\0").decode("utf-8", "replace")


def _inflate(file: BinaryIO, size: int, codec: int) -> bytes:
    """The next grid, which has `size` bytes when unpacked."""
    if codec not in (RAW, DEFLATED):
        raise ValueError("its grids are compressed by Blosc: write them raw or zipped, as nanovdb_convert can")
    grid = file.read(size if codec == RAW else int.from_bytes(file.read(8), "little"))
    if codec == DEFLATED:
        grid = zlib.decompressobj().decompress(grid, max(1, size))
    if len(grid) != size:
        raise ValueError(f"a grid of {size} bytes ends after {len(grid)}")
    return grid


def _box(grid: bytes) -> tuple[np.ndarray, tuple[int, ...]]:
    """First active voxel, and the number of voxels along each axis."""
    low, high = active_box(grid).astype(np.int64)
    shape = tuple((high - low + 1).tolist())
    if min(shape) < 1 or math.prod(shape) > min(MAX_VOXELS, MAX_CELLS_PER_BYTE * len(grid)):
        raise ValueError(f"its density has {shape} cells in {len(grid)} bytes")
    return low, shape


def _nonzero_box(density: np.ndarray) -> tuple[slice, ...]:
    """The smallest box around all values that are not 0; leaves cover whole blocks."""
    if not density.any():
        raise ValueError("its density is 0 everywhere")
    ends = (np.flatnonzero(density.any(others))[[0, -1]] for others in ((1, 2), (0, 2), (0, 1)))
    return tuple(slice(first, last + 1) for first, last in ends)


def _read_values(grid: bytes, type: int, low: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Values of all voxels in a box."""
    about = _read_record(grid, 0, GRID).copy()
    if about["type"] != type:
        raise ValueError(f"its values are of type {about['type']}: write 32-bit floats")
    about["index"], about["count"] = 0, 1  # as if it were the file's only grid
    alone = np.zeros((), HEADER), np.zeros((), META)
    alone[0]["magic"], alone[0]["version"], alone[0]["grids"] = MAGIC, MAJOR << 21, 1
    alone[1]["size"] = alone[1]["packed"] = len(grid)
    parts = (alone[0].tobytes(), alone[1].tobytes(), about.tobytes(), grid[GRID.itemsize :])
    volume = wp.Volume.load_from_nvdb(b"".join(parts), device="cpu")
    values = wp.zeros(shape, dtype=wp.vec3 if type == VEC3F else wp.float32, device="cpu")
    wp.launch(_look_up, shape, [wp.uint64(volume.id), wp.vec3i(*low.tolist()), values], device="cpu")
    return values.numpy()
