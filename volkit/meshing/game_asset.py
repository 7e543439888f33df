"""From a scan to a game asset: cleaned, upright, scaled, on the ground, meshed, with a preview picture."""

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
INVISIBLE = 1.0 / 255.0  # opacity below that of an 8-bit picture
CLEANING: dict[str, tuple[Action, ...]] = {
    "none": (),
    "light": (KeepOpacity(INVISIBLE),),
    "normal": (KeepOpacity(INVISIBLE), DropFloaters()),
    "strong": (KeepOpacity(5.0 * INVISIBLE), DropFloaters(16, 1.0)),
}
SHEET_AZIMUTHS = (0.0, 90.0, 180.0, 270.0)  # from the front on


@dataclass(frozen=True)
class AssetPlan:
    """Options of `make_game_asset`."""

    height: float | None = None
    """Height of the mesh, in metres; None: that of the scan."""
    up: UpAxis = "auto"
    """The axis of the scan that points up; auto: as in its file or format."""
    turn: float = 0.0
    """Rotation about that axis in degrees, so that its front faces -Y, which is +Z in glTF."""
    clean: Cleaning = "normal"
    """Cleaning of splats: `light` removes invisible ones, `normal` floaters as well, `strong` more of both."""
    mesh: MeshOptions = field(default_factory=lambda: MeshOptions(faces=20_000, texture=1024, lods=3, collider="hulls"))
    """Options of the mesh, whose pivot is the ground."""
    size: int | None = None
    """Longest side in pixels of the pictures of the scan; None: as in `extract_mesh`."""
    preview: int = 320
    """Pixels a side of each view of the contact sheet."""


DEFAULT_PLAN = AssetPlan()


@dataclass(frozen=True)
class GameAsset:
    """A scan and its mesh in one place: +Z up, metres, standing on the world's origin.

    Attributes:
        scene: the scan, cleaned, upright and scaled.
        asset: the mesh with levels and colliders.
        preview: pictures from four sides, of the scan above and of the mesh below.
        steps: a line for each step that was done.
        size: of the mesh along x, y and z, metres.
    """

    scene: Representation
    asset: Asset
    preview: Float[Tensor, "height width 3"]
    steps: tuple[str, ...]
    size: tuple[float, float, float]


def make_game_asset(
    scene: Representation,
    plan: AssetPlan = DEFAULT_PLAN,
    *,
    seed: int | torch.Generator = 0,
    progress: Progress | None = None,
) -> GameAsset:
    """Clean a scan, place it upright on the ground, scale it, and extract a mesh with levels and colliders.

    Invisible splats and floaters are removed; a mesh keeps its surface and texture where `plan.mesh.rebuild` is false.
    The height is that of the finished mesh.

    Args:
        scene: the scan, which stays as it is.
        plan: height, up axis, cleaning, options of the mesh.
        seed: a number or a CPU generator.
        progress: receives phases.

    Raises:
        ValueError: no surface is visible, the height is not positive, or options contradict each other.

    Example:
        >>> made = make_game_asset(volkit.load("scan.ply"), AssetPlan(height=0.3))  # doctest: +SKIP
        >>> made.size, [len(level.faces) for level in made.asset.levels]  # doctest: +SKIP
    """
    if plan.height is not None and not 0.0 < plan.height < float("inf"):
        raise ParameterError(f"height {plan.height}: give a positive number of metres")
    progress, generator, steps = progress or Progress(), make_generator(seed), []
    with progress.phase("clean"):
        scene = _clean(scene, plan.clean, generator, steps.append)
    scene = edit(_set_upright(scene, plan.up, steps.append), [Ground(), Move.rotate("z", plan.turn)], seed=generator)
    if plan.turn:
        steps.append(f"turned by {plan.turn:g} degrees")
    lower, upper = robust_box(scene)
    scan_height = float(upper[2] - lower[2])
    if plan.height is not None and scan_height > 0.0:
        scene = edit(scene, [Move.scale(plan.height / scan_height)], seed=generator)
    options = replace(plan.mesh, pivot="source")
    asset = extract_mesh(scene, options, size=plan.size, seed=generator, progress=progress)
    scene, asset = _move_to_ground(scene, asset, plan.height)
    size = _measure_extent(asset.mesh)
    factor = size[2] / scan_height if scan_height > 0.0 else 1.0
    scaled = f"scaled by {factor:.4g}" if plan.height is not None else "in the scan's own size"
    steps.append(f"set on the ground, {scaled}: {' x '.join(f'{side:.3g}' for side in size)} m")
    steps.append(_describe(asset))
    with progress.phase("preview"):
        rows = [contact_sheet(each, plan.preview) for each in (scene, asset.mesh)]
    return GameAsset(scene, asset, torch.cat(rows), tuple(steps), size)


def contact_sheet(scene: Representation, size: int) -> Float[Tensor, "height width 3"]:
    """Pictures over white from the front, the right, the back and the left, side by side, `size` pixels each."""
    cameras = cameras_around(scene, SHEET_AZIMUTHS, Viewpoint(), (size, size)).to(scene.device)
    return torch.cat([render_over(scene, cameras[[index]], WHITE) for index in range(len(cameras))], 1)


def _clean(
    scene: Representation, cleaning: Cleaning, generator: torch.Generator, note: Callable[[str], None]
) -> Representation:
    """Splats after cleaning; other kinds as they are."""
    before = scene.splat_count
    if before is None or cleaning == "none":
        return scene
    cleaned = edit(scene, CLEANING[cleaning], seed=generator)
    note(f"cleaned ({cleaning}): {before - (cleaned.splat_count or 0)} of {before} splats removed")
    return cleaned


def _set_upright(scene: Representation, up: UpAxis, note: Callable[[str], None]) -> Representation:
    """The scene with the requested up axis, or that of its file."""
    if up == "auto":
        note(f"up is {UP_AXIS[scene.frame]}, as in the file")
        return scene
    note(f"up is {up}, as requested")
    if up in UP_FRAMES:
        return scene.view(placement=Placement(scene.world_from_local, UP_FRAMES[up]))
    upside_down = Move.rotate("x", 180.0).new_from_old
    return edit(scene.view(placement=Placement(scene.world_from_local, "zup")), [Move(upside_down)])


def _move_to_ground(scene: Representation, asset: Asset, height: float | None) -> tuple[Representation, Asset]:
    """Scan and mesh moved together, so that the mesh stands on the origin and has exactly the requested height."""
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


def _measure_extent(mesh: Mesh) -> tuple[float, float, float]:
    world = mesh.world_from_local.points(mesh.vertices.double())
    x, y, z = (world.amax(0) - world.amin(0)).tolist()
    return x, y, z


def _describe(asset: Asset) -> str:
    counts = ", ".join(str(len(level.faces)) for level in asset.levels)
    levels = "level" if len(asset.levels) == 1 else "levels"
    mesh = asset.mesh
    colours = "colours at the vertices" if mesh.config.coloured else "one colour"
    if mesh.config.images:
        own = f"{len(mesh.config.images)} images, {len(asset.materials)} materials"
        colours = f"a texture of {len(mesh.texture)} texels a side" if mesh.has_one_texture else own
    solids = f"{len(asset.colliders)} colliders" if asset.colliders else "no collider"
    return f"mesh: {len(asset.levels)} {levels} of {counts} triangles, {colours}, {solids}"
