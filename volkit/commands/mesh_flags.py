"""The options of every command that makes a mesh; what was not typed is None."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from volkit.io.meshes.asset import Style
    from volkit.meshing.options import MeshOptions

__all__ = ["MeshFlags"]

STYLE = ("engine", "texture_format", "draco", "quantize")  # how the file is written
KEEPING = ("collider", "pivot", *STYLE)  # what leaves the surface and the texture of a mesh as they are


@dataclass(frozen=True)
class MeshFlags:
    """What a mesh is to be like."""

    faces: int | None = None
    """How many triangles a mesh may have, by default 50000. 10000 suit a phone, 200000 what is looked at closely."""
    texture: int | None = None
    """Texels a side of a mesh's texture, a power of two, by default 2048."""
    lods: int | None = None
    """Levels of detail, each with a quarter of the faces of the one before it, on the same texture; by default 1."""
    collider: Literal["none", "box", "convex", "hulls"] | None = None
    """Solids to collide with: a box, one convex hull, or several that follow the shape; by default none."""
    engine: Literal["gltf", "unity", "unreal", "godot", "blender"] | None = None
    """Whose names levels and colliders get; by default none's, plain glTF."""
    pivot: Literal["source", "ground"] | None = None
    """Origin: the source's own (the default), or the middle of the lowest point's plane."""
    refine: float | None = None
    """Seconds in which shape and texture learn from the source's own pictures; by default 0."""
    cells: int | None = None
    """How finely a mesh's surface is sought: lattice intervals along the longest side, by default 256."""
    maps: Literal["colour", "normal", "all"] | None = None
    """Textures: colour alone; normals of the surface before it was simplified (the default); all: ambient occlusion
    too."""
    lit: bool = False
    """Keep the light of the capture in the texture, and say that the mesh is to be shown without lamps."""
    watertight: bool = False
    """Close the surface, for physics and for printing; faces that fill gaps come on top of --faces."""
    lightmap: bool = False
    """Give each level a second set of uv without overlap, which engines bake light into."""
    texture_format: Literal["png", "jpeg", "webp"] | None = None
    """How textures are stored, by default as png."""
    draco: bool = False
    """Compress the triangles of a .glb by Draco; Godot reads no such files."""
    quantize: bool = False
    """Store positions, normals and uv of a .glb as integers."""

    @property
    def given(self) -> dict[str, object]:
        """What was typed, by name."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if value is not None and value is not False}

    def options(self) -> "MeshOptions":
        """For the engine; a source that is a mesh is rebuilt where an option asks for another surface or texture."""
        from volkit.meshing.options import MeshOptions

        asked = {name: value for name, value in self.given.items() if name not in STYLE}
        return MeshOptions(**asked, rebuild=any(name not in KEEPING for name in asked))  # pyright: ignore[reportArgumentType]

    def style(self) -> "Style":
        """For the writer."""
        from volkit.io.meshes.asset import Style

        return Style(**{name: value for name, value in self.given.items() if name in STYLE})  # pyright: ignore[reportArgumentType]
