"""Names of levels and colliders that engines understand, and features of glTF that they do not.

Levels are `NAME_LOD0` (finest) to `NAME_LODn`, as in Unity and Unreal. Only the finest is in the scene; the others are
attached to it by MSFT_lod (read by UnityGLTF, glTFRuntime for Unreal and Babylon.js), so that a reader without the
extension (glTFast, Blender, Unreal's own) shows one level and not all at once. For Godot only the finest is written:
Godot 4 generates its own levels on import, and Godot 3 draws nodes even if they are in no scene.

Colliders are convex meshes without material:
- unreal: `UCX_MESH_00`, imported as collision of MESH (Interchange: bImportCollisionAccordingToMeshName);
- godot: `NAME_00-convcolonly`, imported as static bodies without a mesh (Godot's node type suffixes);
- elsewhere names mean nothing, and a collider in the scene would be drawn: they are `NAME_collider_00` in a second
  scene, `NAME_colliders`. glTFast for Unity imports each scene as an object, Blender as a collection.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from volkit.choices import Engine

if TYPE_CHECKING:  # readers need the names, and no torch
    from volkit.io.meshes.asset import Style

__all__ = [
    "collider_name",
    "colliders_in_scene",
    "generates_levels",
    "hidden_names",
    "level_names",
    "unsupported_options",
]

COLLIDER_NAME = re.compile(r"^(UCX|UBX|UCP|USP)_|[-$_](conv)?colonly$|_collider_\d+$", re.IGNORECASE)
LEVEL_NAME = re.compile(r"^(?P<stem>.*)_LOD(?P<number>\d+)$", re.IGNORECASE)
# Godot refuses files that require what it lacks: godotengine/godot#56613 (Draco), #120205 (quantization, unmerged).
UNSUPPORTED: dict[Engine, tuple[str, ...]] = {"godot": ("draco", "quantize")}


def level_names(stem: str, count: int) -> list[str]:
    """Names of levels, finest first; a single level is named after the asset."""
    return [stem] if count == 1 else [f"{stem}_LOD{number}" for number in range(count)]


def collider_name(engine: Engine, stem: str, finest: str, number: int) -> str:
    """The name by which the engine recognises a convex collider; `finest` is the name of the mesh it belongs to."""
    if engine == "unreal":
        return f"UCX_{finest}_{number:02d}"
    if engine == "godot":
        return f"{stem}_{number:02d}-convcolonly"
    return f"{stem}_collider_{number:02d}"


def colliders_in_scene(engine: Engine) -> bool:
    """Whether the engine recognises colliders in the scene by their names."""
    return engine in ("unreal", "godot")


def generates_levels(engine: Engine) -> bool:
    """Whether the engine makes levels by itself, from the finest."""
    return engine == "godot"


def unsupported_options(style: "Style") -> list[str]:
    """The options of a style that its engine cannot read."""
    return [option for option in UNSUPPORTED.get(style.engine, ()) if getattr(style, option)]


def hidden_names(names: Iterable[str]) -> set[str]:
    """Names that are not drawn: of colliders, and of levels beside a finer one."""
    levels = {name: match for name in names if (match := LEVEL_NAME.match(name))}
    finest: dict[str, int] = {}
    for match in levels.values():
        number = int(match["number"])
        finest[match["stem"]] = min(number, finest.get(match["stem"], number))
    coarse = {name for name, match in levels.items() if int(match["number"]) > finest[match["stem"]]}
    return coarse | {name for name in names if COLLIDER_NAME.search(name)}
