"""Assets as `.glb`, or as `.gltf` with its buffer and textures beside it, in metres.

All levels share one material and one set of textures. Tangents are written where there is a normal map, which is
undefined without them, and left out otherwise.
"""

import json
import struct
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from volkit.extras import advice
from volkit.files.atomic import write_together
from volkit.files.errors import FormatError
from volkit.geometry import Similarity
from volkit.geometry.colour import array_linear_from_srgb
from volkit.geometry.triangles import corner_tangents
from volkit.io.meshes.asset import Asset, Style, TextureFile, encode_textures, has_transparency
from volkit.io.meshes.engines import (
    collider_name,
    colliders_in_scene,
    generates_levels,
    level_names,
    unsupported_options,
)
from volkit.io.meshes.gltf_reader import BINARY_CHUNK, JSON_CHUNK, MAGIC
from volkit.representations.mesh import Mesh
from volkit.typing import Float, Tensor
from volkit.version import __version__

__all__ = ["GltfBuilder", "MeshRows", "QuantisationGrid", "check_gltf", "pack_glb", "rows_from_mesh", "write_gltf"]


ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963  # targets of buffer views
COMPONENT_TYPES = {"int8": 5120, "uint16": 5123, "uint32": 5125, "float32": 5126}
ACCESSOR_TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
MAX_UINT16_ROWS = 65535  # rows; graphics APIs reserve the index 65535
# 14 bits of uv are four steps for each texel of a 4096-wide atlas; 11 bits of normals are 0.1 degrees.
POSITION_BITS, UV_BITS, NORMAL_BITS, DRACO_EFFORT = 14, 14, 11, 7
# Attributes that Draco has no type for, by ids of our choice.
DRACO_GENERIC_ATTRIBUTES = {10: "COLOR_0", 11: "TEXCOORD_1", 12: "TANGENT"}

Attributes = dict[str, tuple[np.ndarray, bool]]  # by glTF's name: values, and whether they are normalized integers

SAMPLER = {"magFilter": 9729, "minFilter": 9987}  # linear, with linear mipmaps


@dataclass(frozen=True)
class MeshRows:
    """Vertex arrays and faces of one mesh in the file's frame; the last four are None where the mesh has none."""

    positions: np.ndarray  # [row, 3], float32
    normals: np.ndarray  # [row, 3], float32, unit
    faces: np.ndarray  # [face, 3], int64
    uv: np.ndarray | None = None  # [row, 2], float32, v runs down
    lightmap_uv: np.ndarray | None = None  # [row, 2]
    colours: np.ndarray | None = None  # [row, 4], uint8, display-referred
    tangents: np.ndarray | None = None  # [row, 4], float32: unit tangent, and the sign of the bitangent


