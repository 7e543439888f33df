"""Meshes written plainly, in metres, one level and no solids: `.obj`, `.ply` with vertex colours, `.stl`.

An `.obj` has its `.mtl` and pictures beside it; vertices are not split at seams. Importers show every group of such a
file, and read vertex colours behind the positions, as MeshLab and Blender do.
"""

from pathlib import Path

import numpy as np
import torch
from plyfile import PlyData, PlyElement

from volkit.files.atomic import atomic_write, write_together
from volkit.files.provenance import comments_of
from volkit.geometry import UP_AXIS
from volkit.io.meshes.asset import Asset, Style
from volkit.io.meshes.pictures import PictureFile, picture_files
from volkit.representations.mesh import Mesh
from volkit.typing import Tensor, UInt8

__all__ = ["write_obj", "write_ply", "write_stl"]


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


def write_obj(asset: Asset, path: Path, style: Style) -> None:
    """Positions, normals, uv or colours; maps of base colour and normals."""
    mesh = asset.levels[0]
    place = mesh.world_from_local
    positions = place.points(mesh.vertices.double())
    textured = mesh.config.texture[0] > 0
    if not textured:
        positions = torch.cat([positions, mesh.colours[:, :3].double() / 255.0], 1)
    lines = [f"# {line}" for line in (f"{path.stem}, metres", *comments_of(asset.extras))] + [f"o {path.stem}"]
    lines += _rows("v", positions) + _rows("vn", place.vectors(mesh.triangles.normals.double()))
    corner, numbers = "{0}//{0}", [1 + mesh.faces.long().numpy()]
    if textured:
        uv, number = np.unique(mesh.corner_uv.reshape(-1, 2).numpy(), axis=0, return_inverse=True)
        lines += [f"mtllib {path.stem}.mtl", f"usemtl {path.stem}"]
        lines += _rows("vt", torch.from_numpy(uv * [1, -1] + [0, 1]))  # v runs up
        corner, numbers = "{0}/{1}/{0}", [*numbers, 1 + number.reshape(-1, 3)]
    lines += ["f " + " ".join(corner.format(*names) for names in face) for face in np.stack(numbers, -1).tolist()]
    pictures = picture_files(asset, style.texture_format) if textured else []
    beside = {p.named(path.stem): p.data for p in pictures}
    if textured:
        beside[f"{path.stem}.mtl"] = _material(path.stem, pictures)
    write_together(path, ("\n".join(lines) + "\n").encode(), beside)


def _rows(key: str, values: Tensor) -> list[str]:
    return [" ".join([key, *(f"{value:.9g}" for value in row)]) for row in values.tolist()]


def _material(stem: str, pictures: list[PictureFile]) -> bytes:
    """White, times the picture; without highlights."""
    slots = {"baseColor": "map_Kd", "normal": "norm"}
    maps = [f"{slots[p.slot]} {p.named(stem)}" for p in pictures if p.slot in slots]
    return "\n".join([f"newmtl {stem}", "Ka 0 0 0", "Kd 1 1 1", "Ks 0 0 0", "illum 1", *maps, ""]).encode()
