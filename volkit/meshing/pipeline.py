"""A scene becomes an asset: dense surface, levels of detail, one atlas, textures, colliders; one value that grows."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import torch

from volkit.choices import ParameterError
from volkit.evaluation.metrics import surface_distances
from volkit.extras import advice
from volkit.geometry import Cameras, Similarity
from volkit.geometry.triangles import Triangles
from volkit.io.meshes.asset import Asset, AssetFigures, LevelFigures, RefineFigures
from volkit.meshing.bake import bake_texture
from volkit.meshing.colliders import build_colliders
from volkit.meshing.maps import bake_normals, bake_occlusion
from volkit.meshing.options import MeshOptions
from volkit.meshing.refine import refine_mesh
from volkit.meshing.simplify import check_levels, make_levels
from volkit.meshing.surface import dense_surface
from volkit.meshing.unwrap import Atlas, unwrap
from volkit.meshing.watertight import make_watertight
from volkit.progress import Progress
from volkit.rendering.viewpoints import distillation_cameras
from volkit.representations import Mesh, Placement, Representation
from volkit.sampling.occupancy_grid import marked
from volkit.typing import Tensor, UInt8

__all__ = ["MeshStages", "check_libraries", "extract_mesh", "free_memory", "missing_libraries", "move_to_ground"]

LIBRARIES = ("coacd", "embreex", "fast_simplification", "manifold3d", "scipy", "skimage", "trimesh", "xatlas")
VISIBILITY_VIEWS = 160  # cameras that say what is seen
COLOUR_VIEWS = 64  # of them, pictures that depth and colour come from
COMPARED_POINTS = 50_000  # drawn to compare surfaces
F_SCORE_SHARE = 0.01  # of the diagonal, of an F-score
MAX_TEXTURE_SIZE = 16384  # texels a side
BYTES_PER_TEXEL = 200  # bytes that one takes while a texture is made
LIGHTMAP_SIZE = 1024  # texels a side of a lightmap, for which gutters are kept
PLAIN = MeshOptions()


@dataclass(frozen=True)
class MeshStages:
    """A mesh in the making: the question at first, then the answer part by part; every stage returns it with one more.

    Surfaces and atlases lie in the source's local frame, cameras in the world's.
    """

    source: Representation
    options: MeshOptions
    cameras: Cameras  # say what is seen
    views: Cameras  # of them, those whose pictures depth and colour come from
    generator: torch.Generator
    dense: Triangles | None = None
    levels: tuple[Triangles, ...] = ()  # fine first
    atlases: tuple[Atlas, ...] = ()  # of the levels, on one texture
    texture: UInt8[Tensor, "height width 4"] | None = None
    metallic_roughness: UInt8[Tensor, "height width 3"] | None = None
    refined: RefineFigures | None = None
    asset: Asset | None = None


def extract_mesh(
    scene: Representation,
    options: MeshOptions = PLAIN,
    *,
    cameras: Cameras | None = None,
    size: int | None = None,
    seed: int | torch.Generator = 0,
    progress: Progress | None = None,
) -> Asset:
    """Make a textured mesh of a scene of any kind: an asset with levels of detail, maps and colliders.

    Fields are cut at a level of their density (marching cubes), splats and meshes by fused depth pictures; colours are
    baked from pictures of the source. With `options.rebuild=False` a mesh keeps its surface and texture.

    Args:
        scene: field, splats or mesh; it is only asked.
        options: what the mesh is to be like.
        cameras: world-frame cameras to ask from; by default those of the scene's capture and some between them, or a
            shell around the scene.
        size: longest side in pixels of the pictures asked for; by default that of the capture, else 400.
        seed: a number, or a CPU generator that goes on from where it is.
        progress: told of every stage.

    Returns:
        The asset in the scene's own frame (with `pivot="ground"` +Z up and on the world's origin); `asset.figures` says
        what was measured. `volkit.io.meshes.writer.write_asset` writes it.

    Raises:
        ValueError: no surface is seen, or options contradict each other.
        RuntimeError: a library that meshing needs is not installed.

    Example:
        >>> asset = extract_mesh(scene, MeshOptions(faces=20_000, lods=3, collider="hulls"))  # doctest: +SKIP
        >>> [len(level.faces) for level in asset.levels]  # doctest: +SKIP
        [20000, 5000, 1250]
    """
    progress, started = progress or Progress(), time.perf_counter()
    generator = torch.Generator().manual_seed(seed) if isinstance(seed, int) else seed
    if isinstance(scene, Mesh) and not options.rebuild:
        asset = _passthrough(scene, options, progress)
    else:
        with marked(scene):
            asset = _rebuild(scene, options, _cameras(scene, cameras, size, generator), generator, progress)
    asset = move_to_ground(asset) if options.pivot == "ground" else asset
    assert asset.figures is not None
    return replace(asset, figures=replace(asset.figures, seconds=round(time.perf_counter() - started, 2)))


def _cameras(scene: Representation, cameras: Cameras | None, size: int | None, generator: torch.Generator) -> Cameras:
    if cameras is None:
        return distillation_cameras(scene, VISIBILITY_VIEWS, size, generator)
    return cameras if size is None else cameras.resized(size)


def _rebuild(
    scene: Representation, options: MeshOptions, cameras: Cameras, generator: torch.Generator, progress: Progress
) -> Asset:
    """All stages in their order."""
    _check(options)
    views = cameras[torch.randperm(len(cameras), generator=generator)[:COLOUR_VIEWS]]
    stages = MeshStages(scene, options, cameras, views, generator)
    seconds: dict[str, float] = {}
    for title, stage in STAGES:
        if title == "refine" and not options.refine > 0:
            continue
        started = time.perf_counter()
        with progress.phase(title):
            stages = stage(stages, progress)
        seconds[title] = round(time.perf_counter() - started, 2)
    assert stages.asset is not None and stages.asset.figures is not None
    return replace(stages.asset, figures=replace(stages.asset.figures, stages=seconds))


def extract_surface(made: MeshStages, progress: Progress) -> MeshStages:
    """The dense surface: what is seen of it, without small components, closed where that is asked for."""
    dense = dense_surface(made.source, made.cameras, made.views, made.options.cells, made.generator)
    return replace(made, dense=make_watertight(dense) if made.options.watertight else dense)


def simplify_levels(made: MeshStages, progress: Progress) -> MeshStages:
    """Surfaces of the levels of detail."""
    assert made.dense is not None
    surfaces = make_levels(made.dense, made.options.faces, made.options.lods)
    if made.options.watertight:  # fewer faces may leave gaps
        surfaces = tuple(make_watertight(surface) for surface in surfaces)
    return replace(made, levels=surfaces)


def unwrap_levels(made: MeshStages, progress: Progress) -> MeshStages:
    """Charts of all levels, on one texture."""
    return replace(made, atlases=tuple(unwrap(made.levels, made.options.texture)))


def bake_colours(made: MeshStages, progress: Progress) -> MeshStages:
    """Base colour, and the roughness and metalness of a source that has them."""
    options, scene = made.options, made.source
    texture = bake_texture(scene, made.atlases, made.views, options.texture, lit=options.lit)
    material = scene.as_metallic_roughness() if isinstance(scene, Mesh) else None
    if material is None:
        return replace(made, texture=texture)
    baked = bake_texture(material, made.atlases, made.views, options.texture)
    return replace(made, texture=texture, metallic_roughness=baked[..., :3])


def refine_finest(made: MeshStages, progress: Progress) -> MeshStages:
    """The finest level and the texture, after they have learnt from the source's pictures."""
    assert made.texture is not None
    better = refine_mesh(
        made.source, made.atlases[0], made.texture, made.cameras, made.options.refine, made.generator, progress.advance
    )
    figures = RefineFigures(better.psnr_before, better.psnr_after, better.steps, better.views)
    return replace(
        made,
        levels=(better.atlas.surface, *made.levels[1:]),
        atlases=(better.atlas, *made.atlases[1:]),
        texture=better.texture,
        refined=figures,
    )


