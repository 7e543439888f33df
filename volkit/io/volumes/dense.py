"""Voxel fields as dense arrays: the plain volume (`.volume.npz`), and the named grids of OpenVDB and NanoVDB.

A plain volume is an archive with a `.volume.json` beside it, for programs that know nothing of radiance fields. The
archive holds `density` [x, y, z], values at cell centres in 1 / length, and optionally `rgb` [x, y, z, 3] in [0, 1] or
`harmonics` [x, y, z, 3, n], coefficients of `colour - 1/2`. The JSON gives the box of the grid, `lower` and `upper`.

The grids of the VDB formats share one box of voxels and one transform: `density`, a fog volume in 1 / world unit; `Cd`,
the colour in [0, 1] without its dependence on direction; `harmonics_1`, `harmonics_2`, ..., three channels of each
further coefficient. The transform takes voxel (i, j, k) to the centre of its cell.
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
from volkit.geometry.spherical_harmonics import C0
from volkit.io.fields.mask_grid import occupancy_from_mask
from volkit.representations import Placement, Representation, Voxels, VoxelsConfig
from volkit.typing import Tensor

__all__ = [
    "MAX_VOXELS",
    "arrays_from_voxels",
    "grids_from_voxels",
    "read",
    "sniff",
    "voxels_from_arrays",
    "voxels_from_grids",
    "write",
]


ARRAYS = ("density", "rgb", "harmonics")
MAX_JSON_BYTES = 1 << 20
MAX_VOXELS = 1 << 30  # 4 GiB of densities
MAX_SKEW = 1e-4  # cosine between axes of a transform; more is a shear


def sniff(path: Path) -> bool:
    """Whether the file is an archive with a `density` but without the `links` of svox2."""
    names = array_names(path)
    return "density" in names and "links" not in names


def read(path: Path) -> Representation:
    """The cells whose density is not 0, as kind `voxels`; grey where the file has no colours."""
    arrays, about = read_arrays(path, ARRAYS), _read_sidecar(path)
    with format_errors(path, "a volume", "docs/formats.md says what it holds"):
        return voxels_from_arrays(arrays, about)


def write(representation: Representation, path: Path) -> None:
    """Write densities and harmonics of every cell, 0 where it is empty, and the JSON with the grid's box."""
    assert isinstance(representation, Voxels)
    field = representation
    density, harmonics = arrays_from_voxels(field, path)
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


