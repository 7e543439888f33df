"""Plain volumes (`.volume.npz` with `.volume.json` beside it): dense grids for programs that know nothing of fields.

The archive holds `density` [x, y, z], values at cell centres in 1 / length, and perhaps `rgb` [x, y, z, 3] in 0 to 1 or
`harmonics` [x, y, z, 3, n], coefficients of `colour - 1/2`. The JSON says where the grid lies: `lower`, `upper`.
"""

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from volkit.files.atomic import write_together
from volkit.files.dataclass_json import dataclass_from_json, dataclass_to_json
from volkit.files.errors import FormatError, format_errors
from volkit.files.npz import array_names, read_arrays
from volkit.geometry import Domain, Similarity
from volkit.io.fields.mask_grid import occupancy_of
from volkit.representations import Placement, Representation, Voxels, VoxelsConfig
from volkit.typing import Tensor

__all__ = ["CONSTANT", "MOST_VOXELS", "dense_arrays", "field_of", "read", "sniff", "write"]

ARRAYS = ("density", "rgb", "harmonics")
CONSTANT = 0.28209479177387814  # the harmonic of degree 0
JSON_LIMIT = 1 << 20
MOST_VOXELS = 1 << 30


def sniff(path: Path) -> bool:
    """Whether the file is an archive with a density and nothing that links to it."""
    names = array_names(path)
    return "density" in names and "links" not in names


def read(path: Path) -> Representation:
    """Cells with density as kind `voxels`; a grid without colour is grey."""
    arrays, about = read_arrays(path, ARRAYS), _about(path)
    with format_errors(path, "a volume", "see volkit/io/volumes/npz.py for what it holds"):
        return field_of(arrays, about)


def write(representation: Voxels, path: Path) -> None:
    """Densities and harmonics of every cell, empty ones 0, and the JSON that places them."""
    field = representation
    density, harmonics = dense_arrays(field, path)
    archive = io.BytesIO()
    np.savez_compressed(archive, density=density, harmonics=harmonics)
    about = {
        "format": "volume",
        "version": 1,
        "shape": list(density.shape),
        **dataclass_to_json(Domain(field.domain.lower, field.domain.upper)),
        "values_at": "cell centres",
        "density_unit": "1 / unit of lower and upper",
        "world_from_local": dataclass_to_json(field.world_from_local),
        "provenance": dict(field.provenance),
    }
    write_together(path, archive.getvalue(), {_sidecar(path).name: json.dumps(about, indent=2).encode()})


def dense_arrays(field: Voxels, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Densities [x, y, z] and harmonics [x, y, z, 3, n]; FormatError for a field without a box, or a large one."""
    if field.domain.contracted:
        raise FormatError(path, "cannot hold a contracted field", "convert it into one in a box first")
    if field.links.numel() > MOST_VOXELS:
        raise FormatError(path, f"would hold {field.links.numel()} cells", "convert it at a lower resolution")
    harmonics = _dense(field, field.sh_data).reshape(*field.links.shape, 3, -1)
    return _dense(field, field.density_data)[..., 0], harmonics


def field_of(arrays: dict[str, np.ndarray], about: dict[str, Any]) -> Voxels:
    """Voxels of dense arrays, and of what is said about them; ValueError where they do not belong together."""
    density = _finite(arrays["density"], 3)
    lower, upper = (tuple(map(float, about[name])) for name in ("lower", "upper"))
    domain = Domain(_triple(lower), _triple(upper))
    if min(density.shape) < 2 or density.numel() > MOST_VOXELS:
        raise ValueError(f"its density has {tuple(density.shape)} cells")
    harmonics = _harmonics(arrays, tuple(density.shape))
    degree = math.isqrt(harmonics.shape[-1]) - 1
    if (degree + 1) ** 2 != harmonics.shape[-1] or degree > 4:
        raise ValueError(f"its colours have {harmonics.shape[-1]} harmonics")
    held = density != 0
    field = Voxels(VoxelsConfig(resolution=max(density.shape), start=2, doublings=(), sh_degree=degree), domain)
    links = torch.full(density.shape, -1, dtype=torch.int32)
    links[held] = torch.arange(int(held.sum()), dtype=torch.int32)
    field.load_state_dict(
        {
            "links": links,
            "density_data": density[held][:, None],
            "sh_data": harmonics[held].flatten(1),
            "occupancy": field.occupancy,
        }
    )
    sizes = torch.tensor(density.shape)
    ends = domain.local_from_unit(torch.stack([0.5 / sizes, 1.0 - 0.5 / sizes]))
    field.occupancy = occupancy_of((density > 0).permute(2, 1, 0), ends, domain)
    place = dataclass_from_json(Similarity, about["world_from_local"]) if "world_from_local" in about else Similarity()
    provenance = about.get("provenance")
    return field.view(placement=Placement(place), provenance=provenance if isinstance(provenance, dict) else {})


def _harmonics(arrays: dict[str, np.ndarray], shape: tuple[int, ...]) -> Tensor:
    """[x, y, z, 3, n] of whatever colours there are."""
    if "harmonics" in arrays:
        harmonics = _finite(arrays["harmonics"], 5)
    elif "rgb" in arrays:
        harmonics = ((_finite(arrays["rgb"], 4) - 0.5) / CONSTANT)[..., None]
    else:
        harmonics = torch.zeros(*shape, 3, 1)
    if tuple(harmonics.shape[:4]) != (*shape, 3):
        raise ValueError(f"its colours have shape {tuple(harmonics.shape)}, its density {shape}")
    return harmonics


def _dense(field: Voxels, data: Tensor) -> np.ndarray:
    """Rows at the places of their voxels [x, y, z, channel]."""
    held = field.links >= 0
    dense = data.new_zeros(*field.links.shape, data.shape[1])
    dense[held] = data.detach()[field.links[held].long()]
    return dense.cpu().numpy()


def _about(path: Path) -> dict[str, Any]:
    place = _sidecar(path)
    try:
        with place.open("rb") as file:
            about = json.loads(file.read(JSON_LIMIT))
    except OSError as error:
        raise FormatError(place, f"cannot be read ({error.strerror or error})", f"put it beside {path.name}") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(place, f"is no JSON ({type(error).__name__})", "write it again") from error
    if not isinstance(about, dict):
        raise FormatError(place, "is no table of values", "write it again")
    return about


def _sidecar(path: Path) -> Path:
    return path.with_suffix(".json")


def _finite(array: np.ndarray, axes: int) -> Tensor:
    with np.errstate(over="ignore"):  # what is too large becomes infinity, and is refused
        values = torch.from_numpy(np.ascontiguousarray(array, np.float32))
    if values.dim() != axes or not bool(torch.isfinite(values).all()):
        raise ValueError(f"an array of {axes} axes and finite numbers is missing")
    return values


def _triple(values: tuple[float, ...]) -> tuple[float, float, float]:
    x, y, z = values
    return x, y, z