def assemble_asset(made: MeshStages, progress: Progress) -> MeshStages:
    """Levels, colliders and the maps of what the levels have lost."""
    options, dense, texture = made.options, made.dense, made.texture
    assert dense is not None and texture is not None
    surfaces = made.levels
    asset = Asset(
        levels=tuple(_textured(made.source, atlas, texture) for atlas in made.atlases),
        colliders=() if options.collider == "none" else build_colliders(surfaces[0], options.collider),
        metallic_roughness=made.metallic_roughness,
        normal_map=None if options.maps == "colour" else bake_normals(made.atlases, dense, options.texture),
        occlusion=bake_occlusion(made.atlases, dense, options.texture, made.generator)
        if options.maps == "all"
        else None,
        unlit=options.lit,
        lightmap_uv=tuple(unwrap([surface], LIGHTMAP_SIZE)[0].corner_uv for surface in surfaces)
        if options.lightmap
        else (),
    )
    figures = AssetFigures(
        triangles=len(surfaces[0]),
        vertices=len(surfaces[0].vertices),
        dense_triangles=len(dense),
        texture=options.texture,
        colliders=len(asset.colliders),
        levels=tuple(_measure_level(atlas, dense, options.texture, made.generator) for atlas in made.atlases),
        refined=made.refined,
    )
    return replace(made, asset=replace(asset, figures=figures))