def arrays_from_voxels(field: Voxels, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Densities [x, y, z] and harmonics [x, y, z, 3, n]; FormatError for contracted fields and beyond 2^30 cells."""
    if field.domain.contracted:
        raise FormatError(path, "cannot hold a contracted field", "convert it into one in a box first")
    if field.links.numel() > MAX_VOXELS:
        raise FormatError(path, f"would hold {field.links.numel()} cells", "convert it at a lower resolution")
    harmonics = _scatter(field, field.sh_data).reshape(*field.links.shape, 3, -1)
    return _scatter(field, field.density_data)[..., 0], harmonics


def voxels_from_arrays(arrays: dict[str, np.ndarray], about: dict[str, Any]) -> Voxels:
    """The field of dense arrays and their description; ValueError where shapes or values do not fit."""
    density = _finite_tensor(arrays["density"], 3)
    lower, upper = (tuple(map(float, about[name])) for name in ("lower", "upper"))
    domain = Domain(_triple(lower), _triple(upper))
    if min(density.shape) < 2 or density.numel() > MAX_VOXELS:
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
    field.occupancy = occupancy_from_mask((density > 0).permute(2, 1, 0), ends, domain)
    world_from_local = (
        dataclass_from_json(Similarity, about["world_from_local"]) if "world_from_local" in about else Similarity()
    )
    provenance = about.get("provenance")
    return field.view(
        placement=Placement(world_from_local), provenance=provenance if isinstance(provenance, dict) else {}
    )


def _harmonics(arrays: dict[str, np.ndarray], shape: tuple[int, ...]) -> Tensor:
    """Coefficients [x, y, z, 3, n], from harmonics, else from rgb, else zeros: grey."""
    if "harmonics" in arrays:
        harmonics = _finite_tensor(arrays["harmonics"], 5)
    elif "rgb" in arrays:
        harmonics = ((_finite_tensor(arrays["rgb"], 4) - 0.5) / C0)[..., None]
    else:
        harmonics = torch.zeros(*shape, 3, 1)
    if tuple(harmonics.shape[:4]) != (*shape, 3):
        raise ValueError(f"its colours have shape {tuple(harmonics.shape)}, its density {shape}")
    return harmonics


def _scatter(field: Voxels, data: Tensor) -> np.ndarray:
    """Rows of `data` scattered into the dense grid [x, y, z, channel]."""
    held = field.links >= 0
    dense = data.new_zeros(*field.links.shape, data.shape[1])
    dense[held] = data.detach()[field.links[held].long()]
    return dense.cpu().numpy()


def _read_sidecar(path: Path) -> dict[str, Any]:
    sidecar = _sidecar(path)
    try:
        with sidecar.open("rb") as file:
            about = json.loads(file.read(MAX_JSON_BYTES))
    except OSError as error:
        raise FormatError(
            sidecar, f"cannot be read ({error.strerror or error})", f"put it beside {path.name}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise FormatError(sidecar, f"is not JSON ({type(error).__name__})", "write it again") from error
    if not isinstance(about, dict):
        raise FormatError(sidecar, "is not a JSON object", "write it again")
    return about


def _sidecar(path: Path) -> Path:
    return path.with_suffix(".json")


def _finite_tensor(array: np.ndarray, axes: int) -> Tensor:
    with np.errstate(over="ignore"):  # what overflows float32 becomes infinite, and is refused below
        values = torch.from_numpy(np.ascontiguousarray(array, np.float32))
    if values.dim() != axes or not bool(torch.isfinite(values).all()):
        raise ValueError(f"an array is not of {axes} axes, or has values that are not finite")
    return values


def _triple(values: tuple[float, ...]) -> tuple[float, float, float]:
    x, y, z = values
    return x, y, z


def grids_from_voxels(field: Voxels, path: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Grids [x, y, z] or [x, y, z, 3] by name, float32, 0 where empty; and the transform [4, 3] of their voxels.

    Rows of the transform: the three edges of a voxel, then the centre of the first one, in world coordinates.
    """
    density, harmonics = arrays_from_voxels(field, path)
    lower, upper = torch.tensor([field.domain.lower, field.domain.upper]).double()
    edges, world = (upper - lower) / torch.tensor(density.shape), field.world_from_local
    centre = world.points((lower + 0.5 * edges)[None])
    world_from_voxel = torch.cat([world.scale * world.vectors(torch.diag(edges)), centre]).numpy()
    held = (density != 0)[..., None]
    grids = {"density": density / world.scale, "Cd": (harmonics[..., 0] * C0 + 0.5) * held}
    grids |= {f"harmonics_{k}": harmonics[..., k] * held for k in range(1, harmonics.shape[-1])}
    return {name: np.ascontiguousarray(values, np.float32) for name, values in grids.items()}, world_from_voxel


def voxels_from_grids(grids: dict[str, np.ndarray], world_from_voxel: np.ndarray, provenance: dict[str, Any]) -> Voxels:
    """The field of such grids, grey without a `Cd`; ValueError where the transform shears or mirrors."""
    edges = world_from_voxel[:3]
    lengths = np.linalg.norm(edges, axis=1)
    axes = edges / lengths[:, None]
    if not np.isfinite(axes).all() or abs(axes @ axes.T - np.eye(3)).max() > MAX_SKEW or np.linalg.det(axes) < 0:
        raise ValueError("its voxels are sheared or mirrored")
    arrays = {"density": grids["density"]}
    if "Cd" in grids:
        rest = [grids[name] for name in sorted(grids, key=len) if name.startswith("harmonics_")]
        arrays["harmonics"] = np.stack([(grids["Cd"] - 0.5) / C0, *rest], -1)
    lower = axes @ (world_from_voxel[3] - 0.5 * edges.sum(0))
    about = {
        "lower": lower.tolist(),
        "upper": (lower + lengths * arrays["density"].shape).tolist(),
        "world_from_local": dataclass_to_json(Similarity(tuple(map(tuple, axes.T.tolist())))),
        "provenance": provenance,
    }
    return voxels_from_arrays(arrays, about)
