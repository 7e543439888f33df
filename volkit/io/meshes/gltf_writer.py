"""Assets as `.glb`, or as `.gltf` with its buffer and textures beside it, in metres.

All levels share materials and textures; a level has a primitive for each material. Tangents are written where a map of
normals was baked for them; a mesh with normals of its own was read from a file, and readers make MikkTSpace's tangents
for it. Positions far from the origin are moved there, and the nodes move them back: float32 would round them.
"""

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from volkit.extras import advice
from volkit.files.atomic import write_together
from volkit.files.errors import FormatError
from volkit.geometry.triangles import corner_tangents
from volkit.io.meshes.asset import (
    SLOT_NAMES,
    Asset,
    Style,
    TextureFile,
    encode_textures,
    has_transparency,
    material_names,
)
from volkit.io.meshes.engines import (
    colliders_beside,
    colliders_in_scene,
    generates_levels,
    level_names,
    levels_beside,
    moves_levels_with_finest,
    safe_stem,
    screen_coverages,
    unsupported_features,
)
from volkit.io.meshes.gltf_builder import GltfBuilder, MeshRows, QuantisationGrid, pack_glb
from volkit.io.meshes.gltf_colliders import add_colliders, origin_placement
from volkit.io.meshes.parts import far_origin
from volkit.representations.material import Material, Texture
from volkit.representations.mesh import Mesh
from volkit.typing import Float, Int, Tensor

__all__ = ["check_gltf", "write_gltf"]

LINEAR = {"magFilter": 9729, "minFilter": 9987}  # with linear mipmaps
NEAREST = {"magFilter": 9728, "minFilter": 9984}
WRAPS = {"clamp": 33071, "mirror": 33648}


def write_gltf(asset: Asset, path: Path, style: Style) -> None:
    """Write all of an asset, as `.glb` or `.gltf` by the suffix; `engines.py` explains the names."""
    check_gltf(path, style)
    if style.texture_format == "jpeg" and has_transparency(asset):
        raise FormatError(path, "the texture is transparent, which JPEG cannot hold", "choose png or webp")
    builder = GltfBuilder({"name": path.stem, "unit": "metre"} | asset.extras)
    binary, textures = path.suffix.lower() == ".glb", encode_textures(asset, style.texture_format)
    stem = safe_stem(style.engine, path.stem)
    _nodes(builder, asset, stem, style, _materials(builder, asset, stem, textures, binary))
    others = {}
    if asset.colliders and colliders_beside(style.engine):
        others[f"{path.stem}_colliders.glb"] = _pack_colliders(asset, stem, style)
    if levels_beside(style.engine):
        others |= {f"{path.stem}_LOD{number}.glb": _pack_level(asset, number, stem, style)
                   for number in range(1, len(asset.levels))}  # fmt: skip
    buffer = {"byteLength": len(builder.blob)} | ({} if binary else {"uri": f"{path.stem}.bin"})
    builder.tree["buffers"] = [buffer]
    if binary:
        return write_together(path, pack_glb(builder.tree, bytes(builder.blob)), others)
    beside = {texture.file_name(stem): texture.data for texture in textures}
    text = json.dumps(builder.tree, indent=1).encode()
    write_together(path, text, beside | {f"{path.stem}.bin": bytes(builder.blob)} | others)


def check_gltf(path: Path, style: Style) -> None:
    """Raise FormatError where the engine cannot read such a glTF, or it cannot be written."""
    if refused := unsupported_features(style):
        fix = "choose png or jpeg" if "webp" in refused else "leave it out"
        raise FormatError(path, f"{style.engine} cannot read glTF with {' and '.join(refused)}", fix)
    if style.draco and style.quantize:
        raise FormatError(path, "Draco quantizes already", "choose one of draco and quantize")
    if style.draco and find_spec("DracoPy") is None:
        raise FormatError(path, "DracoPy is not installed", advice("mesh", "DracoPy"))


