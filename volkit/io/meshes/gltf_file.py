"""glTF files: the container, its accessors, views and pictures, and where its nodes stand; no meshes, no looks."""

import base64
import binascii
import json
import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from volkit.files.eight_bits import in_8_bits
from volkit.files.errors import FormatError, read_start

__all__ = [
    "BINARY_CHUNK",
    "DRACO",
    "JSON_CHUNK",
    "MAGIC",
    "MAX_NODE_DEPTH",
    "MESHOPT",
    "GltfFile",
    "gltf_json_head",
    "node_matrix",
    "parse_gltf",
    "read_uri",
    "sniff_gltf",
]

HEAD_BYTES = 1 << 20
MAGIC, JSON_CHUNK, BINARY_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942

COMPONENT_TYPES = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
ACCESSOR_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
DRACO = "KHR_draco_mesh_compression"
MESHOPT = ("EXT_meshopt_compression", "KHR_meshopt_compression")
KEEP_FIX = "keep the files of a glTF together"
MAX_NODE_DEPTH = 64  # nested nodes; a cycle of nodes would never end
MAX_EMPTY_ROWS = 1 << 26  # of an accessor whose values are zero but for a few
MAX_VIEW_BYTES = 1 << 31  # of a compressed view, unpacked


def parse_gltf(path: Path) -> tuple[dict[str, Any], list[bytes]]:
    """The JSON tree and the buffers of a `.glb` or `.gltf`; ValueError or KeyError where it is damaged."""
    data = path.read_bytes()
    text, blob = _chunks(data) if data[:4] == b"glTF" else (data, b"")
    tree = json.loads(text)
    if not isinstance(tree, dict) or not str(tree["asset"]["version"]).startswith("2."):
        raise ValueError("it is not glTF 2")
    return tree, [_buffer(path, buffer, blob) for buffer in tree.get("buffers", ())]


def _buffer(path: Path, buffer: dict[str, Any], blob: bytes) -> bytes:
    """The bytes of a buffer; none of one that only stands in for compressed views."""
    if any(buffer.get("extensions", {}).get(name, {}).get("fallback") for name in MESHOPT):
        return b""
    return read_uri(path, buffer["uri"]) if "uri" in buffer else blob


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
        raise FormatError(path, f"names {uri}, which is not there", KEEP_FIX)
    if not beside.resolve().is_relative_to(path.parent.resolve()):
        raise FormatError(path, f"names {uri}, outside its folder", KEEP_FIX)
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


