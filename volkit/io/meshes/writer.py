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
from volkit.geometry.colour import array_srgb_from_linear
from volkit.io.meshes.asset import Asset, Style, encode_textures, material_names
from volkit.io.meshes.gltf_writer import check_gltf, write_gltf
from volkit.io.meshes.parts import far_origin
from volkit.io.meshes.usd_writer import check_usd, write_usd
from volkit.representations.material import SLOTS, Material
from volkit.representations.mesh import Mesh
from volkit.typing import Tensor, UInt8

__all__ = [
    "OVER_TEXTURE",
    "check_style",
    "lost_look",
    "write_asset",
    "write_mesh",
    "write_obj",
    "write_ply",
    "write_stl",
]


OVER_TEXTURE = "colours of vertices over a texture"
# Textures that files hold beside base colour, and which of alpha's cutoff, the product of texture and vertex colours, a
# second set of uv in one material, images that are mirrored or clamped in one direction, and texels as squares.
KEPT_LOOK = {
    **dict.fromkeys((".glb", ".gltf"), (*SLOTS, "cutoff", "product", "second uv", "wraps", "nearest")),
    **dict.fromkeys((".usdz", ".usdc", ".usda", ".usd"), (*SLOTS, "cutoff", "second uv", "wraps")),
    ".obj": ("normal", "emission"),
}
ZUP_SUFFIXES = (".ply", ".stl")  # +Z up, as for scanners and 3D printers; the others are +Y up


def write_ply(asset: Asset, path: Path, style: Style) -> None:
    """Write the finest level: positions, normals, vertex colours (sampled from textures), faces; binary.

    Positions are doubles where they lie so far from the origin that float32 would round them.
    """
    mesh = asset.mesh
    place = mesh.world_from_local
    columns = torch.cat([place.points(mesh.vertices.double()), place.vectors(mesh.vertex_normals.double())], 1)
    position = "<f8" if far_origin(mesh).any() else "<f4"
    names = [(name, position) for name in "xyz"] + [(name, "<f4") for name in ("nx", "ny", "nz")]
    vertex = np.empty(len(columns), names + [(name, "u1") for name in ("red", "green", "blue", "alpha")])
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
    """Vertex colours; of textures their samples at the vertices, averaged across seams."""
    material = mesh.config.materials[0]
    if mesh.config.coloured and not mesh.config.images and mesh.config.materials == (Material(material.name),):
        return mesh.colours
    count = len(mesh.faces)
    corner = torch.eye(3).repeat(count, 1)
    sampled = mesh.colours_at(torch.arange(count).repeat_interleave(3), corner)
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


def lost_look(mesh: Mesh, suffix: str) -> list[str]:
    """What of the materials of a mesh files of a suffix do not hold, in words."""
    materials, kept = mesh.config.materials, KEPT_LOOK.get(suffix.lower(), ())
    if suffix.lower() == ".stl":
        return ["all colours"]
    slots = {slot for material in materials for slot in material.textures}
    lost = [f"{slot.replace('_', '-')} maps" for slot in SLOTS[1:] if slot in slots and slot not in kept]
    if suffix.lower() == ".ply":
        lost += ["textures (colours at the vertices instead)"] if "base_colour" in slots else []
    elif "base_colour" in slots and mesh.config.coloured and "product" not in kept:
        lost.append(OVER_TEXTURE)
    if "cutoff" not in kept and any(material.alpha_mode == "mask" for material in materials):
        lost.append("cutoffs of alpha")
    if suffix.lower() == ".ply":
        return lost
    shown = [(m, t) for m in materials for slot, t in m.textures.items() if slot in (*kept, SLOTS[0])]
    if "second uv" not in kept and any(t.uv != _uv_set(m) for m, t in shown):
        lost.append("textures by other uv than the base colour's")
    if "wraps" not in kept and any(t.wrap[0] != t.wrap[1] or "mirror" in t.wrap for _, t in shown):
        lost.append("images mirrored, or clamped in one direction")
    if "nearest" not in kept and any(t.nearest for _, t in shown):
        lost.append("texels as squares")
    return lost


def _uv_set(material: Material) -> int:
    """The set of uv of its base colour; the only one that files with one set hold."""
    return next(iter(material.textures.values())).uv if material.textures else 0


def write_asset(asset: Asset, path: Path, style: Style) -> None:
    """Write an asset, turned to the format's axes; glTF and USD store all of it, other formats the finest level."""
    check_style(path, style)
    suffix = path.suffix.lower()
    finest = asset.levels[0].view_in_frame(style.frame or ("zup" if suffix in ZUP_SUFFIXES else "yup"))
    record = provenance_record(finest) | asset.extras
    WRITERS[suffix][0](replace(asset, levels=(finest, *asset.levels[1:]), extras=record), path, style)


def write_mesh(mesh: Mesh, path: Path) -> None:
    """Write a mesh in its own frame with the default style."""
    write_asset(Asset((mesh,)), path, Style(frame=mesh.frame))


