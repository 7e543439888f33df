"""Names of levels and colliders that engines understand, and features of glTF that they do not.

Levels are `NAME_LOD0` (finest) to `NAME_LODn`, as in Unity and Unreal. Only the finest is in the scene; the others are
attached to it by MSFT_lod, so that a reader without the extension (glTFast, Blender from 4.5 on, Unreal's own) shows
one level and not all at once. UnityGLTF makes a LODGroup of them, glTFRuntime for Unreal levels of a static mesh;
Babylon.js loads the coarsest first and replaces it. For Godot only the finest is written: Godot 4 generates its own
levels on import, and Godot 3 draws nodes even if they are in no scene.

Colliders are convex meshes without material:
- unreal: `UCX_MESH_00`, a box `UBX_MESH_00`, imported as collision of MESH (Interchange:
  bImportCollisionAccordingToMeshName). Interchange takes one level from a file: coarser ones are in files of their own,
  `NAME_LOD1.glb` and so on, as well;
- godot (4): one static body with a shape for each collider, boxes as boxes, by OMI_physics_body and OMI_physics_shape,
  which Godot 4 reads in the editor and at run time (GLTFDocumentExtensionPhysics). Their nodes have no mesh, so that no
  other program draws them;
- godot3: `NAME_00-convcolonly`, imported as static bodies without a mesh (Godot's node type suffixes);
- elsewhere names mean nothing, and a collider in the scene would be drawn: they are `NAME_collider_00` in a second
  scene, `NAME_colliders`, which Blender imports as a collection;
- unity: UnityGLTF imports the first scene alone, so that they are in a file of their own, `NAME_colliders.glb`.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from volkit.choices import Engine

if TYPE_CHECKING:  # readers need the names, and no torch
    from volkit.io.meshes.asset import Style

__all__ = [
    "DrawnNode",
    "collider_name",
    "colliders_beside",
    "colliders_by_extension",
    "colliders_in_scene",
    "generates_levels",
    "hidden_nodes",
    "level_names",
    "levels_beside",
    "moves_levels_with_finest",
    "safe_stem",
    "screen_coverages",
    "unsupported_features",
]

COLLIDER_NAME = re.compile(
    r"^(?:(?:UCX|UBX|UCP|USP)_(?P<unreal>.+?)(?:_\d+)?|(?P<plain>.+)_collider_\d+)$", re.IGNORECASE
)
GODOT_COLLIDER = re.compile(r"[-$_](conv)?colonly$", re.IGNORECASE)
LEVEL_NAME = re.compile(r"^(?P<stem>.*)_LOD(?P<number>\d+)$", re.IGNORECASE)
# What a file of glTF requires and the importer lacks. Godot: godotengine/godot#56613 (Draco), #120205 (quantization,
# unmerged). Unity: glTFast 6.14 stops at EXT_texture_webp, UnityGLTF 2.21 reads it with a third-party package alone.
# Unreal: Interchange's list of extensions (EExtension, 5.4) has no WebP.
UNSUPPORTED: dict[Engine, tuple[str, ...]] = {
    "godot": ("draco", "quantize"), "godot3": ("draco", "quantize", "webp"), "unity": ("webp",), "unreal": ("webp",)
}  # fmt: skip
GODOT: tuple[Engine, ...] = ("godot", "godot3")
# Godot 4 takes a name that ends so, after digits, blanks and underscores, for what a node is to become
# (resource_importer_scene.cpp, _teststr): `front_wheel` a VehicleWheel3D; `old_noimp` is deleted.
GODOT_WORDS = ("col", "convcol", "colonly", "convcolonly", "noimp", "rigid", "navmesh", "occ", "occonly", "vehicle",
               "wheel", "alpha", "vcol", "loop", "cycle")  # fmt: skip
GODOT_SUFFIX = re.compile(rf"[-_$]({'|'.join(GODOT_WORDS)})[\d\s_]*$", re.IGNORECASE)
SMALLEST_COVERAGE = 0.001  # of the screen's height, a pixel of 1080: 0 would keep the coarsest level at any distance


def level_names(stem: str, count: int) -> list[str]:
    """Names of levels, finest first; a single level is named after the asset."""
    return [stem] if count == 1 else [f"{stem}_LOD{number}" for number in range(count)]


def collider_name(engine: Engine, stem: str, finest: str, number: int, *, box: bool = False) -> str:
    """The name by which the engine recognises a convex collider; `finest` is the name of the mesh it belongs to."""
    if engine == "unreal":
        return f"{'UBX' if box else 'UCX'}_{finest}_{number:02d}"
    if engine == "godot3":
        return f"{stem}_{number:02d}-convcolonly"
    return f"{stem}_collider_{number:02d}"


def colliders_in_scene(engine: Engine) -> bool:
    """Whether the engine recognises colliders in the scene by their names."""
    return engine in ("unreal", *GODOT)


def colliders_by_extension(engine: Engine) -> bool:
    """Whether the engine reads colliders as OMI_physics_body and OMI_physics_shape."""
    return engine == "godot"


def levels_beside(engine: Engine) -> bool:
    """Whether coarser levels are also in files of their own: an importer of the engine takes one from a file."""
    return engine == "unreal"


def colliders_beside(engine: Engine) -> bool:
    """Whether colliders go into a file of their own, since an importer of the engine reads one scene alone."""
    return engine == "unity"


def generates_levels(engine: Engine) -> bool:
    """Whether the engine makes levels by itself, from the finest."""
    return engine in GODOT


def moves_levels_with_finest(engine: Engine) -> bool:
    """Whether the importer hangs coarser levels below the finest one's node: UnityGLTF, each with its own transform."""
    return engine == "unity"


