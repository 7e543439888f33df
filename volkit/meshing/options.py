"""Options of `extract_mesh`."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["MeshOptions"]


@dataclass(frozen=True)
class MeshOptions:
    """Options of `extract_mesh`; those of writing its file are `volkit.io.meshes.asset.Style`.

    Example:
        >>> MeshOptions(faces=20_000, lods=3, collider="hulls").faces
        20000
    """

    faces: int = 50_000
    """Largest number of triangles: 10 000 suit a phone, 50 000 a desktop, 200 000 a close view."""
    texture: int = 2048
    """Texels a side, a power of two."""
    cells: int = 256
    """Intervals along the longest side of the lattice on which the surface is extracted."""
    lods: int = 1
    """Levels of detail, each with a quarter of the faces of the one before it, on one texture."""
    refine: float = 0.0
    """Seconds of training of shape and texture on pictures of the source."""
    maps: Literal["colour", "normal", "all"] = "normal"
    """Maps: colour alone; with normals of the surface before simplification; with ambient occlusion too."""
    lit: bool = False
    """Keep the light of the capture in the texture, for unlit display."""
    watertight: bool = False
    """Close the surface; faces that fill gaps come on top of `faces`."""
    lightmap: bool = False
    """A second set of uv for each level, without overlap."""
    collider: Literal["none", "box", "convex", "hulls"] = "none"
    """Colliders: a box, one convex hull, or several that follow the shape."""
    pivot: Literal["source", "ground"] = "source"
    """Origin: that of the source, or the centre of the box's bottom."""
    rebuild: bool = True
    """False: a source that is a mesh keeps its surface and texture."""
