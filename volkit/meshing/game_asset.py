"""The whole way from a scan to a game asset: cleaned, upright, sized, on the ground, meshed, with a picture of it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import torch

from volkit.choices import ParameterError
from volkit.editing import DropFloaters, Ground, KeepOpacity, Move, edit
from volkit.editing.action import Action
from volkit.editing.move import robust_box
from volkit.evaluation.evaluate import WHITE, render_over
from volkit.geometry import UP_AXIS, Frame, Similarity
from volkit.io.meshes.asset import Asset
from volkit.meshing.options import MeshOptions
from volkit.meshing.pipeline import extract_mesh
from volkit.progress import Progress
from volkit.rendering.orbits import Viewpoint, cameras_around
from volkit.representations import Mesh, Placement, Representation
from volkit.training.run import make_generator
from volkit.typing import Float, Tensor

__all__ = ["AssetPlan", "Cleaning", "GameAsset", "UpAxis", "contact_sheet", "make_game_asset"]

UpAxis = Literal["auto", "z", "-z", "y", "-y"]
Cleaning = Literal["none", "light", "normal", "strong"]
UP_FRAMES: dict[str, Frame] = {"z": "zup", "y": "yup", "-y": "ydown"}
INVISIBLE = 1.0 / 255.0  # opacity that no 8-bit picture shows
CLEANING: dict[str, tuple[Action, ...]] = {
    "none": (),
    "light": (KeepOpacity(INVISIBLE),),
    "normal": (KeepOpacity(INVISIBLE), DropFloaters()),
    "strong": (KeepOpacity(5.0 * INVISIBLE), DropFloaters(16, 1.0)),
}
SHEET_AZIMUTHS = (0.0, 90.0, 180.0, 270.0)  # from the front on


@dataclass(frozen=True)
class AssetPlan:
    """What an asset is to be like."""

    height: float | None = None
    """Of the mesh, in metres; None: as high as the scan."""
    up: UpAxis = "auto"
    """The axis of the scan that is up; auto: as its file says, or as its format has it."""
    turn: float = 0.0
    """Degrees by which it is turned about that axis, so that its front faces -Y, which is +Z in glTF."""
    clean: Cleaning = "normal"
    """Of splats: `light` leaves out what no picture shows, `normal` floaters as well, `strong` more of both."""
    mesh: MeshOptions = field(default_factory=lambda: MeshOptions(faces=20_000, texture=1024, lods=3, collider="hulls"))
    """The mesh itself; its pivot is the ground."""
    size: int | None = None
    """Longest side in pixels of the pictures by which the scan is asked; None: as `extract_mesh` has it."""
    preview: int = 320
    """Pixels a side of each view of the contact sheet."""


PLAN = AssetPlan()


@dataclass(frozen=True)
class GameAsset:
    """What came of a scan; scene and asset lie in the same place: +Z up, metres, standing on the world's origin."""

    scene: Representation  # cleaned, upright, sized
    asset: Asset
    preview: Float[Tensor, "height width 3"]  # above the scan, below the mesh, from four sides
    steps: tuple[str, ...]  # what was done, in words
    size: tuple[float, float, float]  # of the mesh, metres