def _material(builder: GltfBuilder, material: Material, name: str, rows: dict[str, int]) -> int:
    """A material; `rows` are textures of the file by slot."""
    surface: dict[str, Any] = {"metallicFactor": material.metallic, "roughnessFactor": material.roughness}
    written: dict[str, Any] = {"name": material.name or name, "pbrMetallicRoughness": surface}
    if material.base_colour != (1.0, 1.0, 1.0, 1.0):
        surface["baseColorFactor"] = list(material.base_colour)
    for slot, texture in material.textures.items():
        place: dict[str, Any] = {"index": rows[slot]} | ({"texCoord": 1} if texture.uv else {})
        if slot == "normal" and material.normal_scale != 1.0:
            place["scale"] = material.normal_scale
        if slot == "occlusion" and material.occlusion_strength != 1.0:
            place["strength"] = material.occlusion_strength
        (surface if slot in ("base_colour", "metallic_roughness") else written)[f"{SLOT_NAMES[slot]}Texture"] = place
    extensions = {}
    if any(material.emission):
        strength = max(1.0, *material.emission)
        written["emissiveFactor"] = [value / strength for value in material.emission]
        if strength > 1.0:
            extensions["KHR_materials_emissive_strength"] = {"emissiveStrength": strength}
    if material.alpha_mode != "opaque":
        written["alphaMode"] = material.alpha_mode.upper()
    if material.alpha_mode == "mask":
        written["alphaCutoff"] = material.alpha_cutoff
    if material.double_sided:
        written["doubleSided"] = True
    if material.unlit:
        extensions["KHR_materials_unlit"] = {}
    for extension in extensions:
        builder.use_extension(extension)
    return builder.add("materials", written | ({"extensions": extensions} if extensions else {}))


def _materials(builder: GltfBuilder, asset: Asset, stem: str, files: list[TextureFile], binary: bool) -> list[int]:
    """All materials with their images, samplers and textures, each once."""
    images = {file.image: _image(builder, file, stem, binary) for file in files}
    formats, made, samplers = {file.image: file.format for file in files}, dict[Any, int](), dict[str, int]()
    numbers = []
    for row, material in enumerate(asset.materials):
        own = {}
        for slot, texture in material.textures.items():
            key = (texture.image, texture.wrap, texture.nearest)
            if key not in made:
                sampler = _sampler(texture)
                number = samplers.setdefault(str(sampler), len(samplers))
                if number == len(builder.tree.get("samplers", ())):
                    builder.add("samplers", sampler)
                source: dict[str, Any] = {"source": images[texture.image]}
                if formats[texture.image] == "webp":
                    builder.use_extension("EXT_texture_webp", required=True)
                    source = {"extensions": {"EXT_texture_webp": source}}
                made[key] = builder.add("textures", {"sampler": number} | source)
            own[slot] = made[key]
        name = stem if len(asset.materials) == 1 else f"{stem}_part{row}"
        numbers.append(_material(builder, material, name, own))
    return numbers


def _image(builder: GltfBuilder, file: TextureFile, stem: str, binary: bool) -> int:
    place: dict[str, Any] = {"uri": file.file_name(stem)}
    if binary:
        place = {"bufferView": builder.add_view(file.data, {}), "mimeType": file.mime}
    return builder.add("images", {"name": f"{stem}_{file.name}"} | place)


def _sampler(texture: Texture) -> dict[str, int]:
    filters = NEAREST if texture.nearest else LINEAR
    wraps = {f"wrap{axis}": WRAPS[wrap] for axis, wrap in zip("ST", texture.wrap, strict=True) if wrap != "repeat"}
    return filters | wraps


def _nodes(builder: GltfBuilder, asset: Asset, stem: str, style: Style, materials: list[int]) -> None:
    """The finest level in the scene, coarser ones attached to it, colliders where the engine looks for them."""
    levels = asset.levels[:1] if generates_levels(style.engine) else asset.levels
    lightmaps = asset.lightmap_uv[: len(levels)] or (None,) * len(levels)
    parts = [_split_materials(mesh, asset.mesh, uv) for mesh, uv in zip(levels, lightmaps, strict=True)]
    flat = [rows for level in parts for _, rows in level]
    grid = QuantisationGrid.over(flat) if style.quantize else None
    placement = grid.placement if grid else origin_placement(asset)
    shared = bool(placement) and len(parts) > 1 and moves_levels_with_finest(style.engine)
    names, nodes = level_names(stem, len(parts)), []
    for name, level in zip(names, parts, strict=True):
        primitives = [builder.add_primitive(rows, grid, style.draco) | {"material": materials[k]} for k, rows in level]
        mesh = builder.add("meshes", {"name": name, "primitives": primitives})
        nodes.append(builder.add("nodes", {"name": name, "mesh": mesh} | ({} if shared else placement)))
    finest = builder.tree["nodes"][nodes[0]]
    if len(nodes) > 1:
        builder.use_extension("MSFT_lod")
        finest |= {
            "extensions": {"MSFT_lod": {"ids": nodes[1:]}},
            "extras": {"MSFT_screencoverage": screen_coverages(style.engine, [m.config.faces for m in levels])},
        }
    root = nodes[0]
    if shared:  # levels would be moved twice: by the finest level's node, and by their own
        root = builder.add("nodes", {"name": stem, "children": [root]} | placement)
    beside, together = colliders_beside(style.engine), colliders_in_scene(style.engine)
    colliders = [] if beside else add_colliders(builder, asset, stem, style)
    builder.add("scenes", {"name": stem, "nodes": [root, *(colliders if together else ())]})
    if colliders and not together:
        builder.add("scenes", {"name": f"{stem}_colliders", "nodes": colliders})


