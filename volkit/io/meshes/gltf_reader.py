"""glTF files, read as they are drawn: the scene's triangles in place, without colliders and coarser levels.

Read: `.glb` and `.gltf`, data URIs, strips and fans, normalized integers (KHR_mesh_quantization), Draco, WebP, sparse
accessors, KHR_texture_transform, second uv sets, wraps, factors, alpha modes, linear vertex colours, roughness and
metalness; skins where their joints put them, morph targets by their weights. Lost: lights, animation, emission.
"""

import base64
import binascii
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from volkit.extras import advice
from volkit.files.errors import FormatError, read_start
from volkit.geometry.colour import array_linear_from_srgb
from volkit.io.meshes.engines import DrawnNode, hidden_nodes
from volkit.io.meshes.parts import Part, Wrap, srgb_bytes

__all__ = ["GltfReader", "gltf_json_head", "parse_gltf", "read_gltf_parts", "read_uri", "sniff_gltf"]


HEAD_BYTES = 1 << 20
MAGIC, JSON_CHUNK, BINARY_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942

COMPONENT_TYPES = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
ACCESSOR_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
DRACO = "KHR_draco_mesh_compression"
READ_EXTENSIONS = ("KHR_mesh_quantization", "KHR_texture_transform", "EXT_texture_webp", DRACO, "MSFT_lod")
KEEP_FIX = "keep the files of a glTF together"
MAX_NODE_DEPTH = 64  # nested nodes; a cycle of nodes would never end
MAX_EMPTY_ROWS = 1 << 26  # of an accessor whose values are zero but for a few
WRAPS: dict[int, Wrap] = {10497: "repeat", 33071: "clamp", 33648: "mirror"}


@dataclass(frozen=True)
class _Pose:
    """Where a mesh is drawn: the transform of its node, weights of its morph targets, transforms of its joints."""

    to_file: np.ndarray  # [4, 4]
    weights: tuple[float, ...] = ()
    joints: np.ndarray | None = None  # [joint, 4, 4]


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


def read_gltf_parts(path: Path, notes: list[str]) -> list[Part]:
    """Each primitive that is drawn, in the file's frame; what is left out is said in `notes`."""
    tree, buffers = parse_gltf(path)
    for needed in tree.get("extensionsRequired", ()):
        if needed not in READ_EXTENSIONS and not needed.startswith("KHR_materials_"):
            raise FormatError(path, f"needs {needed}, which is not read here", "export it without")
    if DRACO in tree.get("extensionsRequired", ()) and find_spec("DracoPy") is None:
        raise FormatError(path, "is compressed by Draco, and DracoPy is not installed", advice("mesh", "DracoPy"))
    return GltfReader(path, tree, buffers).parts(notes)


