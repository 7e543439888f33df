"""Options of `extract_mesh`; light to import, so that a command line is read before anything heavy is."""

from dataclasses import dataclass, field
from typing import Literal

from volkit.choices import FROM_PYTHON

__all__ = ["MeshOptions"]


@dataclass(frozen=True)
class MeshOptions:
    """Options of `extract_mesh`; those of writing its file are `volkit.io.meshes.asset.Style`.

    Example:
        >>> MeshOptions(faces=20_000, lods=3, collider="hulls").faces
        20000
    """

    faces: int = 50_000
    """Largest number of triangles: 10000 suit a phone, 50000 a desktop, 200000 a close view."""
    texture: int = 2048
    """Texels a side of the texture, a power of two."""
    lods: int = 1
    """Levels of detail, each with a quarter of the faces of the one before it, on one texture."""
    collider: Literal["none", "box", "convex", "hulls"] = "none"
    """Colliders: a box, one convex hull, or several hulls that follow the shape."""
    pivot: Literal["source", "ground"] = "source"
    """Origin: that of the source, or the centre of the bounding box's bottom."""
    refine: float = 0.0
    """Seconds of training of shape and texture on pictures of the source, after the extraction."""
    cells: int = 256
    """Resolution of the extraction: lattice intervals along the longest side."""
    maps: Literal["colour", "normal", "all"] = "normal"
    """Maps: colour alone; with normals of the surface before simplification; all: with ambient occlusion too."""
    lit: bool = False
    """Keep the light of the capture in the texture, for unlit display."""
    watertight: bool = False
    """Close the surface, as physics and 3D printing need it; faces that close gaps are added to the limit."""
    lightmap: bool = False
    """Add a second uv set without overlap to each level, for engines that bake light."""
    rebuild: bool = field(default=True, metadata=FROM_PYTHON)
    """False: a source that is a mesh keeps its surface and texture."""
