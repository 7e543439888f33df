"""Write assets in the format that the suffix names; a single mesh is an asset of one level."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from plyfile import PlyData, PlyElement

from volkit.files.atomic import atomic_write, write_together
from volkit.files.errors import FormatError
from volkit.files.provenance import comments_from_record, provenance_record
from volkit.geometry import UP_AXIS
from volkit.io.meshes.asset import Asset, Style, TextureFile, encode_textures
from volkit.io.meshes.gltf_writer import check_gltf, write_gltf
from volkit.io.meshes.usd_writer import check_usd, write_usd
from volkit.representations.mesh import Mesh
from volkit.typing import Tensor, UInt8

__all__ = ["check_style", "write_asset", "write_mesh", "write_obj", "write_ply", "write_stl"]


ZUP_SUFFIXES = (".ply", ".stl")  # +Z up, as for scanners and 3D printers; the others are +Y up


def write_ply(asset: Asset, path: Path, style: Style) -> None:
    """Write the finest level: positions, normals, vertex colours (sampled from a texture), faces; binary."""
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
        PlyData(elements, byte_order="<", comments=["metres", *comments_from_record(asset.extras)]).write(place_of_file)


def write_stl(asset: Asset, path: Path, style: Style) -> None:
    """Write the finest level, binary: an 80-byte title, the count, then normal, corners and 2 unused bytes per face."""
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
    """Vertex colours; of a texture its samples at the vertices, averaged across seams."""
    if not mesh.config.texture[0]:
        return mesh.colours
    count = len(mesh.faces)
    corner = torch.eye(3).repeat(count, 1)
    sampled = mesh.base_colour(torch.arange(count).repeat_interleave(3), corner)
    at = mesh.faces.long().flatten()
    sums = torch.zeros(len(mesh.vertices), 5).index_add_(0, at, torch.cat([sampled, torch.ones(len(sampled), 1)], 1))
    return (255.0 * sums[:, :4] / sums[:, 4:].clamp_min(1.0)).round().byte()


def _check_uncompressed(path: Path, style: Style) -> None:
    if style.draco or style.quantize:
        raise FormatError(path, "Draco and quantized arrays are glTF's", "leave them out, or write .glb")


def check_style(path: Path, style: Style) -> None:
    """Raise what `write_asset` would raise for any asset, before the work is done."""
    if path.suffix.lower() not in WRITERS:
        raise FormatError(path, f"meshes are not written as '{path.suffix}'", f"use one of {', '.join(WRITERS)}")
    WRITERS[path.suffix.lower()][1](path, style)


def write_asset(asset: Asset, path: Path, style: Style) -> None:
    """Write an asset, turned to the format's axes; glTF and USD store all of it, other formats the finest level."""
    check_style(path, style)
    suffix = path.suffix.lower()
    finest = asset.levels[0].view_in_frame(style.frame or ("zup" if suffix in ZUP_SUFFIXES else "yup"))
    record = provenance_record(finest) | asset.extras
    WRITERS[suffix][0](replace(asset, levels=(finest, *asset.levels[1:]), extras=record), path, style)


def write_mesh(mesh: Mesh, path: Path) -> None:
    """Write a mesh in its own frame with the default style."""
    write_asset(Asset((mesh,), metallic_roughness=mesh.metallic_roughness), path, Style(frame=mesh.frame))


def write_obj(asset: Asset, path: Path, style: Style) -> None:
    """Write the finest level: positions, normals, uv or vertex colours; base colour and normal maps beside it."""
    mesh = asset.levels[0]
    place = mesh.world_from_local
    positions = place.points(mesh.vertices.double())
    textured = mesh.config.texture[0] > 0
    if not textured:
        positions = torch.cat([positions, mesh.colours[:, :3].double() / 255.0], 1)
    lines = [f"# {line}" for line in (f"{path.stem}, metres", *comments_from_record(asset.extras))] + [f"o {path.stem}"]
    lines += _rows("v", positions) + _rows("vn", place.vectors(mesh.triangles.normals.double()))
    corner, numbers = "{0}//{0}", [1 + mesh.faces.long().numpy()]
    if textured:
        uv, number = np.unique(mesh.corner_uv.reshape(-1, 2).numpy(), axis=0, return_inverse=True)
        lines += [f"mtllib {path.stem}.mtl", f"usemtl {path.stem}"]
        lines += _rows("vt", torch.from_numpy(uv * [1, -1] + [0, 1]))  # v runs up
        corner, numbers = "{0}/{1}/{0}", [*numbers, 1 + number.reshape(-1, 3)]
    lines += ["f " + " ".join(corner.format(*names) for names in face) for face in np.stack(numbers, -1).tolist()]
    pictures = encode_textures(asset, style.texture_format) if textured else []
    beside = {p.file_name(path.stem): p.data for p in pictures}
    if textured:
        beside[f"{path.stem}.mtl"] = _material(path.stem, pictures)
    write_together(path, ("\n".join(lines) + "\n").encode(), beside)


def _rows(key: str, values: Tensor) -> list[str]:
    return [" ".join([key, *(f"{value:.9g}" for value in row)]) for row in values.tolist()]


def _material(stem: str, pictures: list[TextureFile]) -> bytes:
    """An .mtl: white times the texture, no specular highlights."""
    slots = {"baseColor": "map_Kd", "normal": "norm"}
    maps = [f"{slots[p.slot]} {p.file_name(stem)}" for p in pictures if p.slot in slots]
    return "\n".join([f"newmtl {stem}", "Ka 0 0 0", "Kd 1 1 1", "Ks 0 0 0", "illum 1", *maps, ""]).encode()


WRITERS: dict[str, tuple[Callable[[Asset, Path, Style], None], Callable[[Path, Style], None]]] = {
    **dict.fromkeys((".glb", ".gltf"), (write_gltf, check_gltf)),
    ".obj": (write_obj, _check_uncompressed),
    ".ply": (write_ply, _check_uncompressed),
    ".stl": (write_stl, _check_uncompressed),
    **dict.fromkeys((".usdz", ".usdc", ".usda", ".usd"), (write_usd, check_usd)),
}