def safe_stem(engine: Engine, stem: str) -> str:
    """The stem as the names of nodes, meshes and materials begin with it: without what Godot takes for a suffix.

    Example:
        >>> safe_stem("godot", "front_wheel"), safe_stem("unity", "front_wheel")
        ('front_wheel_mesh', 'front_wheel')
    """
    if engine not in GODOT:
        return stem
    plain = stem.replace("$", "_")  # `$wheel` counts anywhere in a name
    return f"{plain}_mesh" if GODOT_SUFFIX.search(plain) else plain


def screen_coverages(engine: Engine, faces: Sequence[int]) -> list[float]:
    """MSFT_screencoverage of levels of that many triangles, finest first, as the engine's importer understands it.

    A level is worth `h = √(faces / faces of the finest)` of the screen's height: equal triangles per pixel, full
    screen for the finest. Entry i is the height below which level i gives way to the next; UnityGLTF takes it as
    `screenRelativeTransitionHeight`, and the last entry is where nothing is drawn any more. For Unreal it is the
    height below which level i may be shown, as glTFRuntime takes it for `ScreenSize`.
    """
    heights = [math.sqrt(count / faces[0]) for count in faces]
    shown = heights if engine == "unreal" else [*heights[1:], SMALLEST_COVERAGE]
    return [round(max(height, SMALLEST_COVERAGE), 4) for height in shown]


def unsupported_features(style: "Style") -> list[str]:
    """The features of a style that its engine cannot read."""
    asked = {"draco": style.draco, "quantize": style.quantize, "webp": style.texture_format == "webp"}
    return [feature for feature in UNSUPPORTED.get(style.engine, ()) if asked[feature]]


@dataclass(frozen=True)
class DrawnNode:
    """A node with a mesh, in a scene."""

    number: int
    name: str
    parent: int | None
    plain: bool  # without a material


def hidden_nodes(nodes: Sequence[DrawnNode]) -> set[int]:
    """The numbers of those that are not drawn: colliders, and levels beside a finer one.

    A name alone makes no collider. It has no material and is named after another node (`UCX_MESH_00` or
    `MESH_collider_00` beside MESH or one of its levels), or has the suffix by which Godot asks for a body without a
    mesh. A coarser level has the finer one's parent.
    """
    stems = {node.name for node in nodes} | {match["stem"] for node in nodes if (match := LEVEL_NAME.match(node.name))}
    hidden = {node.number for node in nodes if node.plain and _is_collider(node.name, stems)}
    finest: dict[tuple[int | None, str], int] = {}
    levels = [(node, match) for node in nodes if (match := LEVEL_NAME.match(node.name))]
    for node, match in levels:
        key, number = (node.parent, match["stem"]), int(match["number"])
        finest[key] = min(number, finest.get(key, number))
    return hidden | {n.number for n, match in levels if int(match["number"]) > finest[(n.parent, match["stem"])]}


def _is_collider(name: str, stems: set[str]) -> bool:
    if GODOT_COLLIDER.search(name):
        return True
    match = COLLIDER_NAME.match(name)
    return match is not None and (match["unreal"] or match["plain"]) in stems
