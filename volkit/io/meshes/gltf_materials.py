"""Materials of glTF files as values of ours: factors, textures, alpha, emission, and the uv that they lie by."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from volkit.io.meshes.gltf_file import GltfFile
from volkit.io.meshes.parts import ImageTable
from volkit.representations import Material, Texture
from volkit.representations.material import AlphaMode, Wrap

__all__ = ["MaterialReader"]

# What they add is no part of the surface, or is read here.
READ_MATERIALS = (
    "KHR_materials_unlit", "KHR_materials_emissive_strength", "KHR_materials_variants",
    "KHR_materials_pbrSpecularGlossiness",
)  # fmt: skip
WRAPS: dict[int, Wrap] = {10497: "repeat", 33071: "clamp", 33648: "mirror"}
NEAREST = (9728, 9984, 9986)  # filters
ALPHA_MODES: dict[str, AlphaMode] = {"OPAQUE": "opaque", "MASK": "mask", "BLEND": "blend"}
UV_SETS = 2  # that a mesh of ours has


@dataclass
class _UvSets:
    """The sets of uv of one primitive, moved as its textures ask, in the order in which they were asked for."""

    arrays: dict[str, np.ndarray]
    found: dict[str, np.ndarray] = field(default_factory=dict)

    def row(self, slot: dict[str, Any]) -> int | None:
        """The set by which a texture lies; None where there is none, or no room."""
        transform = slot.get("extensions", {}).get("KHR_texture_transform", {})
        name = f"TEXCOORD_{transform.get('texCoord', slot.get('texCoord', 0))}"
        if name not in self.arrays:
            return None
        key = f"{name} {sorted((k, v) for k, v in transform.items() if k in ('scale', 'rotation', 'offset'))}"
        if key not in self.found and len(self.found) < UV_SETS:
            self.found[key] = _transform_uv(self.arrays[name], transform)
        return list(self.found).index(key) if key in self.found else None


@dataclass
class MaterialReader:
    """Reads the materials of a file.

    Attributes:
        file: the glTF.
        images: receives its images.
        lost: receives what is left out, by name.
    """

    file: GltfFile
    images: ImageTable
    lost: set[str]

    def read(self, number: int | None, arrays: dict[str, np.ndarray]) -> tuple[Material, tuple[np.ndarray, ...]]:
        """The material of a primitive with these attributes, and the sets of uv of its textures, in turn."""
        if number is None:
            return Material(), ()
        tree = self.file.tree["materials"][number]
        extensions = tree.get("extensions", {})
        self.lost |= {name for name in extensions if name not in READ_MATERIALS}
        uv = _UvSets(arrays)
        surface = tree.get("pbrMetallicRoughness", {})
        metallic, roughness = float(surface.get("metallicFactor", 1.0)), float(surface.get("roughnessFactor", 1.0))
        factor, slot = surface.get("baseColorFactor", (1.0,) * 4), surface.get("baseColorTexture")
        old = extensions.get("KHR_materials_pbrSpecularGlossiness", {})
        if old and not surface:
            factor, slot = old.get("diffuseFactor", (1.0,) * 4), old.get("diffuseTexture")
            metallic, roughness = 0.0, 1.0 - float(old.get("glossinessFactor", 1.0))
            self.lost |= {"specular and glossiness maps"} if "specularGlossinessTexture" in old else set()
        base = self._texture("base colour", slot, uv, "RGBA")
        normal, occlusion = tree.get("normalTexture", {}), tree.get("occlusionTexture", {})
        strength = extensions.get("KHR_materials_emissive_strength", {}).get("emissiveStrength", 1.0)
        glow = [float(value) * float(strength) for value in tree.get("emissiveFactor", (0.0,) * 3)]
        material = Material(
            str(tree.get("name", "")),
            _floats(factor, 4),
            base,
            metallic,
            roughness,
            self._texture("metallic-roughness", surface.get("metallicRoughnessTexture"), uv),
            self._texture("normal", normal, uv),
            float(normal.get("scale", 1.0)),
            self._texture("occlusion", occlusion, uv),
            float(occlusion.get("strength", 1.0)),
            _floats(glow, 3),
            self._texture("emission", tree.get("emissiveTexture"), uv) if any(glow) else None,
            ALPHA_MODES.get(tree.get("alphaMode", "OPAQUE"), "opaque"),
            float(tree.get("alphaCutoff", 0.5)),
            bool(tree.get("doubleSided", False)),
            "KHR_materials_unlit" in extensions,
        )
        return material, tuple(uv.found.values())

    def _texture(self, name: str, slot: dict[str, Any] | None, uv: _UvSets, mode: str = "RGB") -> Texture | None:
        """A texture of a slot; None, and a word on it, where it has no uv."""
        if not slot:
            return None
        row = uv.row(slot)
        if row is None:
            self.lost.add(f"{name} textures without uv, or by a third set of them")
            return None
        key = (mode, self.file.image_of(slot["index"]))
        pixels = np.zeros(0) if self.images.has(key) else np.array(self.file.picture(key[1]).convert(mode))
        texture = self.file.tree["textures"][slot["index"]]
        sampler = self.file.tree["samplers"][texture["sampler"]] if "sampler" in texture else {}
        across: Wrap = WRAPS.get(sampler.get("wrapS", 0), "repeat")
        down: Wrap = WRAPS.get(sampler.get("wrapT", 0), "repeat")
        nearest = sampler.get("magFilter") in NEAREST
        return Texture(self.images.row(key, pixels), 1 if row else 0, (across, down), nearest)


def _floats(values: Any, count: int) -> Any:
    found = tuple(float(value) for value in values)
    if len(found) != count or not all(np.isfinite(found)):
        raise ValueError(f"a factor has the values {found}, not {count} numbers")
    return found


def _transform_uv(uv: np.ndarray, transform: dict[str, Any]) -> np.ndarray:
    """Apply KHR_texture_transform: scale, then rotate, then offset."""
    if not transform:
        return uv
    angle = transform.get("rotation", 0.0)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return uv * transform.get("scale", (1.0, 1.0)) @ turn.T + transform.get("offset", (0.0, 0.0))