def rows_from_mesh(
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


@dataclass(frozen=True)
class QuantisationGrid:
    """Positions as integers (KHR_mesh_quantization): `position = low + step * integer`."""

    low: np.ndarray
    step: float

    @classmethod
    def over(cls, parts: list[MeshRows]) -> Self:
        """16 bits along the longest side of the box around all parts."""
        low = np.min([part.positions.min(0) for part in parts], 0).astype(np.float64)
        high = np.max([part.positions.max(0) for part in parts], 0).astype(np.float64)
        return cls(low, max(float((high - low).max()), 1e-12) / 65535)

    @property
    def placement(self) -> dict[str, Any]:
        """The node transform that undoes the quantisation."""
        return {"translation": self.low.tolist(), "scale": [self.step] * 3}


class GltfBuilder:
    """A glTF under construction: the JSON `tree`, and the buffer `blob`."""

    def __init__(self, extras: dict[str, Any]) -> None:
        self.tree: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": f"volkit {__version__}", "extras": extras},
            "scene": 0,
        }
        self.blob = bytearray()

    def add(self, kind: str, item: dict[str, Any]) -> int:
        """Append an item to one of the tree's lists and return its index."""
        self.tree.setdefault(kind, []).append(item)
        return len(self.tree[kind]) - 1

    def use_extension(self, extension: str, required: bool = False) -> None:
        """List an extension; readers that do not know a required one refuse the file."""
        for kind in ("extensionsUsed", "extensionsRequired")[: 1 + required]:
            if extension not in self.tree.setdefault(kind, []):
                self.tree[kind].append(extension)

    def add_view(self, data: bytes, what: dict[str, int]) -> int:
        """Append bytes to the buffer, aligned to 4, and return the index of their view."""
        self.blob += bytes(-len(self.blob) % 4)
        number = self.add("bufferViews", {"buffer": 0, "byteOffset": len(self.blob), "byteLength": len(data)} | what)
        self.blob += data
        return number

    def add_primitive(self, rows: MeshRows, grid: QuantisationGrid | None, draco: bool) -> dict[str, Any]:
        """Add triangles with all their attributes; the primitive, for a mesh."""
        attributes = _attributes(rows, grid)
        if grid is not None:
            self.use_extension("KHR_mesh_quantization", required=True)
        if draco:
            return self._draco(attributes, rows.faces)
        accessors = {name: self._add_attribute(name, *coded) for name, coded in attributes.items()}
        return {"attributes": accessors, "indices": self._add_indices(rows)}

    def add_collider(self, rows: MeshRows) -> dict[str, Any]:
        """Add the triangles of a collider, which has positions only; the primitive, for a mesh."""
        position = self._add_attribute("POSITION", rows.positions, False)
        return {"attributes": {"POSITION": position}, "indices": self._add_indices(rows)}

    def _add_indices(self, rows: MeshRows) -> int:
        kind = np.uint16 if len(rows.positions) <= MAX_UINT16_ROWS else np.uint32
        return self._add_array(rows.faces.astype(kind).reshape(-1, 1), {"target": ELEMENT_ARRAY_BUFFER}, {})

    def _add_attribute(self, name: str, values: np.ndarray, shares: bool) -> int:
        about = _bounds(values) if name == "POSITION" else {}
        if shares:
            about["normalized"] = True
        width = values.shape[1] * values.itemsize
        if width % 4:  # rows are aligned to 4 bytes
            padded = np.zeros((len(values), -(-width // 4) * 4 // values.itemsize), values.dtype)
            padded[:, : values.shape[1]] = values
            view = self.add_view(
                padded.tobytes(), {"target": ARRAY_BUFFER, "byteStride": padded.shape[1] * values.itemsize}
            )
            return self._add_accessor(values, about | {"bufferView": view})
        return self._add_array(values, {"target": ARRAY_BUFFER}, about)

    def _add_array(self, values: np.ndarray, what: dict[str, int], about: dict[str, Any]) -> int:
        return self._add_accessor(values, about | {"bufferView": self.add_view(values.tobytes(), what)})

    def _add_accessor(self, values: np.ndarray, about: dict[str, Any]) -> int:
        kind, shape = COMPONENT_TYPES[values.dtype.name], ACCESSOR_TYPES[values.shape[1]]
        return self.add("accessors", {"componentType": kind, "count": len(values), "type": shape} | about)

    def _draco(self, attributes: Attributes, faces: np.ndarray) -> dict[str, Any]:
        """KHR_draco_mesh_compression: accessors without data, with the counts of the decoded mesh."""
        import DracoPy

        self.use_extension("KHR_draco_mesh_compression", required=True)
        # Floats throughout: DracoPy 2.2 returns 16-bit integers as 32-bit ones.
        values = {n: (a / 65535.0 if shares else a).astype(np.float32) for n, (a, shares) in attributes.items()}
        others = {number: values[name] for number, name in DRACO_GENERIC_ATTRIBUTES.items() if name in values}
        types = DracoPy.AttributeType
        known = {types.POSITION: "POSITION", types.NORMAL: "NORMAL", types.TEX_COORD: "TEXCOORD_0"}
        uv = values.get("TEXCOORD_0")
        data = DracoPy.encode(
            values["POSITION"],
            faces.astype(np.uint32),
            POSITION_BITS,
            DRACO_EFFORT,
            normals=values["NORMAL"].astype(np.float64),
            tex_coord=None if uv is None else uv.astype(np.float64),
            generic_attributes=others or None,
            tex_coord_quantization_bits=UV_BITS,
            normal_quantization_bits=NORMAL_BITS,
        )
        decoded = DracoPy.decode(data)
        ids = {
            known.get(a["attribute_type"]) or DRACO_GENERIC_ATTRIBUTES[a["unique_id"]]: a for a in decoded.attributes
        }
        accessors = {}
        for name, attribute in ids.items():
            about = _bounds(attribute["data"]) if name == "POSITION" else {}
            accessors[name] = self._add_accessor(attribute["data"], about)
        indices = np.asarray(decoded.faces, np.uint32).reshape(-1, 1)
        extension = {"bufferView": self.add_view(data, {}), "attributes": {n: a["unique_id"] for n, a in ids.items()}}
        return {
            "attributes": accessors,
            "indices": self._add_accessor(indices, {}),
            "extensions": {"KHR_draco_mesh_compression": extension},
        }


def _attributes(rows: MeshRows, grid: QuantisationGrid | None) -> Attributes:
    coded: Attributes = {"POSITION": (rows.positions, False)}
    if grid is not None:
        numbers = ((rows.positions - grid.low) / grid.step).round().clip(0, 65535)
        coded["POSITION"] = (numbers.astype(np.uint16), False)
    for name, units in (("NORMAL", rows.normals), ("TANGENT", rows.tangents)):
        if units is not None:
            coded[name] = (units, False) if grid is None else ((127 * units).round().astype(np.int8), True)
    for name, uv in (("TEXCOORD_0", rows.uv), ("TEXCOORD_1", rows.lightmap_uv)):
        if uv is not None:
            short = grid is not None and float(uv.min()) >= 0.0 and float(uv.max()) <= 1.0
            coded[name] = ((65535 * uv).round().astype(np.uint16), True) if short else (uv, False)
    if rows.colours is not None:
        light = rows.colours / 255.0
        light[:, :3] = array_linear_from_srgb(light[:, :3])  # linear colours: 8 bits would band in the dark
        coded["COLOR_0"] = ((65535 * light).round().astype(np.uint16), True)
    return coded


def _bounds(values: np.ndarray) -> dict[str, Any]:
    return {"min": values.min(0).tolist(), "max": values.max(0).tolist()}


def pack_glb(tree: dict[str, Any], blob: bytes) -> bytes:
    """The bytes of a `.glb`: header, JSON padded by spaces, buffer padded by zeros (glTF 2.0, section 4.4)."""
    text = json.dumps(tree, separators=(",", ":")).encode()
    chunks = [(JSON_CHUNK, text + b" " * (-len(text) % 4)), (BINARY_CHUNK, blob + bytes(-len(blob) % 4))]
    body = b"".join(struct.pack("<II", len(data), kind) + data for kind, data in chunks)
    return struct.pack("<III", MAGIC, 2, 12 + len(body)) + body


def write_gltf(asset: Asset, path: Path, style: Style) -> None:
    """Write all of an asset, as `.glb` or `.gltf` by the suffix; `engines.py` explains the names."""
    check_gltf(path, style)
    if style.texture_format == "jpeg" and has_transparency(asset):
        raise FormatError(path, "the texture is transparent, which JPEG cannot hold", "choose png or webp")
    builder = GltfBuilder({"name": path.stem, "unit": "metre"} | asset.extras)
    binary, textures = path.suffix.lower() == ".glb", encode_textures(asset, style.texture_format)
    material = _material(builder, asset, path.stem, textures, binary)
    _nodes(builder, asset, path.stem, style, material)
    buffer = {"byteLength": len(builder.blob)} | ({} if binary else {"uri": f"{path.stem}.bin"})
    builder.tree["buffers"] = [buffer]
    if binary:
        return write_together(path, pack_glb(builder.tree, bytes(builder.blob)), {})
    beside = {texture.file_name(path.stem): texture.data for texture in textures}
    text = json.dumps(builder.tree, indent=1).encode()
    write_together(path, text, beside | {f"{path.stem}.bin": bytes(builder.blob)})


def check_gltf(path: Path, style: Style) -> None:
    """Raise FormatError where the engine cannot read such a glTF, or it cannot be written."""
    if refused := unsupported_options(style):
        raise FormatError(path, f"{style.engine} cannot read glTF with {' and '.join(refused)}", "leave it out")
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
    parts = [rows_from_mesh(mesh, place, uv, has_normal_map) for mesh, uv in zip(levels, lightmaps, strict=True)]
    grid = QuantisationGrid.over(parts) if style.quantize else None
    names, nodes = level_names(stem, len(parts)), []
    for name, rows in zip(names, parts, strict=True):
        primitive = builder.add_primitive(rows, grid, style.draco) | {"material": material}
        mesh = builder.add("meshes", {"name": name, "primitives": [primitive]})
        nodes.append(builder.add("nodes", {"name": name, "mesh": mesh} | (grid.placement if grid else {})))
    finest = builder.tree["nodes"][nodes[0]]
    if len(nodes) > 1:
        builder.use_extension("MSFT_lod")
        finest |= {
            "extensions": {"MSFT_lod": {"ids": nodes[1:]}},
            "extras": {"MSFT_screencoverage": _screen_coverage(asset)},
        }
    colliders = []
    for number, collider in enumerate(asset.colliders):
        rows = rows_from_mesh(Mesh.of(collider.vertices, collider.faces), place)
        name = collider_name(style.engine, stem, names[0], number)
        mesh = builder.add("meshes", {"name": name, "primitives": [builder.add_collider(rows)]})
        colliders.append(builder.add("nodes", {"name": name, "mesh": mesh}))
    together = colliders_in_scene(style.engine)
    builder.add("scenes", {"name": stem, "nodes": [nodes[0], *(colliders if together else ())]})
    if colliders and not together:
        builder.add("scenes", {"name": f"{stem}_colliders", "nodes": colliders})


def _screen_coverage(asset: Asset) -> list[float]:
    """Share of the screen below which each level gives way: equal triangles per pixel, full screen for the finest."""
    counts = torch.tensor([float(mesh.config.faces) for mesh in asset.levels])
    return [round(share, 4) for share in (counts[1:] / counts[0]).tolist()] + [0.0]
