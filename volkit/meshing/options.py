"""What a mesh is to be like."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["MeshOptions"]


@dataclass(frozen=True)
class MeshOptions:
    """What a mesh is to be like; how its file is written is a matter of `volkit.io.meshes.asset.Style`.

    >>> MeshOptions(faces=20_000, lods=3, collider="hulls").faces
    20000
    """

    faces: int = 50_000
    """Triangles, at most: 10 000 suit a phone, 50 000 a desktop, 200 000 a close look."""
    texture: int = 2048
    """Texels a side, a power of two."""
    cells: int = 256
    """Lattice intervals along the longest side in which the surface is sought."""
    lods: int = 1
    """Levels of detail, each with a quarter of the faces of the one before it, on one texture."""
    refine: float = 0.0
    """Seconds in which shape and texture learn from the source's own pictures."""
    maps: Literal["colour", "normal", "all"] = "normal"
    """Colour alone; normals of the surface before it was simplified; ambient occlusion too."""
    lit: bool = False
    """Keep the light of the capture in the texture, for showing without lamps."""
    watertight: bool = False
    """Close the surface; faces that fill gaps come on top of `faces`."""
    lightmap: bool = False
    """A second set of uv for each level, without overlap."""
    collider: Literal["none", "box", "convex", "hulls"] = "none"
    """Solids to collide with: a box, one convex hull, several that follow the shape."""
    pivot: Literal["source", "ground"] = "source"
    """Origin: the source's own, or the middle of the lowest point's plane."""
    rebuild: bool = True
    """False: a source that is a mesh keeps its surface and texture."""
