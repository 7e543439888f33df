"""The options of every command that makes a mesh."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

from volkit.choices import FROM_PYTHON, Engine, TextureFormat
from volkit.commands.options import taken
from volkit.meshing.options import MeshOptions

if TYPE_CHECKING:  # help needs no textures
    from volkit.io.meshes.asset import Style

__all__ = ["MeshFlags", "changes_surface"]

STYLE = ("engine", "texture_format", "draco", "quantize")  # how the file is written
KEEPING = ("collider", "pivot", *STYLE)  # options that leave the surface and the texture of a mesh as they are


@dataclass(frozen=True)
class MeshFlags(MeshOptions):
    """`MeshOptions`, how the file is written, and the names of the options that were typed."""

    engine: Engine = "gltf"
    """Engine whose naming conventions levels and colliders follow; gltf: none."""
    texture_format: TextureFormat = "png"
    """Image format of the textures."""
    draco: bool = False
    """Compress the geometry of a .glb with Draco, which Godot does not read."""
    quantize: bool = False
    """Store positions, normals and uv of a .glb as integers (KHR_mesh_quantization)."""
    typed: tuple[str, ...] = field(default=(), metadata=FROM_PYTHON)
    """Names of the options on the command line, also where their values are the defaults."""

    @property
    def given(self) -> list[str]:
        """Names of options that were typed, or that are not as they are by default."""
        own = [each for each in fields(self) if not each.metadata]
        return [each.name for each in own if each.name in self.typed or getattr(self, each.name) != each.default]

    def options(self) -> MeshOptions:
        """The options of the engine; a source that is a mesh is rebuilt only where an option asks for it."""
        return replace(MeshOptions(**taken(self, MeshOptions)), rebuild=changes_surface(self.given))

    def style(self) -> "Style":
        """The options of the writer."""
        from volkit.io.meshes.asset import Style

        return Style(**{name: getattr(self, name) for name in STYLE})


def changes_surface(names: Iterable[str]) -> bool:
    """Whether any of these options asks for another surface or texture than a mesh has."""
    return any(name not in KEEPING for name in names)
