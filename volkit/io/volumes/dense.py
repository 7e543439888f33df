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
from volkit.io.fields.mask_grid import occupancy_from_mask
from volkit.representations import Placement, Representation, Voxels, VoxelsConfig
from volkit.typing import Tensor

__all__ = [
    "C0",
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
C0 = 0.28209479177387814  # the harmonic of degree 0
MAX_JSON_BYTES = 1 << 20
MAX_VOXELS = 1 << 30

MAX_SKEW = 1e-4  # of a voxel's edge: how far axes may be from square to each other


def sniff(path: Path) -> bool:
    """Whether the file is an archive with a density and nothing that links to it."""
    names = array_names(path)
    return "density" in names and "links" not in names


def read(path: Path) -> Representation:
    """Cells with density as kind `voxels`; a grid without colour is grey."""
    arrays, about = read_arrays(path, ARRAYS), _read_sidecar(path)
    with format_errors(path, "a volume", "see volkit/io/volumes/npz.py for what it holds"):
        return voxels_from_arrays(arrays, about)


def write(representation: Representation, path: Path) -> None:
    """Densities and harmonics of every cell, empty ones 0, and the JSON that places them."""
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
    """Densities [x, y, z] and harmonics [x, y, z, 3, n]; FormatError for a field without a box, or a large one."""
    if field.domain.contracted:
        raise FormatError(path, "cannot hold a contracted field", "convert it into one in a box first")
    if field.links.numel() > MAX_VOXELS:
        raise FormatError(path, f"would hold {field.links.numel()} cells", "convert it at a lower resolution")
    harmonics = _scatter(field, field.sh_data).reshape(*field.links.shape, 3, -1)
    return _scatter(field, field.density_data)[..., 0], harmonics


def voxels_from_arrays(arrays: dict[str, np.ndarray], about: dict[str, Any]) -> Voxels:
    """Voxels of dense arrays, and of what is said about them; ValueError where they do not belong together."""
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
    world_from_voxel = (
        dataclass_from_json(Similarity, about["world_from_local"]) if "world_from_local" in about else Similarity()
    )
    provenance = about.get("provenance")
    return field.view(
        placement=Placement(world_from_voxel), provenance=provenance if isinstance(provenance, dict) else {}
    )


def _harmonics(arrays: dict[str, np.ndarray], shape: tuple[int, ...]) -> Tensor:
    """[x, y, z, 3, n] of whatever colours there are."""
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
    """Rows at the places of their voxels [x, y, z, channel]."""
    held = field.links >= 0
    dense = data.new_zeros(*field.links.shape, data.shape[1])
    dense[held] = data.detach()[field.links[held].long()]
    return dense.cpu().numpy()


def _read_sidecar(path: Path) -> dict[str, Any]:
    world_from_voxel = _sidecar(path)
    try:
        with world_from_voxel.open("rb") as file:
            about = json.loads(file.read(MAX_JSON_BYTES))
    except OSError as error:
        raise FormatError(
            world_from_voxel, f"cannot be read ({error.strerror or error})", f"put it beside {path.name}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise FormatError(world_from_voxel, f"is no JSON ({type(error).__name__})", "write it again") from error
    if not isinstance(about, dict):
        raise FormatError(world_from_voxel, "is no table of values", "write it again")
    return about


def _sidecar(path: Path) -> Path:
    return path.with_suffix(".json")


def _finite_tensor(array: np.ndarray, axes: int) -> Tensor:
    with np.errstate(over="ignore"):  # what is too large becomes infinity, and is refused
        values = torch.from_numpy(np.ascontiguousarray(array, np.float32))
    if values.dim() != axes or not bool(torch.isfinite(values).all()):
        raise ValueError(f"an array of {axes} axes and finite numbers is missing")
    return values


def _triple(values: tuple[float, ...]) -> tuple[float, float, float]:
    x, y, z = values
    return x, y, z


def grids_from_voxels(field: Voxels, path: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Values [x, y, z] and [x, y, z, 3] by name, float32, empty cells 0; and the transform [4, 3] of their voxels.

    The transform's rows: the edges of a voxel, and the centre of the first, in the world.
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
    """The field of such grids, grey where there is no `Cd`; ValueError where the transform's axes are not square."""
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