def write_obj(asset: Asset, path: Path, style: Style) -> None:
    """Write the finest level: positions, normals, uv and vertex colours, its materials and their pictures beside it."""
    mesh = asset.mesh
    place, config = mesh.world_from_local, mesh.config
    positions = place.points(mesh.vertices.double())
    if config.coloured:
        positions = torch.cat([positions, mesh.colours[:, :3].double() / 255.0], 1)
    digits = 15 if far_origin(mesh).any() else 9
    lines = [f"# {line}" for line in (f"{path.stem}, metres", *comments_from_record(asset.extras))] + [f"o {path.stem}"]
    lines += _rows("v", positions, digits) + _rows("vn", place.vectors(mesh.vertex_normals.double()))
    corner, numbers = "{0}//{0}", [1 + mesh.faces.long().numpy()]
    plain = config.coloured and config.materials == (Material(alpha_mode=config.materials[0].alpha_mode),)
    if config.uv_sets:
        uv, number = np.unique(_shown_uv(mesh).reshape(-1, 2), axis=0, return_inverse=True)
        lines += _rows("vt", torch.from_numpy(uv * [1, -1] + [0, 1]))  # v runs up
        corner, numbers = "{0}/{1}/{0}", [*numbers, 1 + number.reshape(-1, 3)]
    texts = [corner.format(*names) for names in np.stack(numbers, -1).reshape(-1, len(numbers)).tolist()]
    faces = np.array([" ".join(["f", *texts[k : k + 3]]) for k in range(0, len(texts), 3)], object)
    if plain:
        return write_together(path, ("\n".join([*lines, *faces]) + "\n").encode(), {})
    lines.append(f"mtllib {path.stem}.mtl")
    names = material_names(asset.materials, path.stem)
    for row, name in enumerate(names):
        own = faces[(mesh.face_material == row).numpy()].tolist()
        lines += [f"usemtl {name}", *own] if own else []
    pictures = {picture.image: picture for picture in encode_textures(asset, style.texture_format)}
    beside = {picture.file_name(path.stem): picture.data for picture in pictures.values()}
    library = [
        line
        for name, material in zip(names, asset.materials, strict=True)
        for line in _material(name, material, {k: picture.file_name(path.stem) for k, picture in pictures.items()})
    ]
    write_together(path, ("\n".join(lines) + "\n").encode(), beside | {f"{path.stem}.mtl": "\n".join(library).encode()})


def _shown_uv(mesh: Mesh) -> np.ndarray:
    """Uv [face, 3, 2] of the set by which each face's material lies."""
    if mesh.config.uv_sets < 2:
        return mesh.corner_uv.numpy()
    second = torch.tensor([_uv_set(material) == 1 for material in mesh.config.materials])[mesh.face_material.long()]
    return torch.where(second[:, None, None], mesh.second_uv, mesh.corner_uv).numpy()


def _rows(key: str, values: Tensor, digits: int = 9) -> list[str]:
    return [" ".join([key, *(f"{value:.{digits}g}" for value in row)]) for row in values.tolist()]


def _material(name: str, material: Material, files: dict[int, str]) -> list[str]:
    """The lines of a material in an .mtl; colours are display-referred there, no highlights."""
    base = material.base_colour_texture
    colour, glow = (array_srgb_from_linear(np.array(light)) for light in (material.base_colour[:3], material.emission))
    lines = [f"newmtl {name}", "Ka 0 0 0", f"Kd {_numbers(colour)}", "Ks 0 0 0", "illum 1"]
    if material.alpha_mode != "opaque" and material.base_colour[3] < 1.0:
        lines.append(f"d {material.base_colour[3]:.6g}")
    if any(material.emission):
        lines.append(f"Ke {_numbers(glow)}")
    if material.has_finish and material.metallic_roughness_texture is None:
        lines += [f"Pr {material.roughness:.6g}", f"Pm {material.metallic:.6g}"]
    for key, texture in (("map_Kd", base), ("map_Ke", material.emission_texture), ("norm", material.normal_texture)):
        if texture is not None and texture.uv == _uv_set(material):
            clamp = "-clamp on " if texture.wrap == ("clamp", "clamp") else ""
            lines.append(f"{key} {clamp}{files[texture.image]}")
    return [*lines, ""]


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:.6g}" for value in values)


WRITERS: dict[str, tuple[Callable[[Asset, Path, Style], None], Callable[[Path, Style], None]]] = {
    **dict.fromkeys((".glb", ".gltf"), (write_gltf, check_gltf)),
    ".obj": (write_obj, _check_uncompressed),
    ".ply": (write_ply, _check_uncompressed),
    ".stl": (write_stl, _check_uncompressed),
    **dict.fromkeys((".usdz", ".usdc", ".usda", ".usd"), (write_usd, check_usd)),
}