STAGES: tuple[tuple[str, Callable[[MeshStages, Progress], MeshStages]], ...] = (
    ("surface", extract_surface),
    ("simplify", simplify_levels),
    ("unwrap", unwrap_levels),
    ("bake", bake_colours),
    ("refine", refine_finest),
    ("maps", assemble_asset),
)


def _passthrough(mesh: Mesh, options: MeshOptions, progress: Progress) -> Asset:
    """A mesh as it is but for faces without area, with the colliders that were asked for."""
    whole = mesh.triangles.areas > 0
    if not bool(whole.any()):
        raise ValueError("mesh: no face has an area; look at the scene with volkit inspect")
    if not bool(whole.all()):
        progress.note(f"{int((~whole).sum())} faces without area are left out")
        mesh = mesh.with_faces(whole)
    colliders = () if options.collider == "none" else build_colliders(mesh.triangles, options.collider)
    figures = AssetFigures(len(mesh.faces), len(mesh.vertices), colliders=len(colliders))
    return Asset((mesh,), colliders, metallic_roughness=mesh.metallic_roughness, figures=figures)


def move_to_ground(asset: Asset) -> Asset:
    """The asset, +Z up, moved so that the middle of its box, at its lowest point, is the world's origin."""
    levels = tuple(level.turned_view("zup") for level in asset.levels)
    place = levels[0].world_from_local
    world = place.points(levels[0].vertices.double())
    low, high = world.amin(0), world.amax(0)
    ground = torch.cat([0.5 * (low + high)[:2], low[2:]])
    moved = Placement(Similarity(translation=tuple((-ground).tolist())) @ place, "zup")
    return replace(asset, levels=tuple(level.view(placement=moved) for level in levels))


def missing_libraries() -> list[str]:
    """Modules that meshing needs and that are not installed."""
    return [name for name in LIBRARIES if find_spec(name) is None]


def check_libraries() -> None:
    """RuntimeError where any of them is missing, with the line that installs all."""
    if missing := missing_libraries():
        raise RuntimeError(f"making a mesh needs {', '.join(missing)}; {advice('mesh')}")


def _check(options: MeshOptions) -> None:
    """What no scene can have is said before any is asked."""
    check_libraries()
    check_levels(options.faces, options.lods)
    if options.texture < 16 or options.texture & (options.texture - 1):
        raise ParameterError(f"texture {options.texture}: give a power of two from 16, such as 1024 or 2048")
    if options.texture > MAX_TEXTURE_SIZE:
        raise ParameterError(f"texture {options.texture}: at most {MAX_TEXTURE_SIZE}, which most graphics cards take")
    needed, there = (count / 2**30 for count in (BYTES_PER_TEXEL * options.texture**2, free_memory()))
    if needed > there:
        raise ParameterError(f"texture {options.texture}: needs some {needed:.1f} GiB of memory, {there:.1f} are free; "
                         "give half as many texels a side")  # fmt: skip


def _textured(scene: Representation, atlas: Atlas, texture: Tensor) -> Mesh:
    surface = atlas.surface
    mesh = Mesh.of(surface.vertices, surface.faces, corner_uv=atlas.corner_uv, texture=texture)
    return mesh.placed_like(scene)


def _measure_level(atlas: Atlas, dense: Triangles, size: int, generator: torch.Generator) -> LevelFigures:
    """Whether a level is closed, in how many pieces, and how far it is from the dense surface."""
    import trimesh

    surface = atlas.surface
    whole = trimesh.Trimesh(surface.vertices.numpy(), surface.faces.numpy(), process=False)
    diagonal = float((dense.vertices.amax(0) - dense.vertices.amin(0)).norm())
    mine, theirs = (s.sampled(COMPARED_POINTS, generator) for s in (surface, dense))
    found = surface_distances(mine, theirs, F_SCORE_SHARE * diagonal)
    return LevelFigures(
        triangles=len(surface),
        texels_per_unit=round(atlas.density(size), 1),
        watertight=bool(whole.is_watertight),
        components=int(whole.body_count),
        chamfer_to_dense=found.chamfer / diagonal,
        f_score_to_dense=found.f_score,
    )


def free_memory() -> int:
    """Bytes that can be had without swapping, where the system tells (Linux's MemAvailable), else all that it has."""
    table = Path("/proc/meminfo")
    if table.exists():
        lines = dict(line.split(":") for line in table.read_text().splitlines())
        return 1024 * int(lines["MemAvailable"].split()[0])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