def _pack_colliders(asset: Asset, stem: str, style: Style) -> bytes:
    """The bytes of a `.glb` of the colliders alone."""
    builder = GltfBuilder({"name": f"{stem}_colliders", "unit": "metre"} | asset.extras)
    builder.add("scenes", {"name": f"{stem}_colliders", "nodes": add_colliders(builder, asset, stem, style)})
    builder.tree["buffers"] = [{"byteLength": len(builder.blob)}]
    return pack_glb(builder.tree, bytes(builder.blob))


def _pack_level(asset: Asset, number: int, stem: str, style: Style) -> bytes:
    """The bytes of a `.glb` of one level, its materials by their names alone: the finest brings their textures."""
    builder, level = GltfBuilder({"name": f"{stem}_LOD{number}", "unit": "metre"} | asset.extras), asset.levels[number]
    plain = tuple(Material(m.name, alpha_mode=m.alpha_mode, double_sided=m.double_sided) for m in asset.materials)
    level = level.view(placement=asset.mesh.placement)
    alone = replace(asset, levels=(level,), colliders=(), lightmap_uv=asset.lightmap_uv[number : number + 1])
    names = material_names(asset.materials, stem)
    materials = [_material(builder, material, name, {}) for material, name in zip(plain, names, strict=True)]
    _nodes(builder, alone, f"{stem}_LOD{number}", style, materials)
    builder.tree["buffers"] = [{"byteLength": len(builder.blob)}]
    return pack_glb(builder.tree, bytes(builder.blob))


def _split_materials(
    mesh: Mesh, first: Mesh, lightmap_uv: Float[Tensor, "face 3 2"] | None
) -> list[tuple[int, MeshRows]]:
    """The rows of each material of a level that has faces, in the file's frame, about the origin of the first level."""
    bakes_tangents = not mesh.config.shaded
    tangents, found = None, []
    for number, material in enumerate(mesh.config.materials):
        faces = (mesh.face_material == number).nonzero()[:, 0]
        if not len(faces):
            continue
        if bakes_tangents and material.normal_texture is not None and tangents is None:
            tangents = corner_tangents(mesh.triangles, mesh.corner_uv)
        own = tangents if material.normal_texture is not None else None
        layers = _layers(mesh, material, lightmap_uv, own)
        found.append((number, _split_rows(mesh, faces, layers, first)))
    return found


def _layers(mesh: Mesh, material: Material, lightmap_uv: Tensor | None, tangents: Tensor | None) -> dict[str, Tensor]:
    """What corners of faces of a material have of their own: uv that its textures lie by, and tangents."""
    used = {texture.uv for texture in material.textures.values()}
    layers = {"uv": mesh.corner_uv} if used and mesh.config.uv_sets else {}
    layers |= {"second_uv": mesh.second_uv} if 1 in used else {}
    layers |= {"second_uv": lightmap_uv} if lightmap_uv is not None else {}
    return layers | ({"tangents": tangents} if tangents is not None else {})


def _split_rows(mesh: Mesh, own: Int[Tensor, " face"], layers: dict[str, Tensor], first: Mesh) -> MeshRows:
    """Split vertices whose corners differ in a layer; vertices that no face uses are left out."""
    place, count = first.world_from_local, 3 * len(own)
    flat = {name: layer[own].reshape(count, -1) for name, layer in layers.items()}
    at = mesh.faces[own].view(count)
    corners = torch.cat([at[:, None].double(), *flat.values()], 1).numpy()
    _, picked, faces = np.unique(corners, axis=0, return_index=True, return_inverse=True)
    rows = at.long()[picked]
    corner_data = {name: layer[picked].float().numpy() for name, layer in flat.items()}
    if "tangents" in layers:
        turned = place.vectors(torch.from_numpy(corner_data["tangents"][:, :3]))
        corner_data["tangents"] = np.concatenate([turned.numpy(), corner_data["tangents"][:, 3:]], 1)
    return MeshRows(
        place.points(mesh.vertices[rows].double()).numpy() - far_origin(first),
        place.vectors(mesh.vertex_normals[rows].double()).float().numpy(),
        faces.reshape(-1, 3),
        uv=corner_data.get("uv"),
        second_uv=corner_data.get("second_uv"),
        colours=mesh.colours[rows].numpy() if mesh.config.coloured else None,
        tangents=corner_data.get("tangents"),
    )
