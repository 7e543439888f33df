"""What engines read out of the names of parts, and what of glTF each cannot read.

Levels are `NAME_LOD0` (fine) to `NAME_LODn`, as Unity and Unreal name them. Only the finest stands in the scene; the
others hang on it by MSFT_lod (Khronos' vendor extension; read by UnityGLTF, glTFRuntime for Unreal and Babylon.js), so
that a reader without it (glTFast, Blender, Unreal's own) shows one level, never all at once. For Godot only the finest
is written: Godot 4 makes levels of its own on import, and Godot 3 draws nodes that stand in no scene as well.

Colliders are convex meshes without material:
- unreal: `UCX_MESH_00`, imported as collision of MESH (Interchange: bImportCollisionAccordingToMeshName);
- godot: `NAME_00-convcolonly`, imported as static bodies without a mesh (Godot's node type suffixes);
- elsewhere no name has a meaning, and a solid in the scene would be drawn: they are `NAME_collider_00` in a second
  scene `NAME_colliders`. glTFast for Unity imports each scene as an object, Blender as a collection.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from volkit.choices import Engine

if TYPE_CHECKING:  # readers, too, ask what names mean, and need no torch for it
    from volkit.io.meshes.asset import Style

__all__ = ["collider_name", "colliders_in_scene", "level_names", "makes_levels", "unreadable", "unseen"]

COLLIDER = re.compile(r"^(UCX|UBX|UCP|USP)_|[-$_](conv)?colonly$|_collider_\d+$", re.IGNORECASE)
LEVEL = re.compile(r"^(?P<stem>.*)_LOD(?P<number>\d+)$", re.IGNORECASE)
# Godot refuses files that need what it lacks: godotengine/godot#56613 (Draco), #120205 (quantization, not merged).
CANNOT: dict[Engine, tuple[str, ...]] = {"godot": ("draco", "quantize")}


def level_names(stem: str, count: int) -> list[str]:
    """Names of levels, fine first; one alone bears the asset's own name."""
    return [stem] if count == 1 else [f"{stem}_LOD{number}" for number in range(count)]


def collider_name(engine: Engine, stem: str, finest: str, number: int) -> str:
    """The name by which the engine knows a convex solid to collide with; `finest` is the mesh that it belongs to."""
    if engine == "unreal":
        return f"UCX_{finest}_{number:02d}"
    if engine == "godot":
        return f"{stem}_{number:02d}-convcolonly"
    return f"{stem}_collider_{number:02d}"


def colliders_in_scene(engine: Engine) -> bool:
    """Whether the engine takes colliders out of the scene by their names."""
    return engine in ("unreal", "godot")


def makes_levels(engine: Engine) -> bool:
    """Whether the engine wants the finest level alone."""
    return engine == "godot"


def unreadable(style: "Style") -> list[str]:
    """What of a style its engine cannot read."""
    return [option for option in CANNOT.get(style.engine, ()) if getattr(style, option)]


def unseen(names: Iterable[str]) -> set[str]:
    """Of all names in a scene, those of colliders, and of levels beside a finer one."""
    levels = {name: match for name in names if (match := LEVEL.match(name))}
    finest: dict[str, int] = {}
    for match in levels.values():
        number = int(match["number"])
        finest[match["stem"]] = min(number, finest.get(match["stem"], number))
    coarse = {name for name, match in levels.items() if int(match["number"]) > finest[match["stem"]]}
    return coarse | {name for name in names if COLLIDER.search(name)}
