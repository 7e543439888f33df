"""Meshes of glTF files, read as they are drawn: the scene's triangles in place, without colliders and coarser levels.

Read: `.glb` and `.gltf`, data URIs, strips and fans, normalized integers (KHR_mesh_quantization), Draco, meshopt, WebP,
sparse accessors, copies of one mesh (EXT_mesh_gpu_instancing), materials with all their textures (`gltf_materials.py`),
linear vertex colours, normals; skins where their joints put them, morph targets by their weights. What is left out is
noted by name; lamps and motion are not in a picture of the surface and pass without a word.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from volkit.extras import advice
from volkit.files.errors import FormatError
from volkit.geometry.colour import bytes_from_linear
from volkit.io.meshes.engines import DrawnNode, hidden_nodes
from volkit.io.meshes.gltf_file import DRACO, MAX_NODE_DEPTH, MESHOPT, GltfFile, node_matrix, parse_gltf
from volkit.io.meshes.gltf_materials import MaterialReader
from volkit.io.meshes.parts import ImageTable, MeshPart

__all__ = ["read_gltf_parts"]

INSTANCING = "EXT_mesh_gpu_instancing"
READ_EXTENSIONS = (
    "KHR_mesh_quantization", "KHR_texture_transform", "EXT_texture_webp", DRACO, *MESHOPT, "MSFT_lod", INSTANCING
)  # fmt: skip
# What decodes an extension: its package and extra.
DECODERS = {DRACO: ("DracoPy", "mesh"), **dict.fromkeys(MESHOPT, ("meshopt", "gltf"))}
MAX_INSTANCES = 1 << 20  # of a node
# What they add is in no picture of the surface: lamps, texts, motion, other variants' materials.
HARMLESS_EXTENSIONS = ("KHR_lights_punctual", "KHR_xmp_json_ld", "KHR_animation_pointer", "EXT_lights_image_based")


@dataclass(frozen=True)
class _Pose:
    """Where a mesh is drawn: the transform of its node, weights of its morph targets, transforms of its joints."""

    to_file: np.ndarray  # [4, 4]
    weights: tuple[float, ...] = ()
    joints: np.ndarray | None = None  # [joint, 4, 4]


def read_gltf_parts(path: Path, images: ImageTable, notes: list[str]) -> list[MeshPart]:
    """Each primitive that is drawn, in the file's frame; what is left out is said in `notes`."""
    tree, buffers = parse_gltf(path)
    for needed in tree.get("extensionsRequired", ()):
        if needed not in (*READ_EXTENSIONS, *HARMLESS_EXTENSIONS) and not needed.startswith("KHR_materials_"):
            raise FormatError(path, f"needs {needed}, which is not read here", "export it without")
    for needed, (package, extra) in DECODERS.items():
        if needed in tree.get("extensionsUsed", ()) and find_spec(package) is None:
            fact = f"is compressed by {needed}, and {package} is not installed"
            raise FormatError(path, fact, advice(extra, package))
    return _PartReader(GltfFile(path, tree, buffers), images).parts(notes)