def make_game_asset(
    scene: Representation,
    plan: AssetPlan = PLAN,
    *,
    seed: int | torch.Generator = 0,
    progress: Progress | None = None,
) -> GameAsset:
    """Clean a scan, set it upright on the ground, bring it to size, and make a mesh with levels and colliders of it.

    The scene that is given stays as it is. Floaters and what is invisible are left out of splats; a mesh keeps its
    surface and texture where `plan.mesh.rebuild` is false. The height is that of the finished mesh.

    Raises:
        ValueError: no surface is seen, a height that is none, options that contradict each other.

    Example:
        >>> made = make_game_asset(volkit.load("scan.ply"), AssetPlan(height=0.3))  # doctest: +SKIP
        >>> made.size, [len(level.faces) for level in made.asset.levels]  # doctest: +SKIP
    """
    if plan.height is not None and not 0.0 < plan.height < float("inf"):
        raise ParameterError(f"height {plan.height}: give a positive number of metres")
    progress, generator, steps = progress or Progress(), make_generator(seed), []
    with progress.phase("clean"):
        scene = _cleaned(scene, plan.clean, generator, steps.append)
    scene = edit(_upright(scene, plan.up, steps.append), [Ground(), Move.rotate("z", plan.turn)], seed=generator)
    if plan.turn:
        steps.append(f"turned by {plan.turn:g} degrees")
    lower, upper = robust_box(scene)
    tall = float(upper[2] - lower[2])
    if plan.height is not None and tall > 0.0:
        scene = edit(scene, [Move.scale(plan.height / tall)], seed=generator)
    options = replace(plan.mesh, pivot="source")
    asset = extract_mesh(scene, options, size=plan.size, seed=generator, progress=progress)
    scene, asset = _on_ground(scene, asset, plan.height)
    size = _extent(asset.mesh)
    factor = size[2] / tall if tall > 0.0 else 1.0
    scaled = f"scaled by {factor:.4g}" if plan.height is not None else "in the scan's own size"
    steps.append(f"set on the ground, {scaled}: {' x '.join(f'{side:.3g}' for side in size)} m")
    steps.append(_mesh_in_words(asset))
    with progress.phase("preview"):
        rows = [contact_sheet(each, plan.preview) for each in (scene, asset.mesh)]
    return GameAsset(scene, asset, torch.cat(rows), tuple(steps), size)


def contact_sheet(scene: Representation, size: int) -> Float[Tensor, "height width 3"]:
    """Pictures over white from the front, the right, the back and the left, side by side, `size` pixels each."""
    cameras = cameras_around(scene, SHEET_AZIMUTHS, Viewpoint(), (size, size)).to(scene.device)
    return torch.cat([render_over(scene, cameras[[index]], WHITE) for index in range(len(cameras))], 1)


def _cleaned(
    scene: Representation, cleaning: Cleaning, generator: torch.Generator, tell: Callable[[str], None]
) -> Representation:
    """Splats without those that nobody wants; other kinds as they are."""
    before = scene.splat_count
    if before is None or cleaning == "none":
        return scene
    cleaned = edit(scene, CLEANING[cleaning], seed=generator)
    tell(f"cleaned ({cleaning}): {before - (cleaned.splat_count or 0)} of {before} splats left out")
    return cleaned


def _upright(scene: Representation, up: UpAxis, tell: Callable[[str], None]) -> Representation:
    """The scene with its frame as it was said, or as its file has it."""
    if up == "auto":
        tell(f"up is {UP_AXIS[scene.frame]}, as the file has it")
        return scene
    tell(f"up is {up}, as it was said")
    if up in UP_FRAMES:
        return scene.view(placement=Placement(scene.world_from_local, UP_FRAMES[up]))
    upside_down = Move.rotate("x", 180.0).new_from_old
    return edit(scene.view(placement=Placement(scene.world_from_local, "zup")), [Move(upside_down)])


def _on_ground(scene: Representation, asset: Asset, height: float | None) -> tuple[Representation, Asset]:
    """Both moved alike: the mesh stands on the origin, and is exactly as high as asked for."""
    place = asset.mesh.world_from_local
    world = place.points(asset.mesh.vertices.double())
    low, high = world.amin(0), world.amax(0)
    scale = 1.0 if height is None else height / float(high[2] - low[2])
    middle = torch.cat([0.5 * (low + high)[:2], low[2:]])
    move = Similarity(scale=scale, translation=tuple((-scale * middle).tolist()))
    placement = Placement(move @ place, "zup")
    levels = tuple(level.view(placement=placement, capture=None) for level in asset.levels)
    moved = edit(scene, [Move(move)])
    return moved, replace(asset, levels=levels)


def _extent(mesh: Mesh) -> tuple[float, float, float]:
    world = mesh.world_from_local.points(mesh.vertices.double())
    x, y, z = (world.amax(0) - world.amin(0)).tolist()
    return x, y, z


def _mesh_in_words(asset: Asset) -> str:
    counts = ", ".join(str(len(level.faces)) for level in asset.levels)
    levels = "level" if len(asset.levels) == 1 else "levels"
    texture = asset.mesh.config.texture[0]
    colours = f"a texture of {texture} texels a side" if texture else "colours at the vertices"
    solids = f"{len(asset.colliders)} colliders" if asset.colliders else "no collider"
    return f"mesh: {len(asset.levels)} {levels} of {counts} triangles, {colours}, {solids}"
