"""glTF files, read as they are drawn: the scene's triangles in place, without colliders and coarser levels.

Read: `.glb` and `.gltf`, data URIs, strips and fans, normalized integers (KHR_mesh_quantization), Draco, WebP, texture
transforms (KHR_texture_transform), second uv sets, factors, linear vertex colours, metallic-roughness. Lost: lights,
animation, sparse accessors.
"""

import base64
import binascii
import json
import struct
from collections.abc import Iterator
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from volkit.extras import advice
from volkit.files.errors import FormatError, read_start
from volkit.geometry.colour import array_linear_from_srgb, array_srgb_from_linear
from volkit.io.meshes.engines import hidden_names

__all__ = ["GltfReader", "gltf_json_head", "parse_gltf", "read_gltf_parts", "read_uri", "sniff_gltf"]


HEAD_BYTES = 1 << 20
MAGIC, JSON_CHUNK, BINARY_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942

COMPONENT_TYPES = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
ACCESSOR_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
DRACO = "KHR_draco_mesh_compression"
READ_EXTENSIONS = ("KHR_mesh_quantization", "KHR_texture_transform", "EXT_texture_webp", DRACO, "MSFT_lod")
MAX_NODE_DEPTH = 64  # nested nodes; a cycle of nodes would never end


def parse_gltf(path: Path) -> tuple[dict[str, Any], list[bytes]]:
    """The JSON tree and the buffers of a `.glb` or `.gltf`; ValueError or KeyError where it is damaged."""
    data = path.read_bytes()
    text, blob = _chunks(data) if data[:4] == b"glTF" else (data, b"")
    tree = json.loads(text)
    if not isinstance(tree, dict) or not str(tree["asset"]["version"]).startswith("2."):
        raise ValueError("it is not glTF 2")
    return tree, [read_uri(path, buffer["uri"]) if "uri" in buffer else blob for buffer in tree.get("buffers", ())]


def gltf_json_head(path: Path) -> bytes:
    """The first megabyte of the JSON of a `.glb` or `.gltf`; empty where the file is not glTF."""
    head = read_start(path, HEAD_BYTES)
    if head[:4] == b"glTF":
        return head[20 : 20 + int.from_bytes(head[12:16], "little")]
    return head if head.lstrip()[:1] == b"{" and b'"asset"' in head and b'"version"' in head else b""


def sniff_gltf(path: Path) -> bool:
    """Whether the file is glTF without splats."""
    head = gltf_json_head(path)
    return bool(head) and b'"KHR_gaussian_splatting"' not in head


def read_uri(path: Path, uri: str) -> bytes:
    """The bytes that a URI in the glTF at `path` names: data in the URI itself, or a file beside it."""
    if uri.startswith("data:"):
        try:
            return base64.b64decode(uri.partition(",")[2], validate=True)
        except binascii.Error as error:
            raise ValueError("data in a URI is damaged") from error
    beside = path.parent / unquote(uri)
    if not beside.is_file():
        raise FormatError(path, f"names {uri}, which is not there", "keep the files of a glTF together")
    return beside.read_bytes()


def _chunks(data: bytes) -> tuple[bytes, bytes]:
    _, version, length = struct.unpack_from("<III", data)
    if version != 2 or length > len(data):
        raise ValueError(f"version {version}, {length} bytes announced and {len(data)} present")
    found, at = {}, 12
    while at + 8 <= length:
        size, kind = struct.unpack_from("<II", data, at)
        found.setdefault(kind, data[at + 8 : at + 8 + size])  # further chunks of a type are ignored
        at += 8 + size
    return found.get(JSON_CHUNK, b""), found.get(BINARY_CHUNK, b"")


def read_gltf_parts(path: Path) -> list[Any]:
    """A `trimesh.Trimesh` for each primitive that is drawn, in the file's frame."""
    tree, buffers = parse_gltf(path)
    for needed in tree.get("extensionsRequired", ()):
        if needed not in READ_EXTENSIONS and not needed.startswith("KHR_materials_"):
            raise FormatError(path, f"needs {needed}, which is not read here", "export it without")
    if DRACO in tree.get("extensionsRequired", ()) and find_spec("DracoPy") is None:
        raise FormatError(path, "is compressed by Draco, and DracoPy is not installed", advice("mesh", "DracoPy"))
    return GltfReader(path, tree, buffers).parts()


