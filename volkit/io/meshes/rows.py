"""Vertices as graphics cards hold them: a row for each uv that a vertex has."""

from dataclasses import dataclass

import numpy as np
import torch

from volkit.geometry import Similarity
from volkit.geometry.tangents import corner_tangents
from volkit.representations.mesh import Mesh
from volkit.typing import Float, Tensor

__all__ = ["MeshRows", "mesh_rows"]


@dataclass(frozen=True)
class MeshRows:
    """Arrays of one mesh in its file's frame; which of the last four there are depends on the mesh."""

    positions: np.ndarray  # [row 3], float32
    normals: np.ndarray  # [row 3], float32, unit
    faces: np.ndarray  # [face 3], int64
    uv: np.ndarray | None = None  # [row 2], float32, v runs down
    lightmap_uv: np.ndarray | None = None  # [row 2]
    colours: np.ndarray | None = None  # [row 4], uint8, display-referred
    tangents: np.ndarray | None = None  # [row 4], float32, unit, and the sign of the bitangent


def mesh_rows(
    mesh: Mesh,
    file_from_local: Similarity,
    lightmap_uv: Float[Tensor, "face 3 2"] | None = None,
    tangents: bool = False,
) -> MeshRows:
    """Split vertices where their corners differ in uv or tangent; vertices that no face names are left out."""
    textured, count = mesh.config.texture[0] > 0, 3 * len(mesh.faces)
    layers = {"uv": mesh.corner_uv} if textured else {}
    layers |= {"lightmap_uv": lightmap_uv} if lightmap_uv is not None else {}
    layers |= {"tangents": corner_tangents(mesh.triangles, mesh.corner_uv)} if tangents else {}
    flat = {name: layer.reshape(count, -1) for name, layer in layers.items()}
    corners = torch.cat([mesh.faces.view(count, 1).double(), *flat.values()], 1).numpy()
    _, first, faces = np.unique(corners, axis=0, return_index=True, return_inverse=True)
    rows = mesh.faces.view(count).long()[first]
    along = {name: layer[first].float().numpy() for name, layer in flat.items()}
    if tangents:
        turned = file_from_local.vectors(torch.from_numpy(along["tangents"][:, :3]))
        along["tangents"] = np.concatenate([turned.numpy(), along["tangents"][:, 3:]], 1)
    return MeshRows(
        file_from_local.points(mesh.vertices.double())[rows].float().numpy(),
        file_from_local.vectors(mesh.triangles.normals.double())[rows].float().numpy(),
        faces.reshape(-1, 3),
        uv=along.get("uv"),
        lightmap_uv=along.get("lightmap_uv"),
        colours=None if textured else mesh.colours[rows].numpy(),
        tangents=along.get("tangents"),
    )
