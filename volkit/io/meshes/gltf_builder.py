"""Builds a glTF: arrays encoded into one buffer, and the JSON tree that describes them; no torch."""

import json
import struct
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from volkit.geometry.colour import array_linear_from_srgb
from volkit.io.meshes.gltf_file import BINARY_CHUNK, JSON_CHUNK, MAGIC
from volkit.version import __version__

__all__ = ["GltfBuilder", "MeshRows", "QuantisationGrid", "pack_glb"]


ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963  # targets of buffer views
COMPONENT_TYPES = {"int8": 5120, "uint16": 5123, "uint32": 5125, "float32": 5126}
ACCESSOR_TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
MAX_UINT16_ROWS = 65535  # rows; graphics APIs reserve the index 65535
# 14 bits of uv are four steps for each texel of a 4096-wide atlas; 11 bits of normals are 0.1 degrees.
POSITION_BITS, UV_BITS, NORMAL_BITS, DRACO_EFFORT = 14, 14, 11, 7
# Attributes that Draco has no type for, by ids of our choice.
DRACO_GENERIC_ATTRIBUTES = {10: "COLOR_0", 11: "TEXCOORD_1", 12: "TANGENT"}

Attributes = dict[str, tuple[np.ndarray, bool]]  # by glTF's name: values, and whether they are normalized integers


def pack_glb(tree: dict[str, Any], blob: bytes) -> bytes:
    """The bytes of a `.glb`: header, JSON padded by spaces, buffer padded by zeros (glTF 2.0, section 4.4)."""
    text = json.dumps(tree, separators=(",", ":")).encode()
    chunks = [(JSON_CHUNK, text + b" " * (-len(text) % 4)), (BINARY_CHUNK, blob + bytes(-len(blob) % 4))]
    body = b"".join(struct.pack("<II", len(data), kind) + data for kind, data in chunks)
    return struct.pack("<III", MAGIC, 2, 12 + len(body)) + body


@dataclass(frozen=True)
class MeshRows:
    """Vertex arrays and faces of one mesh in the file's frame; the last four are None where the mesh has none."""

    positions: np.ndarray  # [row, 3], float64
    normals: np.ndarray  # [row, 3], float32, unit
    faces: np.ndarray  # [face, 3], int64
    uv: np.ndarray | None = None  # [row, 2], float32, v runs down
    second_uv: np.ndarray | None = None  # [row, 2]
    colours: np.ndarray | None = None  # [row, 4], uint8, display-referred
    tangents: np.ndarray | None = None  # [row, 4], float32: unit tangent, and the sign of the bitangent


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
        return {"attributes": accessors, "indices": self._add_indices(rows.faces, len(rows.positions))}

    def add_collider(self, positions: np.ndarray, faces: np.ndarray) -> dict[str, Any]:
        """Add the triangles of a collider, which has positions only, [vertex, 3] float32; the primitive, for a mesh."""
        position = self._add_attribute("POSITION", positions, False)
        return {"attributes": {"POSITION": position}, "indices": self._add_indices(faces, len(positions))}

    def _add_indices(self, faces: np.ndarray, rows: int) -> int:
        kind = np.uint16 if rows <= MAX_UINT16_ROWS else np.uint32
        return self._add_array(faces.astype(kind).reshape(-1, 1), {"target": ELEMENT_ARRAY_BUFFER}, {})

    def _add_attribute(self, name: str, values: np.ndarray, shares: bool) -> int:
        about = _bounds(values) if name == "POSITION" else {}
        if shares:
            about["normalized"] = True
        width = values.shape[1] * values.itemsize
        if width % 4:  # rows are aligned to 4 bytes
            padded = np.zeros((len(values), -(-width // 4) * 4 // values.itemsize), values.dtype)
            padded[:, : values.shape[1]] = values
            stride = padded.shape[1] * values.itemsize
            view = self.add_view(padded.tobytes(), {"target": ARRAY_BUFFER, "byteStride": stride})
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
        for name, attribute in sorted(ids.items()):  # assimp 5.2 wants TEXCOORD_0 before TEXCOORD_1
            about = _bounds(attribute["data"]) if name == "POSITION" else {}
            accessors[name] = self._add_accessor(attribute["data"], about)
        indices = np.asarray(decoded.faces, np.uint32).reshape(-1, 1)
        extension = {
            "bufferView": self.add_view(data, {}),
            "attributes": {n: a["unique_id"] for n, a in sorted(ids.items())},
        }
        return {
            "attributes": accessors,
            "indices": self._add_accessor(indices, {}),
            "extensions": {"KHR_draco_mesh_compression": extension},
        }


def _attributes(rows: MeshRows, grid: QuantisationGrid | None) -> Attributes:
    coded: Attributes = {"POSITION": (rows.positions.astype(np.float32), False)}
    if grid is not None:
        numbers = ((rows.positions - grid.low) / grid.step).round().clip(0, 65535)
        coded["POSITION"] = (numbers.astype(np.uint16), False)
    for name, units in (("NORMAL", rows.normals), ("TANGENT", rows.tangents)):
        if units is not None:
            coded[name] = (units, False) if grid is None else ((127 * units).round().astype(np.int8), True)
    for name, uv in (("TEXCOORD_0", rows.uv), ("TEXCOORD_1", rows.second_uv)):
        if uv is not None:
            short = grid is not None and float(uv.min()) >= 0.0 and float(uv.max()) <= 1.0
            coded[name] = ((65535 * uv).round().astype(np.uint16), True) if short else (uv, False)
    if rows.colours is not None:
        light = rows.colours / 255.0
        light[:, :3] = array_linear_from_srgb(light[:, :3])  # linear colours: 8 bits would band in the dark
        # floats: findings/pymeshlab_gltf_colours_of_16_bits.sh
        packed = ((65535 * light).round().astype(np.uint16), True)
        coded["COLOR_0"] = packed if grid else (light.astype(np.float32), False)
    return coded


def _bounds(values: np.ndarray) -> dict[str, Any]:
    return {"min": values.min(0).tolist(), "max": values.max(0).tolist()}
