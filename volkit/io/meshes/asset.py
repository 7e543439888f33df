"""What a game engine loads: levels of a mesh on one texture, solids to collide with; and how it is written."""

from dataclasses import dataclass, field
from typing import Any

from volkit.choices import Engine, TextureFormat
from volkit.geometry import Frame
from volkit.geometry.triangles import Triangles
from volkit.representations.mesh import Mesh
from volkit.typing import Float, Tensor, UInt8

__all__ = ["Asset", "Engine", "Style"]


@dataclass(frozen=True)
class Asset:
    """Meshes and maps of one thing; all parts lie in the local frame of the first level."""

    levels: tuple[Mesh, ...]  # fine first; all name texels of the same texture
    colliders: tuple[Triangles, ...] = ()  # closed and convex
    normal_map: UInt8[Tensor, "height width 3"] | None = None  # tangent space, +Y up, as glTF has it
    metallic_roughness: UInt8[Tensor, "height width 3"] | None = None  # roughness in green, metalness in blue, linear
    occlusion: UInt8[Tensor, "height width"] | None = None  # share of the sky that is free
    unlit: bool = False  # the texture holds light as it was seen, not the colour of the surface
    lightmap_uv: tuple[Float[Tensor, "face 3 2"], ...] = ()  # of each level, by corner, no two faces overlap
    extras: dict[str, Any] = field(default_factory=dict)  # provenance: what it was made of


@dataclass(frozen=True)
class Style:
    """What the file's reader expects: names of parts, pictures, compression, axes (by default the format's)."""

    engine: Engine = "gltf"
    picture: TextureFormat = "png"
    draco: bool = False
    quantize: bool = False
    frame: Frame | None = None
