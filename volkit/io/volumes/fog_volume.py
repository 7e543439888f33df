"""What a field is to OpenVDB and NanoVDB: named grids over one box of voxels, and the transform that places them.

Grids: `density`, a fog volume in 1 / world unit; `Cd`, the colour in 0 to 1 without a direction; `harmonics_1`,
`harmonics_2`, ..., three channels of each further coefficient. Voxel (i, j, k) is the cell whose centre the transform
takes it to.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from volkit.files.dataclass_json import dataclass_to_json
from volkit.geometry import Similarity
from volkit.io.volumes.npz import CONSTANT, dense_arrays, field_of
from volkit.representations import Voxels

__all__ = ["field_of_grids", "grids_of"]

STRAIGHT = 1e-4  # of a voxel's edge: how far axes may be from square to each other


def grids_of(field: Voxels, path: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Values [x, y, z] and [x, y, z, 3] by name, float32, empty cells 0; and the transform [4, 3] of their voxels.

    The transform's rows: the edges of a voxel, and the centre of the first, in the world.
    """
    density, harmonics = dense_arrays(field, path)
    lower, upper = torch.tensor([field.domain.lower, field.domain.upper]).double()
    edges, world = (upper - lower) / torch.tensor(density.shape), field.world_from_local
    centre = world.points((lower + 0.5 * edges)[None])
    place = torch.cat([world.scale * world.vectors(torch.diag(edges)), centre]).numpy()
    held = (density != 0)[..., None]
    grids = {"density": density / world.scale, "Cd": (harmonics[..., 0] * CONSTANT + 0.5) * held}
    grids |= {f"harmonics_{k}": harmonics[..., k] * held for k in range(1, harmonics.shape[-1])}
    return {name: np.ascontiguousarray(values, np.float32) for name, values in grids.items()}, place


def field_of_grids(grids: dict[str, np.ndarray], place: np.ndarray, provenance: dict[str, Any]) -> Voxels:
    """The field of such grids, grey where there is no `Cd`; ValueError where the transform's axes are not square."""
    edges = place[:3]
    lengths = np.linalg.norm(edges, axis=1)
    axes = edges / lengths[:, None]
    if not np.isfinite(axes).all() or abs(axes @ axes.T - np.eye(3)).max() > STRAIGHT or np.linalg.det(axes) < 0:
        raise ValueError("its voxels are sheared or mirrored")
    arrays = {"density": grids["density"]}
    if "Cd" in grids:
        rest = [grids[name] for name in sorted(grids, key=len) if name.startswith("harmonics_")]
        arrays["harmonics"] = np.stack([(grids["Cd"] - 0.5) / CONSTANT, *rest], -1)
    lower = axes @ (place[3] - 0.5 * edges.sum(0))
    about = {
        "lower": lower.tolist(),
        "upper": (lower + lengths * arrays["density"].shape).tolist(),
        "world_from_local": dataclass_to_json(Similarity(tuple(map(tuple, axes.T.tolist())))),
        "provenance": provenance,
    }
    return field_of(arrays, about)
