"""Assets as `.glb`, and as `.gltf` with its buffer and pictures beside it, in metres.

One material and one set of pictures for all levels. Tangents are written with a normal map, which means nothing without
them, and left out otherwise.
"""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from volkit.extras import advice
from volkit.files.atomic import write_together
from volkit.files.errors import FormatError
from volkit.geometry import Similarity
from volkit.geometry.triangles import corner_tangents
from volkit.io.meshes.asset import Asset, Style
from volkit.io.meshes.engines import collider_name, colliders_in_scene, level_names, makes_levels, unreadable
from volkit.io.meshes.gltf_builder import GltfBuilder, MeshRows, QuantisationGrid
from volkit.io.meshes.gltf_container import packed
from volkit.io.meshes.pictures import PictureFile, picture_files, see_through
from volkit.representations.mesh import Mesh
from volkit.typing import Float, Tensor

__all__ = ["check_gltf", "write_gltf"]

SAMPLER = {"magFilter": 9729, "minFilter": 9987}  # linear, over a pyramid


def write_gltf(asset: Asset, path: Path, style: Style) -> None:
    """All of the asset in the form that the suffix names; see `engines` for names."""
    check_gltf(path, style)
    if style.texture_format == "jpeg" and see_through(asset):
        raise FormatError(path, "the texture is transparent, which JPEG cannot hold", "choose png or webp")
    built = GltfBuilder({"name": path.stem, "unit": "metre"} | asset.extras)
    binary, pictures = path.suffix.lower() == ".glb", picture_files(asset, style.texture_format)
    material = _material(built, asset, path.stem, pictures, binary)
    _nodes(built, asset, path.stem, style, material)
    buffer = {"byteLength": len(built.blob)} | ({} if binary else {"uri": f"{path.stem}.bin"})
    built.tree["buffers"] = [buffer]
    if binary:
        return write_together(path, packed(built.tree, bytes(built.blob)), {})
    beside = {picture.named(path.stem): picture.data for picture in pictures}
    text = json.dumps(built.tree, indent=1).encode()
    write_together(path, text, beside | {f"{path.stem}.bin": bytes(built.blob)})


def check_gltf(path: Path, style: Style) -> None:
    """FormatError where the engine reads no such glTF, or none can be made."""
    if refused := unreadable(style):
        raise FormatError(path, f"{style.engine} reads no glTF with {' and '.join(refused)}", "leave it out")
    if style.draco and style.quantize:
        raise FormatError(path, "Draco quantizes by itself", "choose one of draco and quantize")
    if style.draco and find_spec("DracoPy") is None:
        raise FormatError(path, "DracoPy is not installed", advice("mesh", "DracoPy"))


def _material(built: GltfBuilder, asset: Asset, name: str, pictures: list[PictureFile], binary: bool) -> int:
    """Base colour from the texture, or from the vertices; rough and not metallic but where a picture says otherwise."""
    texture = {p.slot: {"index": _texture(built, p, name, binary)} for p in pictures}
    surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 1.0}
    material: dict[str, Any] = {"name": name, "pbrMetallicRoughness": surface}
    if "baseColor" in texture:
        surface["baseColorTexture"] = texture["baseColor"]
    if "metallicRoughness" in texture:
        surface |= {"metallicRoughnessTexture": texture["metallicRoughness"], "metallicFactor": 1.0}
    material |= {f"{slot}Texture": texture[slot] for slot in ("normal", "occlusion") if slot in texture}
    if see_through(asset):
        material["alphaMode"] = "BLEND"
    if asset.unlit:
        built.uses("KHR_materials_unlit")
        material["extensions"] = {"KHR_materials_unlit": {}}
    return built.add("materials", material)


def _texture(built: GltfBuilder, picture: PictureFile, name: str, binary: bool) -> int:
    place: dict[str, Any] = {"uri": picture.named(name)}
    if binary:
        place = {"bufferView": built.view(picture.data, {}), "mimeType": picture.mime}
    image = built.add("images", {"name": f"{name}_{picture.slot}"} | place)
    if not built.tree.get("samplers"):
        built.add("samplers", SAMPLER)
    source: dict[str, Any] = {"source": image}
    if picture.coding == "webp":
        built.uses("EXT_texture_webp", required=True)
        source = {"extensions": {"EXT_texture_webp": source}}
    return built.add("textures", {"sampler": 0} | source)


def _nodes(built: GltfBuilder, asset: Asset, stem: str, style: Style, material: int) -> None:
    """The finest level in the scene, the others behind it, solids where the engine looks for them."""
    place = asset.levels[0].world_from_local
    levels = asset.levels[:1] if makes_levels(style.engine) else asset.levels
    lightmaps = asset.lightmap_uv[: len(levels)] or (None,) * len(levels)
    bumpy = asset.normal_map is not None
    parts = [_mesh_rows(mesh, place, uv, bumpy) for mesh, uv in zip(levels, lightmaps, strict=True)]
    lattice = QuantisationGrid.over(parts) if style.quantize else None
    names, nodes = level_names(stem, len(parts)), []
    for name, rows in zip(names, parts, strict=True):
        primitive = built.primitive(rows, lattice, style.draco) | {"material": material}
        mesh = built.add("meshes", {"name": name, "primitives": [primitive]})
        nodes.append(built.add("nodes", {"name": name, "mesh": mesh} | (lattice.placement if lattice else {})))
    finest = built.tree["nodes"][nodes[0]]
    if len(nodes) > 1:
        built.uses("MSFT_lod")
        finest |= {"extensions": {"MSFT_lod": {"ids": nodes[1:]}}, "extras": {"MSFT_screencoverage": _coverage(asset)}}
    solids = []
    for number, solid in enumerate(asset.colliders):
        rows = _mesh_rows(Mesh.of(solid.vertices, solid.faces), place)
        name = collider_name(style.engine, stem, names[0], number)
        mesh = built.add("meshes", {"name": name, "primitives": [built.solid(rows)]})
        solids.append(built.add("nodes", {"name": name, "mesh": mesh}))
    together = colliders_in_scene(style.engine)
    built.add("scenes", {"name": stem, "nodes": [nodes[0], *(solids if together else ())]})
    if solids and not together:
        built.add("scenes", {"name": f"{stem}_colliders", "nodes": solids})


def _coverage(asset: Asset) -> list[float]:
    """Shares of the screen down to which each level is shown: as many triangles a pixel as the finest has on all."""
    counts = torch.tensor([float(mesh.config.faces) for mesh in asset.levels])
    return [round(share, 4) for share in (counts[1:] / counts[0]).tolist()] + [0.0]


def _mesh_rows(
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