class GltfReader:
    """Access to the tree and its buffers; ValueError, KeyError or the like where they are damaged."""

    def __init__(self, path: Path, tree: dict[str, Any], buffers: list[bytes]) -> None:
        self.path, self.tree, self.buffers = path, tree, buffers

    def parts(self) -> list[Any]:
        tree = self.tree
        scene = tree["scenes"][tree.get("scene", 0)] if tree.get("scenes") else {"nodes": range(len(tree["nodes"]))}
        roots = scene.get("nodes", ())
        placed = [node for root in roots for node in self.mesh_nodes(root, np.eye(4), MAX_NODE_DEPTH)]
        nodes = [(tree["nodes"][number], to_file) for number, to_file in placed]
        hidden = hidden_names([node.get("name", "") for node, _ in nodes])
        shown = [(node, to_file) for node, to_file in nodes if node.get("name", "") not in hidden]
        return [
            self._part(primitive, to_file)
            for node, to_file in shown
            for primitive in tree["meshes"][node["mesh"]]["primitives"]
            if primitive.get("mode", 4) in (4, 5, 6)
        ]

    def mesh_nodes(self, number: int, to_file: np.ndarray, depth: int) -> Iterator[tuple[int, np.ndarray]]:
        """Indices of the nodes with meshes below a node, and their transforms [4, 4]."""
        if not depth:
            raise ValueError(f"nodes are nested more than {MAX_NODE_DEPTH} deep")
        node = self.tree["nodes"][number]
        to_file = to_file @ _node_matrix(node)
        if "mesh" in node:
            yield number, to_file
        for child in node.get("children", ()):
            yield from self.mesh_nodes(child, to_file, depth - 1)

    def _part(self, primitive: dict[str, Any], to_file: np.ndarray) -> Any:
        import trimesh
        from PIL import Image
        from trimesh.visual import TextureVisuals
        from trimesh.visual.material import PBRMaterial

        arrays = self.arrays(primitive)
        corners = arrays["POSITION"] @ to_file[:3, :3].T + to_file[:3, 3]
        faces = _triangles(arrays.get("indices", np.arange(len(corners))).reshape(-1), primitive.get("mode", 4))
        if np.linalg.det(to_file[:3, :3]) < 0:  # a mirror image turns faces inside out
            faces = faces[:, ::-1]
        material = self.tree["materials"][primitive["material"]] if "material" in primitive else {}
        specular_glossiness = material.get("extensions", {}).get("KHR_materials_pbrSpecularGlossiness", {})
        surface = material.get("pbrMetallicRoughness", {})
        factor = np.array(surface.get("baseColorFactor") or specular_glossiness.get("diffuseFactor") or [1.0] * 4)
        slot = surface.get("baseColorTexture") or specular_glossiness.get("diffuseTexture")
        metallic_roughness = self._metallic_roughness(surface)
        image = self._image(slot["index"], factor) if slot else None
        # A material of one colour becomes a texture of one texel.
        if slot is None and metallic_roughness is not None and "COLOR_0" not in arrays:
            slot, image = surface.get("metallicRoughnessTexture", {}), Image.fromarray(_srgb_bytes(factor[None, None]))
        channel = _texture_transform(slot).get("texCoord", slot.get("texCoord", 0)) if slot else None
        uv = arrays.get(f"TEXCOORD_{channel}")
        if uv is None and slot == {}:
            uv = np.zeros((len(corners), 2))
        if slot is not None and uv is not None:
            uv = _transform_uv(uv, _texture_transform(slot)) * [1, -1] + [0, 1]  # trimesh's v runs up
            material = PBRMaterial(baseColorTexture=image, metallicRoughnessTexture=metallic_roughness)
            return trimesh.Trimesh(corners, faces, visual=TextureVisuals(uv=uv, material=material), process=False)
        light = np.concatenate([arrays.get("COLOR_0", np.ones((len(corners), 4))), np.ones((len(corners), 1))], 1)
        return trimesh.Trimesh(corners, faces, vertex_colors=_srgb_bytes(light[:, :4] * factor), process=False)

    def arrays(self, primitive: dict[str, Any]) -> dict[str, np.ndarray]:
        """Attributes by name as float64, and `indices` as int64."""
        numbers = dict(primitive["attributes"])
        if "indices" in primitive:
            numbers["indices"] = primitive["indices"]
        draco = primitive.get("extensions", {}).get(DRACO)
        raw = self._decode_draco(draco) if draco else {}
        found = {}
        for name, number in numbers.items():
            accessor = self.tree["accessors"][number]
            values = raw[name] if name in raw else self._values(accessor)
            if accessor.get("normalized"):
                values = np.maximum(values / np.iinfo(COMPONENT_TYPES[accessor["componentType"]]).max, -1.0)
            if name == "indices" and values.dtype.kind == "f":
                raise ValueError("indices are not whole numbers")
            found[name] = values.astype(np.int64 if name == "indices" else np.float64)
        return found

    def _decode_draco(self, draco: dict[str, Any]) -> dict[str, np.ndarray]:
        import DracoPy

        try:
            mesh = DracoPy.decode(self._view(draco["bufferView"]))
        except Exception as error:  # DracoPy's errors have no common class
            raise ValueError(f"Draco: {error}") from error
        names = {number: name for name, number in draco["attributes"].items()}
        known = [a for a in mesh.attributes if a["unique_id"] in names]
        return {names[a["unique_id"]]: a["data"] for a in known} | {"indices": np.asarray(mesh.faces)}

    def _values(self, accessor: dict[str, Any]) -> np.ndarray:
        kind, width = np.dtype(COMPONENT_TYPES[accessor["componentType"]]), ACCESSOR_WIDTHS[accessor["type"]]
        count, row = accessor["count"], kind.itemsize * width
        if "bufferView" not in accessor:
            raise ValueError("an accessor has no data")
        view = self.tree["bufferViews"][accessor["bufferView"]]
        data = self._view(accessor["bufferView"])[accessor.get("byteOffset", 0) :]
        stride = view.get("byteStride", row)
        if stride < row or count < 1 or (count - 1) * stride + row > len(data):
            raise ValueError(f"an accessor of {count} rows lies outside its buffer")
        return np.ndarray((count, width), kind, data, strides=(stride, kind.itemsize))

    def _view(self, number: int) -> bytes:
        view = self.tree["bufferViews"][number]
        start = view.get("byteOffset", 0)
        return self.buffers[view["buffer"]][start : start + view["byteLength"]]

    def _image(self, number: int, factor: np.ndarray) -> Any:
        """The image of a texture, times a factor in linear light."""
        from PIL import Image

        picture = self._picture(number)
        if (factor >= 1.0).all():
            return picture
        light = np.asarray(picture) / 255.0
        light[..., :3] = array_linear_from_srgb(light[..., :3])
        return Image.fromarray(_srgb_bytes(light * factor))

    def _metallic_roughness(self, surface: dict[str, Any]) -> Any:
        """Roughness in green and metalness in blue, by the uv of the base colour; None without both."""
        from PIL import Image

        if not surface:
            return None
        factor = np.array([1.0, surface.get("roughnessFactor", 1.0), surface.get("metallicFactor", 1.0)])
        slot = surface.get("metallicRoughnessTexture")
        picture = np.full((1, 1, 3), 255.0) if slot is None else np.asarray(self._picture(slot["index"]))[..., :3]
        return Image.fromarray((picture * factor).round().astype(np.uint8))

    def _picture(self, number: int) -> Any:
        from PIL import Image, UnidentifiedImageError

        texture = self.tree["textures"][number]
        webp = texture.get("extensions", {}).get("EXT_texture_webp", {})
        image = self.tree["images"][webp.get("source", texture.get("source"))]
        data = self._view(image["bufferView"]) if "bufferView" in image else read_uri(self.path, image["uri"])
        try:
            return Image.open(BytesIO(data)).convert("RGBA")
        except (UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise ValueError(f"picture {number} cannot be read: {error}") from error


def _srgb_bytes(light: np.ndarray) -> np.ndarray:
    """Linear colours and alpha as sRGB bytes."""
    coded = np.concatenate([array_srgb_from_linear(light[..., :3]), light[..., 3:].clip(0.0, 1.0)], -1)
    return (255.0 * coded).round().astype(np.uint8)


def _triangles(indices: np.ndarray, mode: int) -> np.ndarray:
    """Triangles [n, 3] of a list (mode 4), a strip (5; every second one flipped) or a fan (6)."""
    if mode == 4:
        return indices.reshape(-1, 3)
    steps = np.arange(len(indices) - 2)
    if mode == 6:
        return indices[np.stack([0 * steps, steps + 1, steps + 2], 1)]
    return indices[np.stack([steps, steps + 1 + steps % 2, steps + 2 - steps % 2], 1)]


def _texture_transform(slot: dict[str, Any]) -> dict[str, Any]:
    return slot.get("extensions", {}).get("KHR_texture_transform", {})


def _transform_uv(uv: np.ndarray, transform: dict[str, Any]) -> np.ndarray:
    """Apply KHR_texture_transform: scale, then rotate, then offset."""
    angle = transform.get("rotation", 0.0)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return uv * transform.get("scale", (1.0, 1.0)) @ turn.T + transform.get("offset", (0.0, 0.0))


def _node_matrix(node: dict[str, Any]) -> np.ndarray:
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    x, y, z, w = node.get("rotation", (0.0, 0.0, 0.0, 1.0))
    found = np.eye(4)
    found[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    found[:3, :3] *= node.get("scale", (1.0, 1.0, 1.0))
    found[:3, 3] = node.get("translation", (0.0, 0.0, 0.0))
    return found
