"""OpenVDB's `.vdb`: sparse volumes for Blender, Houdini and renderers, by OpenVDB's own Python module.

Grids: `density`, a fog volume in 1 / world unit; `Cd`, the colour in 0 to 1 without a direction; `harmonics_1`,
`harmonics_2`, ..., three channels of each further coefficient. Voxel (i, j, k) is the cell whose centre the grid's
transform takes it to. Source: openvdb.org, "OpenVDB Cookbook" and `FloatGrid.copyFromArray`.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from volkit.geometry import Similarity
from volkit.io.atomic import written_whole
from volkit.io.format import Format, FormatError, understood
from volkit.io.plain import to_plain
from volkit.io.record import KEY, about_scene, object_in, record_of
from volkit.io.trial import Trial
from volkit.io.volume import CONSTANT, dense_arrays, field_of
from volkit.representations import Representation, Voxels

__all__ = ["FORMAT"]

MAGIC = b" BDV"
MODULES = ("openvdb", "pyopenvdb")  # the second as it was named before version 11
MISSING = "OpenVDB's Python module is not installed: install python3-openvdb of Debian, or openvdb of conda-forge"
SECONDS, RATE, MEMORY = 20.0, 5e6, 8 << 30  # of a trial, with the file's bytes a second, and bytes
STRAIGHT = 1e-4  # of a voxel's edge: how far axes may be from square to each other
TRIAL = Trial("OpenVDB", Path(__file__).with_name("vdb_look.py"))


def sniff(path: Path) -> bool:
    """Whether the file begins as OpenVDB's."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def read(path: Path) -> Representation:
    """Cells with density as kind `voxels`, in the world's unit; a file without colour is grey."""
    _module(path)
    from volkit.io.vdb_look import dense_grids

    size = path.stat().st_size
    with understood(path, "an OpenVDB file", "write it again with a grid `density`"):
        TRIAL.ask(path, SECONDS + size / RATE, MEMORY + 16 * size)
        grids, corner, edges, told = dense_grids(str(path))
        arrays = {"density": grids["density"]}
        if "Cd" in grids:
            rest = [grids[name] for name in sorted(grids, key=len) if name.startswith("harmonics_")]
            arrays["harmonics"] = np.stack([(grids["Cd"] - 0.5) / CONSTANT, *rest], -1)
        about = _placed(corner, edges, arrays["density"].shape)
        return field_of(arrays, about | {"provenance": about_scene(object_in(told))})


def write(representation: Representation, path: Path) -> None:
    """Active voxels are the field's cells that are not empty."""
    assert isinstance(representation, Voxels)
    vdb, field = _module(path), representation
    density, harmonics = dense_arrays(field, path)
    cells = torch.tensor(density.shape).double()
    lower, upper = torch.tensor([field.domain.lower, field.domain.upper]).double()
    edges, world = (upper - lower) / cells, field.world_from_local
    place = torch.eye(4, dtype=torch.float64)  # rows: where an axis goes, then the origin
    place[:3, :3] = world.scale * world.vectors(torch.diag(edges))
    place[3, :3] = world.points((lower + 0.5 * edges)[None])[0]
    grids = [_grid(vdb.FloatGrid(), "density", density / world.scale)]
    grids[0].gridClass = vdb.GridClass.FOG_VOLUME
    grids[0][KEY] = json.dumps(record_of(field), default=str)
    held = (density != 0)[..., None]
    parts = {"Cd": harmonics[..., 0] * CONSTANT + 0.5} | {
        f"harmonics_{k}": harmonics[..., k] for k in range(1, harmonics.shape[-1])
    }
    grids += [_grid(vdb.Vec3SGrid(), name, values * held) for name, values in parts.items()]
    for grid in grids:
        grid.transform = vdb.createLinearTransform(place.tolist())
    with written_whole(path) as part:
        vdb.write(str(part), grids=grids)


def _module(path: Path) -> Any:
    for name in MODULES:
        try:
            return __import__(name)
        except ImportError:
            continue
    raise FormatError(path, "cannot be handled", MISSING)


def _grid(grid: Any, name: str, values: np.ndarray) -> Any:
    grid.name = name
    grid.copyFromArray(np.ascontiguousarray(values, np.float32))
    return grid


def _placed(corner: np.ndarray, edges: np.ndarray, shape: tuple[int, ...]) -> dict[str, Any]:
    """The box, in axes of the grid, and how those lie in the world; ValueError where they are not square."""
    lengths = np.linalg.norm(edges, axis=1)
    axes = edges / lengths[:, None]
    if not np.isfinite(axes).all() or abs(axes @ axes.T - np.eye(3)).max() > STRAIGHT or np.linalg.det(axes) < 0:
        raise ValueError("its voxels are sheared or mirrored")
    lower = axes @ corner
    world = Similarity(tuple(map(tuple, axes.T.tolist())))
    return {"lower": lower.tolist(), "upper": (lower + lengths * shape).tolist(), "world_from_local": to_plain(world)}


FORMAT = Format(
    name="openvdb",
    suffixes=(".vdb",),
    holds=("voxels",),
    frame="zup",
    sniff=sniff,
    read=read,
    write=write,
    keeps="densities and harmonics in float32, frame, provenance; not cameras, colours of empty cells",
)
