"""A glTF as it grows: arrays coded into one buffer, and the tree that names them."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from volkit.geometry.colour import array_linear_from_srgb
from volkit.version import __version__

__all__ = ["GltfBuilder", "MeshRows", "QuantisationGrid"]


ARRAY, ELEMENTS = 34962, 34963  # what a buffer view is for
COMPONENTS = {"int8": 5120, "uint16": 5123, "uint32": 5125, "float32": 5126}
SHAPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
MOST_SHORT = 65535  # rows; the index 65535 itself means something else to graphics cards
# A texel of 4096 across an atlas is a quarter as wide as a step of 14 bits; normals to 0.1 degrees.
POSITION_BITS, UV_BITS, NORMAL_BITS, DRACO_EFFORT = 14, 14, 11, 7
GENERIC = {10: "COLOR_0", 11: "TEXCOORD_1", 12: "TANGENT"}  # what Draco has no kind for, by numbers of ours

Attributes = dict[str, tuple[np.ndarray, bool]]  # by glTF's name: values, and whether integers mean shares of 1


@dataclass(frozen=True)
class MeshRows:
    """Arrays of one mesh in its file's frame; which of the last four there are depends on the mesh."""

    positions: np.ndarray  # [row 3], float32
    normals: np.ndarray  # [row 3], float32, unit
    faces: np.ndarray  # [face 3], int64
    uv: np.ndarray | None = None  # [row 2], float32, v runs down
    lightmap_uv: np.ndarray | None = None  # [row 2]
    colours: np.ndarray | None = None  # [row 4], uint8, display-referred
    tangents: np.ndarray | None = None  # [row 4], float32, unit, and the sign of the bitangent


@dataclass(frozen=True)
class QuantisationGrid:
    """Positions as whole numbers (KHR_mesh_quantization): `position = low + step * number`."""

    low: np.ndarray
    step: float

    @classmethod
    def over(cls, parts: list[MeshRows]) -> Self:
        """16 bits along the longest side of all parts."""
        low = np.min([part.positions.min(0) for part in parts], 0).astype(np.float64)
        high = np.max([part.positions.max(0) for part in parts], 0).astype(np.float64)
        return cls(low, max(float((high - low).max()), 1e-12) / 65535)

    @property
    def placement(self) -> dict[str, Any]:
        """What a node says to undo it."""
        return {"translation": self.low.tolist(), "scale": [self.step] * 3}