class GltfReader:
    """Access to the tree and its buffers; ValueError, KeyError or the like where they are damaged."""

    def __init__(self, path: Path, tree: dict[str, Any], buffers: list[bytes]) -> None:
        self.path, self.tree, self.buffers = path, tree, buffers

    def parts(self, notes: list[str]) -> list[Part]:
        tree = self.tree
        scene = tree["scenes"][tree.get("scene", 0)] if tree.get("scenes") else {"nodes": range(len(tree["nodes"]))}
        roots = scene.get("nodes", ())
        placed = [found for root in roots for found in self.mesh_nodes(root, np.eye(4), MAX_NODE_DEPTH)]
        hidden = self._hidden([number for number, _ in placed])
        if hidden:
            names = ", ".join(sorted(tree["nodes"][number].get("name", "") for number in hidden)[:8])
            notes.append(f"{len(hidden)} nodes are colliders or coarser levels, and left out: {names}")
        parts = []
        for number, to_file in placed:
            if number in hidden:
                continue
            node = tree["nodes"][number]
            mesh, skin = tree["meshes"][node["mesh"]], node.get("skin")
            pose = _Pose(
                to_file,
                tuple(float(weight) for weight in node.get("weights", mesh.get("weights", ()))),
                None if skin is None else self._joint_matrices(skin),
            )
            drawn = [primitive for primitive in mesh["primitives"] if primitive.get("mode", 4) in (4, 5, 6)]
            parts += [self._part(primitive, pose) for primitive in drawn]
        return parts

    def _hidden(self, drawn: list[int]) -> set[int]:
        """Of the nodes of a scene those that are no part of the picture: colliders, and coarser levels of another."""
        nodes = self.tree["nodes"]
        parents = {child: number for number, node in enumerate(nodes) for child in node.get("children", ())}
        return hidden_nodes(
            [
                DrawnNode(
                    number,
                    str(nodes[number].get("name", "")),
                    parents.get(number),
                    all("material" not in one for one in self.tree["meshes"][nodes[number]["mesh"]]["primitives"]),
                )
                for number in drawn
            ]
        )

    def _joint_matrices(self, skin: int) -> np.ndarray:
        """For each joint the transform [4, 4] from the mesh at rest to the file's frame."""
        found = self.tree["skins"][skin]
        nodes, joints = self.tree["nodes"], found["joints"]
        parents = {child: number for number, node in enumerate(nodes) for child in node.get("children", ())}
        inverse = np.tile(np.eye(4), (len(joints), 1, 1))
        if "inverseBindMatrices" in found:
            values = self._values(self.tree["accessors"][found["inverseBindMatrices"]]).astype(np.float64)
            inverse = values[: len(joints)].reshape(-1, 4, 4).transpose(0, 2, 1)  # stored column by column
        matrices = []
        for joint in joints:
            whole, number, depth = np.eye(4), joint, 0
            while number is not None:
                if depth == MAX_NODE_DEPTH:
                    raise ValueError(f"nodes are nested more than {MAX_NODE_DEPTH} deep")
                whole, number, depth = _node_matrix(nodes[number]) @ whole, parents.get(number), depth + 1
            matrices.append(whole)
        return np.stack(matrices) @ inverse

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

    def _part(self, primitive: dict[str, Any], pose: "_Pose") -> Part:
        arrays = self.arrays(primitive)
        corners, mirrored = self._posed(primitive, arrays, pose)
        faces = _triangles(arrays.get("indices", np.arange(len(corners))).reshape(-1), primitive.get("mode", 4))
        if mirrored:  # a mirror image turns faces inside out
            faces = faces[:, ::-1]
        material = self.tree["materials"][primitive["material"]] if "material" in primitive else {}
        specular_glossiness = material.get("extensions", {}).get("KHR_materials_pbrSpecularGlossiness", {})
        surface = material.get("pbrMetallicRoughness", {})
        factor = np.array(surface.get("baseColorFactor") or specular_glossiness.get("diffuseFactor") or [1.0] * 4)
        slot = surface.get("baseColorTexture") or specular_glossiness.get("diffuseTexture")
        finish = None if "COLOR_0" in arrays and slot is None else self._metallic_roughness(surface)
        uv = self._uv(slot or (surface.get("metallicRoughnessTexture") if finish is not None else None), arrays)
        image = None if slot is None or uv is None else _with_alpha(self._image(slot["index"], factor), material)
        colours = None
        if image is None or "COLOR_0" in arrays:
            light = np.concatenate([arrays.get("COLOR_0", np.ones((len(corners), 4))), np.ones((len(corners), 1))], 1)
            light = light[:, :4] if image is not None else light[:, :4] * factor
            colours = srgb_bytes(light) if image is not None else _with_alpha(srgb_bytes(light), material)
        wrap = self._wrap(slot["index"]) if slot is not None else ("repeat", "repeat")
        return Part(corners, faces, uv, image, colours, finish, wrap)

    def _posed(
        self, primitive: dict[str, Any], arrays: dict[str, np.ndarray], pose: "_Pose"
    ) -> tuple[np.ndarray, bool]:
        """Positions in the file's frame, and whether they are a mirror image of the stored ones."""
        corners = arrays["POSITION"]
        for weight, target in zip(pose.weights, primitive.get("targets", ()), strict=False):
            if weight and "POSITION" in target:
                corners = corners + weight * self._accessor(target["POSITION"])
        if pose.joints is None or "JOINTS_0" not in arrays:
            matrix = pose.to_file
            return corners @ matrix[:3, :3].T + matrix[:3, 3], bool(np.linalg.det(matrix[:3, :3]) < 0)
        sets = [name for name in ("0", "1") if f"JOINTS_{name}" in arrays]
        joints = np.concatenate([arrays[f"JOINTS_{name}"] for name in sets], 1).astype(np.int64)
        shares = np.concatenate([arrays[f"WEIGHTS_{name}"] for name in sets], 1)
        if len(joints) and not 0 <= joints.min() <= joints.max() < len(pose.joints):
            raise ValueError(f"vertices name joint {joints.max()}, there are {len(pose.joints)}")
        shares = shares / np.maximum(shares.sum(1, keepdims=True), 1e-12)
        matrices = np.einsum("vj,vjab->vab", shares, pose.joints[joints])
        posed = np.einsum("vab,vb->va", matrices[:, :3, :3], corners) + matrices[:, :3, 3]
        return posed, bool((np.linalg.det(matrices[:, :3, :3]) < 0).mean() > 0.5)

    def _uv(self, slot: dict[str, Any] | None, arrays: dict[str, np.ndarray]) -> np.ndarray | None:
        """The uv of a texture's slot, its transform applied; None where there are none."""
        if slot is None:
            return None
        transform = _texture_transform(slot)
        uv = arrays.get(f"TEXCOORD_{transform.get('texCoord', slot.get('texCoord', 0))}")
        return None if uv is None else _transform_uv(uv, transform)

    def _wrap(self, number: int) -> tuple[Wrap, Wrap]:
        """What continues a texture beyond its image, in u and in v."""
        texture = self.tree["textures"][number]
        sampler = self.tree["samplers"][texture["sampler"]] if "sampler" in texture else {}
        return WRAPS.get(sampler.get("wrapS", 10497), "repeat"), WRAPS.get(sampler.get("wrapT", 10497), "repeat")

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
                found[name] = self._accessor(number, raw.get(name))
        return found

    def _accessor(self, number: int, decoded: np.ndarray | None = None) -> np.ndarray:
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
        start = view.get("byteOffset", 0)
        return self.buffers[view["buffer"]][start : start + view["byteLength"]]

    def _image(self, number: int, factor: np.ndarray) -> np.ndarray:
        """The image of a texture, [height, width, 4], times a factor in linear light."""
        picture = np.array(self._picture(number))
        if (factor >= 1.0).all():
            return picture
        light = picture / 255.0
        light[..., :3] = array_linear_from_srgb(light[..., :3])
        return srgb_bytes(light * factor)

    def _metallic_roughness(self, surface: dict[str, Any]) -> np.ndarray | None:
        """Roughness in green and metalness in blue, [height, width, 3]; None where nothing but the default is said."""
        if not surface:
            return None
        factor = np.array([1.0, surface.get("roughnessFactor", 1.0), surface.get("metallicFactor", 1.0)])
        slot = surface.get("metallicRoughnessTexture")
        picture = np.full((1, 1, 3), 255.0) if slot is None else np.asarray(self._picture(slot["index"]))[..., :3]
        finish = (picture * factor).round().astype(np.uint8)
        return None if slot is None and (finish[..., 1:] == (255, 0)).all() else finish

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


def _with_alpha(rgba: np.ndarray, material: dict[str, Any]) -> np.ndarray:
    """Colours with the alpha that is drawn: that of OPAQUE is 1, that of MASK 0 or 1 by its cutoff."""
    mode = material.get("alphaMode", "OPAQUE")
    if mode == "BLEND":
        return rgba
    rgba = rgba.copy()
    shown = rgba[..., 3] >= 255.0 * material.get("alphaCutoff", 0.5) if mode == "MASK" else True
    rgba[..., 3] = np.where(shown, 255, 0)
    return rgba


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
