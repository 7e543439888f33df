"""Grids of sxyu/svox2 (Plenoxels, `.npz`), read and written.

Source: that project's `svox2/svox2.py`, `SparseGrid.save`, `load`, `world2grid` and `sample`. Negative links are empty
voxels; after training on a GPU they encode the distance to the next full one.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from volkit.files.atomic import atomic_write
from volkit.files.dataclass_json import dataclass_from_json, dataclass_to_json
from volkit.files.errors import FormatError, format_errors
from volkit.files.npz import array_names, read_arrays
from volkit.geometry import Domain, Similarity
from volkit.io.fields.mask_grid import occupancy_from_mask
from volkit.representations import Placement, Representation, Voxels, VoxelsConfig
from volkit.typing import Tensor

__all__ = ["read", "sniff", "write"]

ARRAYS = ("radius", "center", "links", "density_data", "sh_data", "data", "basis_type", "basis_data")
BACKGROUND_ARRAY = "background_data"
NOTES_ARRAY, OCCUPANCY_ARRAY = "volkit_notes", "volkit_occupancy"  # our arrays, which svox2 ignores
SH_BASIS = 1  # basis_type of spherical harmonics
MAX_HALF = 65504.0


def sniff(path: Path) -> bool:
    """Whether the file is an archive with links and voxel data."""
    names = array_names(path)
    return "links" in names and bool(names & {"density_data", "data"})


def read(path: Path) -> Representation:
    """Links, densities and harmonics as kind `voxels`, in the file's own frame."""
    if BACKGROUND_ARRAY in array_names(path):
        raise FormatError(path, "has a background model, which is not supported", "train without a background")
    arrays = read_arrays(path, (*ARRAYS, NOTES_ARRAY, OCCUPANCY_ARRAY))
    with format_errors(path, "svox2"):
        return _field(arrays)


def write(representation: Voxels, path: Path) -> None:
    """Write what `SparseGrid.load` reads, with harmonics at half precision as svox2 stores them."""
    field = representation
    if field.domain.contracted:
        raise FormatError(path, "cannot hold a contracted field", "convert it into one in a box first")
    if not bool((field.sh_data.abs() <= MAX_HALF).all()):
        raise FormatError(path, "cannot hold these colours at half precision", "fit them with smaller rates")
    notes = {
        "frame": dataclass_to_json(field.world_from_local),
        "box": dataclass_to_json(field.domain),  # svox2 rounds it to float32
        "provenance": dict(field.provenance),
    }
    arrays = {
        "radius": np.array([0.5 * edge for edge in field.domain.extent], np.float32),
        "center": np.array(field.domain.centre, np.float32),
        "links": field.links.cpu().numpy(),
        "density_data": field.density_data.detach().cpu().numpy(),
        "sh_data": field.sh_data.detach().cpu().numpy().astype(np.float16),
        "basis_type": np.array(SH_BASIS),
        NOTES_ARRAY: np.frombuffer(json.dumps(notes).encode(), np.uint8),
        OCCUPANCY_ARRAY: field.occupancy.cpu().numpy(),
    }
    with atomic_write(path) as place, place.open("wb") as file:
        np.savez(file, **arrays)


def _field(arrays: dict[str, np.ndarray]) -> Voxels:
    kind = int(arrays["basis_type"]) if "basis_type" in arrays else SH_BASIS
    if kind != SH_BASIS or ("basis_type" not in arrays and "basis_data" in arrays):
        raise ValueError(f"its colours have basis {kind}; only spherical harmonics ({SH_BASIS}) are supported")
    density, sh = arrays.get("density_data"), arrays.get("sh_data")
    if "data" in arrays:
        density, sh = np.split(arrays["data"], [1], -1)
    if density is None or sh is None:
        raise ValueError("it lacks its densities or its colours")
    density, sh = _numbers("density_data", density, 2), _numbers("sh_data", sh, 2)
    links = torch.from_numpy(np.ascontiguousarray(_integers(arrays["links"]), np.int32)).clamp_min(-1)
    degree = math.isqrt(max(sh.shape[1] // 3, 1)) - 1
    config = VoxelsConfig(resolution=max(links.shape), start=2, doublings=(), sh_degree=degree)
    field = Voxels(config, _box(arrays))
    if sh.shape[1] != field.sh_data.shape[1] or density.shape[1] != 1:
        raise ValueError(f"its colours have {sh.shape[1]} values, which fit no degree of harmonics in three channels")
    tensors = {"links": links, "density_data": density, "sh_data": sh, "occupancy": field.occupancy}
    field.load_state_dict(tensors)
    field.check()
    field = field.view(provenance={"source": "svox2"})
    if NOTES_ARRAY in arrays:
        field = _restore_own(field, json.loads(arrays[NOTES_ARRAY].tobytes()))
    field.occupancy = _occupancy(field, arrays.get(OCCUPANCY_ARRAY))
    return field


def _box(arrays: dict[str, np.ndarray]) -> Domain:
    radius = np.broadcast_to(arrays.get("radius", np.ones(3)), 3).astype(np.float64)
    centre = np.broadcast_to(arrays.get("center", np.zeros(3)), 3).astype(np.float64)
    if not np.isfinite([radius, centre]).all() or (radius <= 0).any():
        raise ValueError("its box is damaged")
    lower, upper = (tuple(ends.tolist()) for ends in (centre - radius, centre + radius))
    return Domain(lower, upper)


def _occupancy(field: Voxels, own: np.ndarray | None) -> Tensor:
    """Our bits where the file has them, else all cells within reach of a voxel with density."""
    if own is not None:
        if own.dtype != np.uint8 or own.shape != tuple(field.occupancy.shape):
            raise ValueError("its occupancy has the wrong size")
        return torch.from_numpy(own.copy())
    full = torch.zeros(field.links.shape, dtype=torch.bool)
    held = field.links >= 0
    full[held] = (field.density_data[:, 0] > 0)[field.links[held].long()]
    sizes = torch.tensor(full.shape)
    ends = torch.stack([0.5 / sizes, 1.0 - 0.5 / sizes])
    return occupancy_from_mask(full.permute(2, 1, 0), field.domain.local_from_unit(ends), field.domain)


def _restore_own(field: Voxels, notes: Any) -> Voxels:
    """Restore what our writer stored beside svox2's arrays."""
    if not isinstance(notes, dict):
        raise ValueError("its notes are not a JSON object")
    provenance = notes.get("provenance")
    return field.view(
        domain=dataclass_from_json(Domain, notes.get("box")),
        placement=Placement(dataclass_from_json(Similarity, notes.get("frame"))),
        provenance=provenance if isinstance(provenance, dict) else {},
    )


def _numbers(name: str, array: np.ndarray, axes: int) -> Tensor:
    with np.errstate(over="ignore"):  # what overflows float32 becomes infinite, and is refused below
        values = torch.from_numpy(np.ascontiguousarray(array, np.float32))
    if values.dim() != axes or not bool(torch.isfinite(values).all()):
        raise ValueError(f"its '{name}' is not a table of finite numbers")
    return values


def _integers(array: np.ndarray) -> np.ndarray:
    if array.ndim != 3 or array.dtype.kind not in "iu" or min(array.shape) < 2:
        raise ValueError("its 'links' are not a grid of row numbers")
    return array
