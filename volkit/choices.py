"""Parameters that are one of a few names, and the error for a wrong one.

Nothing heavy is imported, so that a command line is parsed, and refused, before anything heavy is.
"""

from collections.abc import Callable
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

__all__ = [
    "FROM_PYTHON",
    "KINDS",
    "Channel",
    "ColliderShape",
    "ControlKind",
    "Device",
    "Engine",
    "Frame",
    "ParameterError",
    "Precision",
    "Sides",
    "SpzFrame",
    "SpzVersion",
    "TextureFormat",
]

FROM_PYTHON = MappingProxyType({"hidden": True})  # metadata of a field that no command line offers

Channel = Literal["rgb", "depth", "normal", "opacity"]  # of a picture
ColliderShape = Literal["convex", "hulls", "box"]
ControlKind = Literal["normal", "depth", "canny"]  # input of a ControlNet
Device = Literal["auto", "cpu", "cuda"]
Engine = Literal["gltf", "unity", "unreal", "godot", "godot3", "blender"]
Frame = Literal["zup", "yup", "ydown"]  # up axis: +Z in the world, +Y in glTF, -Y in COLMAP and camera frames
Precision = Literal["float32", "float16", "bfloat16"]
Sides = Literal["auto", "words", "perp_neg", "none"]
SpzFrame = Literal["auto", "rub", "ply"]  # axes of an .spz: as its record says, as documented, as in a .ply
SpzVersion = Literal[2, 3, 4]
TextureFormat = Literal["png", "jpeg", "webp"]

# Kinds that can be learnt: those that come with volkit, and those of plug-ins, whose names cost no import of theirs.
BUILT_IN = ("hash_grid", "voxels", "tensor_vm", "tensor_cp", "planes", "mlp", "splats")
KINDS = (*BUILT_IN, *(p.name for p in entry_points(group="volkit.representations") if p.name not in BUILT_IN))
if TYPE_CHECKING:
    LearntKind = AnyKind = str
else:
    LearntKind, AnyKind = Literal[KINDS], Literal[(*KINDS, "mesh")]


class ParameterError(ValueError):
    """A wrong argument, whatever the files hold: an unknown name, a number out of range.

    The message may contain the `names` of parameters in braces, `{to} nonsense: ...`, which a command line spells as
    flags. It ends a command with status 2.
    """

    def __init__(self, message: str, *names: str) -> None:
        self.message, self.names = message, names
        super().__init__(self.spelled(str))

    def spelled(self, spell: Callable[[str], str]) -> str:
        """The message with its parameters spelled another way."""
        text = self.message
        for name in self.names:
            text = text.replace(f"{{{name}}}", spell(name))
        return text
