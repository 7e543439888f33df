"""Meshes of glTF files, read as they are drawn: the scene's triangles in place, without colliders and coarser levels.

Read: `.glb` and `.gltf`, data URIs, strips and fans, normalized integers (KHR_mesh_quantization), Draco, WebP, sparse
accessors, KHR_texture_transform, second uv sets, wraps, factors, alpha modes, linear vertex colours, roughness and
metalness; skins where their joints put them, morph targets by their weights. What is left out is noted by name; filters
of textures, lamps and motion are not in a picture of the surface and pass without a word.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from volkit.extras import advice
from volkit.files.errors import FormatError
from volkit.geometry.colour import array_linear_from_srgb
from volkit.io.meshes.engines import DrawnNode, hidden_nodes
from volkit.io.meshes.gltf_file import DRACO, MAX_NODE_DEPTH, GltfFile, parse_gltf
from volkit.io.meshes.parts import Part, Wrap, srgb_bytes

__all__ = ["read_gltf_parts"]

READ_EXTENSIONS = ("KHR_mesh_quantization", "KHR_texture_transform", "EXT_texture_webp", DRACO, "MSFT_lod")
# What they add is in no picture of the surface: lamps, texts, motion, other variants' materials.
HARMLESS_EXTENSIONS = ("KHR_lights_punctual", "KHR_xmp_json_ld", "KHR_animation_pointer", "EXT_lights_image_based")
HARMLESS_MATERIALS = ("KHR_materials_unlit", "KHR_materials_variants", "KHR_materials_pbrSpecularGlossiness")
WRAPS: dict[int, Wrap] = {10497: "repeat", 33071: "clamp", 33648: "mirror"}


@dataclass(frozen=True)
class _Pose:
    """Where a mesh is drawn: the transform of its node, weights of its morph targets, transforms of its joints."""

    to_file: np.ndarray  # [4, 4]
    weights: tuple[float, ...] = ()
    joints: np.ndarray | None = None  # [joint, 4, 4]


def read_gltf_parts(path: Path, notes: list[str]) -> list[Part]:
    """Each primitive that is drawn, in the file's frame; what is left out is said in `notes`."""
    tree, buffers = parse_gltf(path)
    for needed in tree.get("extensionsRequired", ()):
        if needed not in (*READ_EXTENSIONS, *HARMLESS_EXTENSIONS) and not needed.startswith("KHR_materials_"):
            raise FormatError(path, f"needs {needed}, which is not read here", "export it without")
    if DRACO in tree.get("extensionsRequired", ()) and find_spec("DracoPy") is None:
        raise FormatError(path, "is compressed by Draco, and DracoPy is not installed", advice("mesh", "DracoPy"))
    return _PartReader(GltfFile(path, tree, buffers)).parts(notes)


class _PartReader:
    """The parts of one file."""

    def __init__(self, file: GltfFile) -> None:
        self.file, self.tree = file, file.tree

    def parts(self, notes: list[str]) -> list[Part]:
        tree = self.tree
        scene = tree["scenes"][tree.get("scene", 0)] if tree.get("scenes") else {"nodes": range(len(tree["nodes"]))}
        roots = scene.get("nodes", ())
        placed = [found for root in roots for found in self.file.mesh_nodes(root, np.eye(4), MAX_NODE_DEPTH)]
        hidden = self._hidden([number for number, _ in placed])
        if hidden:
            names = ", ".join(sorted(tree["nodes"][number].get("name", "") for number in hidden)[:8])
            notes.append(f"{len(hidden)} nodes are colliders or coarser levels, and left out: {names}")
        parts: list[Part] = []
        lost: set[str] = set()
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
            lost |= {"points and lines"} if len(drawn) < len(mesh["primitives"]) else set()
            lost |= {name for name in node.get("extensions", {}) if name == "EXT_mesh_gpu_instancing"}
            lost |= {name for one in drawn if "material" in one for name in _lost(tree["materials"][one["material"]])}
        if lost:
            notes.append(f"left out: {', '.join(sorted(lost))}")
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

    def _joint_matrices(self, skin: int) -> np.ndarray:
        """For each joint the transform [4, 4] from the mesh at rest to the file's frame."""
        found = self.tree["skins"][skin]
        joints = found["joints"]
        inverse = np.tile(np.eye(4), (len(joints), 1, 1))
        if "inverseBindMatrices" in found:
            values = self.file.accessor(found["inverseBindMatrices"])
            inverse = values[: len(joints)].reshape(-1, 4, 4).transpose(0, 2, 1)  # stored column by column
        return np.stack([self.file.world_matrix(joint) for joint in joints]) @ inverse

    def _part(self, primitive: dict[str, Any], pose: "_Pose") -> Part:
        arrays = self.file.arrays(primitive)
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
            if image is None:
                colours = _with_alpha(srgb_bytes(light[:, :4] * factor), material)
            else:
                if material.get("alphaMode") != "BLEND":  # the image's alpha is what is drawn
                    light[:, 3] = 1.0
                colours = srgb_bytes(light[:, :4])
        wrap = self._wrap(slot["index"]) if slot is not None else ("repeat", "repeat")
        return Part(corners, faces, uv, image, colours, finish, wrap)

    def _posed(
        self, primitive: dict[str, Any], arrays: dict[str, np.ndarray], pose: "_Pose"
    ) -> tuple[np.ndarray, bool]:
        """Positions in the file's frame, and whether they are a mirror image of the stored ones."""
        corners = arrays["POSITION"]
        for weight, target in zip(pose.weights, primitive.get("targets", ()), strict=False):
            if weight and "POSITION" in target:
                corners = corners + weight * self.file.accessor(target["POSITION"])
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

    def _image(self, number: int, factor: np.ndarray) -> np.ndarray:
        """The image of a texture, [height, width, 4], times a factor in linear light."""
        picture = np.array(self.file.picture(number))
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
        picture = np.full((1, 1, 3), 255.0) if slot is None else np.asarray(self.file.picture(slot["index"]))[..., :3]
        finish = (picture * factor).round().astype(np.uint8)
        return None if slot is None and (finish[..., 1:] == (255, 0)).all() else finish


def _lost(material: dict[str, Any]) -> set[str]:
    """What of a material is more than base colour, alpha, roughness and metalness."""
    found = {f"{slot} maps" for slot in ("normal", "occlusion") if f"{slot}Texture" in material}
    if "emissiveTexture" in material or any(material.get("emissiveFactor", ())):
        found.add("emission")
    return found | {name for name in material.get("extensions", {}) if name not in HARMLESS_MATERIALS}


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