class GltfBuilder:
    """Grows by views, accessors and primitives; `tree` and `blob` are what is written."""

    def __init__(self, extras: dict[str, Any]) -> None:
        self.tree: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": f"volkit {__version__}", "extras": extras},
            "scene": 0,
        }
        self.blob = bytearray()

    def add(self, kind: str, item: dict[str, Any]) -> int:
        """Append to one of the tree's lists; its number there."""
        self.tree.setdefault(kind, []).append(item)
        return len(self.tree[kind]) - 1

    def uses(self, extension: str, required: bool = False) -> None:
        """Note an extension; a reader that does not know a required one refuses the file."""
        for kind in ("extensionsUsed", "extensionsRequired")[: 1 + required]:
            if extension not in self.tree.setdefault(kind, []):
                self.tree[kind].append(extension)

    def view(self, data: bytes, what: dict[str, int]) -> int:
        """Bytes in the buffer, at a multiple of four."""
        self.blob += bytes(-len(self.blob) % 4)
        number = self.add("bufferViews", {"buffer": 0, "byteOffset": len(self.blob), "byteLength": len(data)} | what)
        self.blob += data
        return number

    def primitive(self, rows: MeshRows, lattice: QuantisationGrid | None, draco: bool) -> dict[str, Any]:
        """Triangles with all attributes that they have."""
        attributes = _attributes(rows, lattice)
        if lattice is not None:
            self.uses("KHR_mesh_quantization", required=True)
        if draco:
            return self._draco(attributes, rows.faces)
        accessors = {name: self._attribute(name, *coded) for name, coded in attributes.items()}
        return {"attributes": accessors, "indices": self._indices(rows)}

    def solid(self, rows: MeshRows) -> dict[str, Any]:
        """Triangles to collide with: positions alone."""
        position = self._attribute("POSITION", rows.positions, False)
        return {"attributes": {"POSITION": position}, "indices": self._indices(rows)}

    def _indices(self, rows: MeshRows) -> int:
        kind = np.uint16 if len(rows.positions) <= MOST_SHORT else np.uint32
        return self._stored(rows.faces.astype(kind).reshape(-1, 1), {"target": ELEMENTS}, {})

    def _attribute(self, name: str, values: np.ndarray, shares: bool) -> int:
        about = _extent(values) if name == "POSITION" else {}
        if shares:
            about["normalized"] = True
        width = values.shape[1] * values.itemsize
        if width % 4:  # each row begins at a multiple of four
            padded = np.zeros((len(values), -(-width // 4) * 4 // values.itemsize), values.dtype)
            padded[:, : values.shape[1]] = values
            view = self.view(padded.tobytes(), {"target": ARRAY, "byteStride": padded.shape[1] * values.itemsize})
            return self._accessor(values, about | {"bufferView": view})
        return self._stored(values, {"target": ARRAY}, about)

    def _stored(self, values: np.ndarray, what: dict[str, int], about: dict[str, Any]) -> int:
        return self._accessor(values, about | {"bufferView": self.view(values.tobytes(), what)})

    def _accessor(self, values: np.ndarray, about: dict[str, Any]) -> int:
        kind, shape = COMPONENTS[values.dtype.name], SHAPES[values.shape[1]]
        return self.add("accessors", {"componentType": kind, "count": len(values), "type": shape} | about)

    def _draco(self, attributes: Attributes, faces: np.ndarray) -> dict[str, Any]:
        """KHR_draco_mesh_compression: accessors without data, whose numbers are those of the decoded mesh."""
        import DracoPy

        self.uses("KHR_draco_mesh_compression", required=True)
        # Floats throughout: DracoPy 2.2 gives 16 bits back as 32.
        values = {n: (a / 65535.0 if shares else a).astype(np.float32) for n, (a, shares) in attributes.items()}
        others = {number: values[name] for number, name in GENERIC.items() if name in values}
        known = {DracoPy.AttributeType.POSITION: "POSITION", DracoPy.AttributeType.NORMAL: "NORMAL",
                 DracoPy.AttributeType.TEX_COORD: "TEXCOORD_0"}  # fmt: skip
        uv = values.get("TEXCOORD_0")
        data = DracoPy.encode(
            values["POSITION"], faces.astype(np.uint32), POSITION_BITS, DRACO_EFFORT,
            normals=values["NORMAL"].astype(np.float64), tex_coord=None if uv is None else uv.astype(np.float64),
            generic_attributes=others or None,
            tex_coord_quantization_bits=UV_BITS, normal_quantization_bits=NORMAL_BITS,
        )  # fmt: skip
        decoded = DracoPy.decode(data)
        ids = {known.get(a["attribute_type"]) or GENERIC[a["unique_id"]]: a for a in decoded.attributes}
        accessors = {}
        for name, attribute in ids.items():
            accessors[name] = self._accessor(
                attribute["data"], _extent(attribute["data"]) if name == "POSITION" else {}
            )
        indices = np.asarray(decoded.faces, np.uint32).reshape(-1, 1)
        extension = {"bufferView": self.view(data, {}), "attributes": {n: a["unique_id"] for n, a in ids.items()}}
        return {"attributes": accessors, "indices": self._accessor(indices, {}),
                "extensions": {"KHR_draco_mesh_compression": extension}}  # fmt: skip


def _attributes(rows: MeshRows, lattice: QuantisationGrid | None) -> Attributes:
    coded: Attributes = {"POSITION": (rows.positions, False)}
    if lattice is not None:
        numbers = ((rows.positions - lattice.low) / lattice.step).round().clip(0, 65535)
        coded["POSITION"] = (numbers.astype(np.uint16), False)
    for name, units in (("NORMAL", rows.normals), ("TANGENT", rows.tangents)):
        if units is not None:
            coded[name] = (units, False) if lattice is None else ((127 * units).round().astype(np.int8), True)
    for name, uv in (("TEXCOORD_0", rows.uv), ("TEXCOORD_1", rows.lightmap_uv)):
        if uv is not None:
            short = lattice is not None and float(uv.min()) >= 0.0 and float(uv.max()) <= 1.0
            coded[name] = ((65535 * uv).round().astype(np.uint16), True) if short else (uv, False)
    if rows.colours is not None:
        light = rows.colours / 255.0
        light[:, :3] = array_linear_from_srgb(
            light[:, :3]
        )  # glTF's vertex colours are linear: 8 bits would show in the dark
        coded["COLOR_0"] = ((65535 * light).round().astype(np.uint16), True)
    return coded


def _extent(values: np.ndarray) -> dict[str, Any]:
    return {"min": values.min(0).tolist(), "max": values.max(0).tolist()}