class GltfFile:
    """Access to a tree and its buffers; ValueError, KeyError or the like where they are damaged."""

    def __init__(self, path: Path, tree: dict[str, Any], buffers: list[bytes]) -> None:
        self.path, self.tree, self.buffers = path, tree, buffers
        self._unpacked: dict[int, bytes] = {}
        nodes = tree.get("nodes", ())
        self.parents = {child: number for number, node in enumerate(nodes) for child in node.get("children", ())}

    def world_matrix(self, number: int) -> np.ndarray:
        """The transform [4, 4] of a node to the file's frame."""
        whole, at, depth = np.eye(4), number, 0
        while at is not None:
            if depth == MAX_NODE_DEPTH:
                raise ValueError(f"nodes are nested more than {MAX_NODE_DEPTH} deep")
            whole, at, depth = node_matrix(self.tree["nodes"][at]) @ whole, self.parents.get(at), depth + 1
        return whole

    def mesh_nodes(self, number: int, to_file: np.ndarray, depth: int) -> Iterator[tuple[int, np.ndarray]]:
        """Indices of the nodes with meshes below a node, and their transforms [4, 4]."""
        if not depth:
            raise ValueError(f"nodes are nested more than {MAX_NODE_DEPTH} deep")
        node = self.tree["nodes"][number]
        to_file = to_file @ node_matrix(node)
        if "mesh" in node:
            yield number, to_file
        for child in node.get("children", ()):
            yield from self.mesh_nodes(child, to_file, depth - 1)

    def arrays(self, primitive: dict[str, Any]) -> dict[str, np.ndarray]:
        """Attributes by name as float64, and `indices` as int64."""
        numbers = dict(primitive["attributes"])
        if "indices" in primitive:
            numbers["indices"] = primitive["indices"]
        draco = primitive.get("extensions", {}).get(DRACO)
        raw = self._decode_draco(draco) if draco else {}
        found = {}
        for name, number in numbers.items():
            if name == "indices":
                indices = raw[name] if name in raw else self._values(self.tree["accessors"][number])
                if indices.dtype.kind == "f":
                    raise ValueError("indices are not whole numbers")
                found[name] = indices.astype(np.int64)
            else:
                found[name] = self.accessor(number, raw.get(name))
        return found

    def accessor(self, number: int, decoded: np.ndarray | None = None) -> np.ndarray:
        """The values of an accessor in float64, normalised where it says so; `decoded` replaces those of its buffer."""
        accessor = self.tree["accessors"][number]
        values = self._values(accessor) if decoded is None else decoded
        if accessor.get("normalized"):
            values = np.maximum(values / np.iinfo(COMPONENT_TYPES[accessor["componentType"]]).max, -1.0)
        return values.astype(np.float64)

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
        """The rows of an accessor as they are stored; of one without a buffer zeros, with its sparse changes."""
        kind, width, count = (
            COMPONENT_TYPES[accessor["componentType"]],
            ACCESSOR_WIDTHS[accessor["type"]],
            accessor["count"],
        )
        sparse = accessor.get("sparse")
        if "bufferView" in accessor:
            values = self._rows(accessor, kind, width, count)
        elif sparse is not None and 0 < count <= MAX_EMPTY_ROWS:
            values = np.zeros((count, width), kind)
        else:
            raise ValueError("an accessor has no data")
        if sparse is None:
            return values
        changed = sparse["count"]
        rows = self._rows(sparse["indices"], COMPONENT_TYPES[sparse["indices"]["componentType"]], 1, changed)[:, 0]
        if int(rows.max()) >= count:
            raise ValueError(f"an accessor of {count} rows changes row {rows.max()}")
        values = values.copy()
        values[rows] = self._rows(sparse["values"], kind, width, changed)
        return values

    def _rows(self, place: dict[str, Any], kind: Any, width: int, count: int) -> np.ndarray:
        """`count` rows of a buffer view."""
        kind = np.dtype(kind)
        view, row = self.tree["bufferViews"][place["bufferView"]], kind.itemsize * width
        data = self._view(place["bufferView"])[place.get("byteOffset", 0) :]
        stride = view.get("byteStride", row)
        if stride < row or count < 1 or (count - 1) * stride + row > len(data):
            raise ValueError(f"an accessor of {count} rows lies outside its buffer")
        return np.ndarray((count, width), kind, data, strides=(stride, kind.itemsize))

    def _view(self, number: int) -> bytes:
        view = self.tree["bufferViews"][number]
        packed = next((view["extensions"][name] for name in MESHOPT if name in view.get("extensions", {})), None)
        if packed is None:
            return self._slice(view)
        if number not in self._unpacked:
            self._unpacked[number] = _decode_meshopt(packed, self._slice(packed))
        return self._unpacked[number]

    def _slice(self, place: dict[str, Any]) -> bytes:
        start = place.get("byteOffset", 0)
        return self.buffers[place["buffer"]][start : start + place["byteLength"]]

    def image_of(self, number: int) -> int:
        """Which image a texture shows."""
        texture = self.tree["textures"][number]
        extensions = texture.get("extensions", {})
        source = extensions.get("EXT_texture_webp", {}).get("source", texture.get("source"))
        if source is None:
            raise ValueError(f"texture {number} has no picture but by {', '.join(extensions) or 'nothing'}")
        return source

    def picture(self, number: int) -> Any:
        """An image, RGBA, by Pillow."""
        from PIL import Image, UnidentifiedImageError

        image = self.tree["images"][number]
        data = self._view(image["bufferView"]) if "bufferView" in image else read_uri(self.path, image["uri"])
        try:
            return in_8_bits(Image.open(BytesIO(data))).convert("RGBA")
        except (UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise ValueError(f"picture {number} cannot be read: {error}") from error


def _decode_meshopt(packed: dict[str, Any], data: bytes) -> bytes:
    import meshopt

    count, size = int(packed["count"]), int(packed["byteStride"])
    if not 0 < count * size <= MAX_VIEW_BYTES:
        raise ValueError(f"a compressed view of {count} rows of {size} bytes")
    try:
        return meshopt.decode_gltf_buffer(data, count, size, packed["mode"], packed.get("filter", "NONE")).tobytes()
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"meshopt: {error}") from error


def node_matrix(node: dict[str, Any]) -> np.ndarray:
    """The transform [4, 4] of a node to its parent's frame."""
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
