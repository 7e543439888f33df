"""Vertices as graphics cards hold them: a row for each uv that a vertex has."""

from dataclasses import dataclass

import numpy as np
import torch

from volkit.geometry import Similarity
from volkit.representations.mesh import Mesh
from volkit.typing import Float, Tensor

__all__ = ["UP", "MeshRows", "mesh_rows"]

UP = Similarity(((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)))  # glTF's +Y up to +Z up


@dataclass(frozen=True)
class MeshRows:
    """Arrays of one mesh in its file's frame; which of the last three there are depends on the mesh."""

    positions: np.ndarray  # [row 3], float32
    normals: np.ndarray  # [row 3], float32, unit
    faces: np.ndarray  # [face 3], int64
    uv: np.ndarray | None = None  # [row 2], float32, v runs down
    lightmap_uv: np.ndarray | None = None  # [row 2]
    colours: np.ndarray | None = None  # [row 4], uint8, display-referred


def mesh_rows(
    mesh: Mesh, file_from_local: Similarity, lightmap_uv: Float[Tensor, "face 3 2"] | None = None
) -> MeshRows:
    """Split vertices where their corners differ in uv; vertices that no face names are left out."""
    layers = [mesh.corner_uv] if mesh.config.texture[0] else []
    layers += [lightmap_uv] if lightmap_uv is not None else []
    corners = np.concatenate(
        [mesh.faces.reshape(-1, 1).double().numpy(), *(uv.reshape(-1, 2).double().numpy() for uv in layers)], 1
    )
    found, faces = np.unique(corners, axis=0, return_inverse=True)
    rows = torch.from_numpy(found[:, 0]).long()
    layered = [uv.astype(np.float32) for uv in np.split(found[:, 1:], len(layers), 1)] if layers else []
    textured = mesh.config.texture[0] > 0
    return MeshRows(
        file_from_local.points(mesh.vertices.double())[rows].float().numpy(),
        file_from_local.vectors(mesh.triangles.normals.double())[rows].float().numpy(),
        faces.reshape(-1, 3),
        uv=layered[0] if textured else None,
        lightmap_uv=layered[-1] if lightmap_uv is not None else None,
        colours=None if textured else mesh.colours[rows].numpy(),
    )
