"""What a parameter may be where it is one of a few words, and the error for one that cannot be.

Nothing is imported here, so that a command line is read, and found wrong, before anything heavy is.
"""

from typing import Literal

__all__ = [
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
    "TextureFormat",
]

Channel = Literal["rgb", "depth", "normal", "opacity"]  # of a picture
ColliderShape = Literal["convex", "hulls", "box"]
ControlKind = Literal["normal", "depth", "canny"]  # what a ControlNet is told
Device = Literal["auto", "cpu", "cuda"]
Engine = Literal["gltf", "unity", "unreal", "godot", "blender"]
Frame = Literal["zup", "yup", "ydown"]  # what is up: +Z in the world, +Y in glTF, -Y where COLMAP and cameras have it
Precision = Literal["float32", "float16", "bfloat16"]
Sides = Literal["auto", "words", "perp_neg", "none"]
SpzFrame = Literal["rub", "ply", "auto"]  # axes of an .spz: as documented, as in a .ply, as the file's record says
TextureFormat = Literal["png", "jpeg", "webp"]


class ParameterError(ValueError):
    """An argument cannot mean anything, whatever the files hold: a wrong word, a number out of its range.

    On the command line it ends a command with status 2.
    """
