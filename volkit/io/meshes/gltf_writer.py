"""Assets as `.glb`, or as `.gltf` with its buffer and textures beside it, in metres.

All levels share one material and one set of textures. Tangents are written where there is a normal map, which is
undefined without them, and left out otherwise.
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
from volkit.io.meshes.asset import Asset, Style, TextureFile, encode_textures, has_transparency
from volkit.io.meshes.engines import (
    collider_name,
    colliders_beside,
    colliders_in_scene,
    generates_levels,
    level_names,
    moves_levels_with_finest,
    safe_stem,
    screen_coverages,
    unsupported_features,
)
from volkit.io.meshes.gltf_builder import GltfBuilder, MeshRows, QuantisationGrid, pack_glb
from volkit.representations.mesh import Mesh
from volkit.typing import Float, Tensor

__all__ = ["check_gltf", "write_gltf"]

SAMPLER = {"magFilter": 9729, "minFilter": 9987}  # linear, with linear mipmaps


def write_gltf(asset: Asset, path: Path, style: Style) -> None:
    """Write all of an asset, as `.glb` or `.gltf` by the suffix; `engines.py` explains the names."""
    check_gltf(path, style)
    if style.texture_format == "jpeg" and has_transparency(asset):
        raise FormatError(path, "the texture is transparent, which JPEG cannot hold", "choose png or webp")
    builder = GltfBuilder({"name": path.stem, "unit": "metre"} | asset.extras)
    binary, textures = path.suffix.lower() == ".glb", encode_textures(asset, style.texture_format)
    stem = safe_stem(style.engine, path.stem)
    material = _material(builder, asset, stem, textures, binary)
    _nodes(builder, asset, stem, style, material)
    solids = {}
    if asset.colliders and colliders_beside(style.engine):
        solids[f"{path.stem}_colliders.glb"] = _pack_colliders(asset, stem, style)
    buffer = {"byteLength": len(builder.blob)} | ({} if binary else {"uri": f"{path.stem}.bin"})
    builder.tree["buffers"] = [buffer]
    if binary:
        return write_together(path, pack_glb(builder.tree, bytes(builder.blob)), solids)
    beside = {texture.file_name(stem): texture.data for texture in textures}
    text = json.dumps(builder.tree, indent=1).encode()
    write_together(path, text, beside | {f"{path.stem}.bin": bytes(builder.blob)} | solids)


def check_gltf(path: Path, style: Style) -> None:
    """Raise FormatError where the engine cannot read such a glTF, or it cannot be written."""
    if refused := unsupported_features(style):
        fix = "choose png or jpeg" if "webp" in refused else "leave it out"
        raise FormatError(path, f"{style.engine} cannot read glTF with {' and '.join(refused)}", fix)
    if style.draco and style.quantize:
        raise FormatError(path, "Draco quantizes already", "choose one of draco and quantize")
    if style.draco and find_spec("DracoPy") is None:
        raise FormatError(path, "DracoPy is not installed", advice("mesh", "DracoPy"))


def _material(builder: GltfBuilder, asset: Asset, name: str, textures: list[TextureFile], binary: bool) -> int:
    """Base colour from the texture, else from the vertices; rough and not metallic unless a texture says otherwise."""
    texture = {p.slot: {"index": _texture(builder, p, name, binary)} for p in textures}
    surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 1.0}
    material: dict[str, Any] = {"name": name, "pbrMetallicRoughness": surface}
    if "baseColor" in texture:
        surface["baseColorTexture"] = texture["baseColor"]
    if "metallicRoughness" in texture:
        surface |= {"metallicRoughnessTexture": texture["metallicRoughness"], "metallicFactor": 1.0}
    material |= {f"{slot}Texture": texture[slot] for slot in ("normal", "occlusion") if slot in texture}
    if has_transparency(asset):
        material["alphaMode"] = "BLEND"
    if asset.unlit:
        builder.use_extension("KHR_materials_unlit")
        material["extensions"] = {"KHR_materials_unlit": {}}
    return builder.add("materials", material)


def _texture(builder: GltfBuilder, texture: TextureFile, name: str, binary: bool) -> int:
    place: dict[str, Any] = {"uri": texture.file_name(name)}
    if binary:
        place = {"bufferView": builder.add_view(texture.data, {}), "mimeType": texture.mime}
    image = builder.add("images", {"name": f"{name}_{texture.slot}"} | place)
    if not builder.tree.get("samplers"):
        builder.add("samplers", SAMPLER)
    source: dict[str, Any] = {"source": image}
    if texture.format == "webp":
        builder.use_extension("EXT_texture_webp", required=True)
        source = {"extensions": {"EXT_texture_webp": source}}
    return builder.add("textures", {"sampler": 0} | source)


def _nodes(builder: GltfBuilder, asset: Asset, stem: str, style: Style, material: int) -> None:
    """The finest level in the scene, coarser ones attached to it, colliders where the engine looks for them."""
    place = asset.levels[0].world_from_local
    levels = asset.levels[:1] if generates_levels(style.engine) else asset.levels
    lightmaps = asset.lightmap_uv[: len(levels)] or (None,) * len(levels)
    has_normal_map = asset.normal_map is not None
    parts = [_split_rows(mesh, place, uv, has_normal_map) for mesh, uv in zip(levels, lightmaps, strict=True)]
    grid = QuantisationGrid.over(parts) if style.quantize else None
    shared = grid if len(parts) > 1 and moves_levels_with_finest(style.engine) else None
    names, nodes = level_names(stem, len(parts)), []
    for name, rows in zip(names, parts, strict=True):
        primitive = builder.add_primitive(rows, grid, style.draco) | {"material": material}
        mesh = builder.add("meshes", {"name": name, "primitives": [primitive]})
        own = grid.placement if grid and not shared else {}
        nodes.append(builder.add("nodes", {"name": name, "mesh": mesh} | own))
    finest = builder.tree["nodes"][nodes[0]]
    if len(nodes) > 1:
        builder.use_extension("MSFT_lod")
        finest |= {
            "extensions": {"MSFT_lod": {"ids": nodes[1:]}},
            "extras": {"MSFT_screencoverage": screen_coverages(style.engine, [m.config.faces for m in levels])},
        }
    root = nodes[0]
    if shared is not None:  # levels would be moved twice: by the finest level's node, and by their own
        root = builder.add("nodes", {"name": stem, "children": [root]} | shared.placement)
    beside, together = colliders_beside(style.engine), colliders_in_scene(style.engine)
    colliders = [] if beside else _add_colliders(builder, asset, stem, style)
    builder.add("scenes", {"name": stem, "nodes": [root, *(colliders if together else ())]})
    if colliders and not together:
        builder.add("scenes", {"name": f"{stem}_colliders", "nodes": colliders})


def _add_colliders(builder: GltfBuilder, asset: Asset, stem: str, style: Style) -> list[int]:
    """A node for each collider, in no scene yet."""
    place, (finest, *_) = asset.levels[0].world_from_local, level_names(stem, len(asset.levels))
    nodes = []
    for number, collider in enumerate(asset.colliders):
        rows = _split_rows(Mesh.of(collider.vertices, collider.faces), place)
        name = collider_name(style.engine, stem, finest, number)
        mesh = builder.add("meshes", {"name": name, "primitives": [builder.add_collider(rows)]})
        nodes.append(builder.add("nodes", {"name": name, "mesh": mesh}))
    return nodes


def _pack_colliders(asset: Asset, stem: str, style: Style) -> bytes:
    """The bytes of a `.glb` of the colliders alone."""
    builder = GltfBuilder({"name": f"{stem}_colliders", "unit": "metre"} | asset.extras)
    builder.add("scenes", {"name": f"{stem}_colliders", "nodes": _add_colliders(builder, asset, stem, style)})
    builder.tree["buffers"] = [{"byteLength": len(builder.blob)}]
    return pack_glb(builder.tree, bytes(builder.blob))


def _split_rows(
    mesh: Mesh,
    file_from_local: Similarity,
    lightmap_uv: Float[Tensor, "face 3 2"] | None = None,
    tangents: bool = False,
) -> MeshRows:
    """Split vertices whose corners differ in uv or tangent; vertices that no face uses are left out."""
    textured, count = mesh.config.texture[0] > 0, 3 * len(mesh.faces)
    layers = {"uv": mesh.corner_uv} if textured else {}
    layers |= {"lightmap_uv": lightmap_uv} if lightmap_uv is not None else {}
    layers |= {"tangents": corner_tangents(mesh.triangles, mesh.corner_uv)} if tangents else {}
    flat = {name: layer.reshape(count, -1) for name, layer in layers.items()}
    corners = torch.cat([mesh.faces.view(count, 1).double(), *flat.values()], 1).numpy()
    _, first, faces = np.unique(corners, axis=0, return_index=True, return_inverse=True)
    rows = mesh.faces.view(count).long()[first]
    corner_data = {name: layer[first].float().numpy() for name, layer in flat.items()}
    if tangents:
        turned = file_from_local.vectors(torch.from_numpy(corner_data["tangents"][:, :3]))
        corner_data["tangents"] = np.concatenate([turned.numpy(), corner_data["tangents"][:, 3:]], 1)
    return MeshRows(
        file_from_local.points(mesh.vertices.double())[rows].float().numpy(),
        file_from_local.vectors(mesh.triangles.normals.double())[rows].float().numpy(),
        faces.reshape(-1, 3),
        uv=corner_data.get("uv"),
        lightmap_uv=corner_data.get("lightmap_uv"),
        colours=None if textured else mesh.colours[rows].numpy(),
        tangents=corner_data.get("tangents"),
    )
