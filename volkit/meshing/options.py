"""What a mesh is to be like: the options of `--to mesh`."""

from dataclasses import dataclass, fields
from typing import Literal

from volkit.choices import Engine, TextureFormat
from volkit.io.meshes.asset import Style

__all__ = ["MeshOptions"]

DRESS = {"collider", "pivot", "engine", "picture", "draco", "quantize"}  # what leaves surface and texture as they are


@dataclass(frozen=True)
class MeshOptions:
    """What a mesh is to be like, with --to mesh."""

    faces: int = 50_000
    """How many triangles a mesh may have. 10000 suit a phone, 50000 a desktop, 200000 what is looked at closely."""
    texture: int = 2048
    """Texels a side of a mesh's texture, a power of two."""
    cells: int = 256
    """How finely a mesh's surface is sought: lattice intervals along the longest side."""
    lods: int = 1
    """Levels of detail, each with a quarter of the faces of the one before it, on the same texture."""
    refine: float = 0.0
    """Seconds in which shape and texture learn from the source's own pictures."""
    maps: Literal["colour", "normal", "all"] = "normal"
    """Textures: colour alone, normals of the surface before it was simplified, all: free sky (occlusion) too."""
    lit: bool = False
    """Keep the light of the capture in the texture, and say that the mesh is to be shown without lamps."""
    watertight: bool = False
    """Close the surface, for physics and for printing; faces that fill gaps come on top of --faces."""
    lightmap: bool = False
    """Give each level a second set of uv without overlap, which engines bake light into."""
    collider: Literal["none", "box", "convex", "hulls"] = "none"
    """Solids to collide with: a box, one convex hull, or several that follow the shape."""
    pivot: Literal["source", "ground"] = "source"
    """Origin: the source's own, or the middle of the lowest point's plane."""
    engine: Engine = "gltf"
    """Whose names levels and colliders get."""
    picture: TextureFormat = "png"
    """How textures are stored."""
    draco: bool = False
    """Compress the triangles of a .glb by Draco; Godot reads no such files."""
    quantize: bool = False
    """Store positions, normals and uv of a .glb as integers."""

    @property
    def style(self) -> Style:
        """How the file is written."""
        return Style(self.engine, self.picture, self.draco, self.quantize)

    @property
    def remakes(self) -> bool:
        """Whether a source that is a mesh must get a new surface or texture."""
        return any(getattr(self, f.name) != f.default for f in fields(self) if f.name not in DRESS)