class _PartReader:
    """The parts of one file."""

    def __init__(self, file: GltfFile, images: ImageTable) -> None:
        self.file, self.tree = file, file.tree
        self.lost: set[str] = set()
        self.materials = MaterialReader(file, images, self.lost)

    def parts(self, notes: list[str]) -> list[MeshPart]:
        tree = self.tree
        scene = tree["scenes"][tree.get("scene", 0)] if tree.get("scenes") else {"nodes": range(len(tree["nodes"]))}
        roots = scene.get("nodes", ())
        placed = [found for root in roots for found in self.file.mesh_nodes(root, np.eye(4), MAX_NODE_DEPTH)]
        hidden = self._hidden([number for number, _ in placed])
        if hidden:
            names = ", ".join(sorted(tree["nodes"][number].get("name", "") for number in hidden)[:8])
            notes.append(f"{len(hidden)} nodes are colliders or coarser levels, and left out: {names}")
        parts: list[MeshPart] = []
        for number, to_file in placed:
            if number in hidden:
                continue
            node = tree["nodes"][number]
            mesh, skin = tree["meshes"][node["mesh"]], node.get("skin")
            weights = tuple(float(weight) for weight in node.get("weights", mesh.get("weights", ())))
            joints = None if skin is None else self._joint_matrices(skin)
            poses = [_Pose(to_file @ place, weights, joints) for place in self._instances(node)]
            drawn = [primitive for primitive in mesh["primitives"] if primitive.get("mode", 4) in (4, 5, 6)]
            parts += [self._part(primitive, pose) for pose in poses for primitive in drawn]
            self.lost |= {"points and lines"} if len(drawn) < len(mesh["primitives"]) else set()
        if self.lost:
            notes.append(f"left out: {', '.join(sorted(self.lost))}")
        return parts

    def _hidden(self, drawn: list[int]) -> set[int]:
        """Of the nodes of a scene those that are no part of the picture: colliders, and coarser levels of another."""
        nodes = self.tree["nodes"]
        return hidden_nodes(
            [
                DrawnNode(
                    number,
                    str(nodes[number].get("name", "")),
                    self.file.parents.get(number),
                    all("material" not in one for one in self.tree["meshes"][nodes[number]["mesh"]]["primitives"]),
                )
                for number in drawn
            ]
        )

    def _instances(self, node: dict[str, Any]) -> list[np.ndarray]:
        """The transforms [4, 4] of the copies of a node's mesh to the node's frame."""
        attributes = node.get("extensions", {}).get(INSTANCING, {}).get("attributes", {})
        placed = {name.lower(): self.file.accessor(attributes[name]) for name in ("TRANSLATION", "ROTATION", "SCALE")
                  if name in attributes}  # fmt: skip
        if not placed:
            return [np.eye(4)]
        counts = {len(rows) for rows in placed.values()}
        if len(counts) > 1 or max(counts) > MAX_INSTANCES:
            raise ValueError(f"copies of a mesh by {sorted(counts)} rows")
        return [node_matrix({name: rows[i] for name, rows in placed.items()}) for i in range(*counts)]

    def _joint_matrices(self, skin: int) -> np.ndarray:
        """For each joint the transform [4, 4] from the mesh at rest to the file's frame."""
        found = self.tree["skins"][skin]
        joints = found["joints"]
        inverse = np.tile(np.eye(4), (len(joints), 1, 1))
        if "inverseBindMatrices" in found:
            values = self.file.accessor(found["inverseBindMatrices"])
            inverse = values[: len(joints)].reshape(-1, 4, 4).transpose(0, 2, 1)  # stored column by column
        return np.stack([self.file.world_matrix(joint) for joint in joints]) @ inverse

    def _part(self, primitive: dict[str, Any], pose: "_Pose") -> MeshPart:
        arrays = self.file.arrays(primitive)
        change = self._change(primitive, arrays, pose)
        corners = _moved(self._morphed("POSITION", primitive, arrays, pose), change)
        faces = _triangles(arrays.get("indices", np.arange(len(corners))).reshape(-1), primitive.get("mode", 4))
        turn, mirrored = _normals_turn(change)
        if mirrored:  # a mirror image turns faces inside out
            faces = faces[:, ::-1]
        normals = None
        if "NORMAL" in arrays:
            normals = _turned(self._morphed("NORMAL", primitive, arrays, pose), turn)
            normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        material, uv = self.materials.read(primitive.get("material"), arrays)
        colours = None
        if "COLOR_0" in arrays:
            light = np.concatenate([arrays["COLOR_0"], np.ones((len(corners), 1))], 1)[:, :4]
            colours = bytes_from_linear(light)
        return MeshPart(corners, faces, material, uv, colours, normals)

    def _morphed(
        self, name: str, primitive: dict[str, Any], arrays: dict[str, np.ndarray], pose: "_Pose"
    ) -> np.ndarray:
        """An attribute with its morph targets by their weights."""
        found = arrays[name]
        for weight, target in zip(pose.weights, primitive.get("targets", ()), strict=False):
            if weight and name in target:
                found = found + weight * self.file.accessor(target[name])
        return found

    def _change(self, primitive: dict[str, Any], arrays: dict[str, np.ndarray], pose: "_Pose") -> np.ndarray:
        """The transform to the file's frame, [4, 4], or one for each vertex that joints move, [vertex, 4, 4]."""
        if pose.joints is None or "JOINTS_0" not in arrays:
            return pose.to_file
        sets = [name for name in ("0", "1") if f"JOINTS_{name}" in arrays]
        joints = np.concatenate([arrays[f"JOINTS_{name}"] for name in sets], 1).astype(np.int64)
        shares = np.concatenate([arrays[f"WEIGHTS_{name}"] for name in sets], 1)
        if len(joints) and not 0 <= joints.min() <= joints.max() < len(pose.joints):
            raise ValueError(f"vertices name joint {joints.max()}, there are {len(pose.joints)}")
        shares = shares / np.maximum(shares.sum(1, keepdims=True), 1e-12)
        return np.einsum("vj,vjab->vab", shares, pose.joints[joints])


def _moved(points: np.ndarray, change: np.ndarray) -> np.ndarray:
    return _turned(points, change[..., :3, :3]) + change[..., :3, 3]


def _turned(vectors: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Vectors [vertex, 3] by one matrix [3, 3], or by one each."""
    return vectors @ turn.T if turn.ndim == 2 else np.einsum("vab,vb->va", turn, vectors)


def _normals_turn(change: np.ndarray) -> tuple[np.ndarray, bool]:
    """What turns normals where `change` moves points, not of unit length; and whether most of it is a mirror image."""
    a, b, c = (change[..., row, :3] for row in range(3))
    turn = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], -2)  # cofactors: inverse transpose times det
    mirrored = (a * turn[..., 0, :]).sum(-1) < 0
    return np.where(mirrored[..., None, None], -turn, turn), bool(mirrored.mean() > 0.5)


def _triangles(indices: np.ndarray, mode: int) -> np.ndarray:
    """Triangles [n, 3] of a list (mode 4), a strip (5; every second one flipped) or a fan (6)."""
    if mode == 4:
        return indices.reshape(-1, 3)
    steps = np.arange(len(indices) - 2)
    if mode == 6:
        return indices[np.stack([0 * steps, steps + 1, steps + 2], 1)]
    return indices[np.stack([steps, steps + 1 + steps % 2, steps + 2 - steps % 2], 1)]
