"""Meshes without a texture: `.ply` with vertex colours and `.stl` with shape alone, both in metres."""

from pathlib import Path

import numpy as np
import torch
from plyfile import PlyData, PlyElement

from volkit.files.atomic import atomic_write
from volkit.files.provenance import comments_of
from volkit.geometry import UP_AXIS
from volkit.io.meshes.asset import Asset, Style
from volkit.representations.mesh import Mesh
from volkit.typing import Tensor, UInt8

__all__ = ["write_ply", "write_stl"]


def write_ply(asset: Asset, path: Path, style: Style) -> None:
    """The finest level: positions, normals, colours (of a texture, what it has at the vertices), faces; binary."""
    mesh = asset.levels[0]
    place = mesh.world_from_local
    columns = torch.cat([place.points(mesh.vertices.double()), place.vectors(mesh.triangles.normals.double())], 1)
    names = ("x", "y", "z", "nx", "ny", "nz")
    vertex = np.empty(
        len(columns), [(name, "<f4") for name in names] + [(n, "u1") for n in ("red", "green", "blue", "alpha")]
    )
    for name, column in zip(vertex.dtype.names or (), [*columns.T, *_vertex_colours(mesh).T], strict=True):
        vertex[name] = column.numpy()
    face = np.empty(len(mesh.faces), [("vertex_indices", "<i4", (3,))])
    face["vertex_indices"] = mesh.faces.numpy()
    elements = [PlyElement.describe(vertex, "vertex"), PlyElement.describe(face, "face")]
    with atomic_write(path) as place_of_file:
        PlyData(elements, byte_order="<", comments=["metres", *comments_of(asset.extras)]).write(place_of_file)


def write_stl(asset: Asset, path: Path, style: Style) -> None:
    """The finest level, binary: 80 bytes of title, the count, and for each face normal, corners, and no attribute."""
    mesh = asset.levels[0]
    corners = mesh.world_from_local.points(mesh.vertices.double())[mesh.faces.long()].float()
    normals = torch.nn.functional.normalize(
        torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), dim=-1
    )
    table = np.zeros(len(corners), [("normal", "<f4", (3,)), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    table["normal"], table["corners"] = normals.numpy(), corners.numpy()
    title = f"binary STL by volkit, metres, {UP_AXIS[mesh.frame]} up".encode().ljust(80)
    with atomic_write(path) as place:
        place.write_bytes(title + len(table).to_bytes(4, "little") + table.tobytes())


def _vertex_colours(mesh: Mesh) -> UInt8[Tensor, "vertex 4"]:
    """A texture's colours at the vertices, at seams the mean of both sides."""
    if not mesh.config.texture[0]:
        return mesh.colours
    count = len(mesh.faces)
    corner = torch.eye(3).repeat(count, 1)
    found = mesh.base_colour(torch.arange(count).repeat_interleave(3), corner)
    at = mesh.faces.long().flatten()
    sums = torch.zeros(len(mesh.vertices), 5).index_add_(0, at, torch.cat([found, torch.ones(len(found), 1)], 1))
    return (255.0 * sums[:, :4] / sums[:, 4:].clamp_min(1.0)).round().byte()
