"""`extract_mesh`: the stages from a scene to an asset: dense surface, levels, atlas, textures, colliders."""

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
from volkit.representations import Look, Mesh, Placement, Representation
from volkit.sampling.occupancy_grid import occupancy_filled
from volkit.typing import Tensor, UInt8

__all__ = ["MeshStages", "check_libraries", "extract_mesh", "free_memory", "missing_libraries", "move_to_ground"]

LIBRARIES = ("coacd", "embreex", "fast_simplification", "manifold3d", "scipy", "skimage", "trimesh", "xatlas")
VISIBILITY_VIEWS = 160  # cameras by which visible faces are found
COLOUR_VIEWS = 64  # of them, pictures for depth and colour
COMPARED_POINTS = 50_000  # samples of each surface for their distance
F_SCORE_SHARE = 0.01  # of the diagonal, threshold of the F-score
MAX_TEXTURE_SIZE = 16384  # texels a side
BYTES_PER_TEXEL = 200  # peak memory while a texture is baked
LIGHTMAP_SIZE = 1024  # texels a side of a lightmap, for which gutters are wide enough
DEFAULT_OPTIONS = MeshOptions()


@dataclass(frozen=True)
class MeshStages:
    """The state of the pipeline; every stage returns it with one more part.

    Attributes:
        source: the scene.
        options: of the mesh.
        cameras: world frame, by which visible faces are found.
        views: those of them whose pictures give depth and colour.
        generator: on the CPU.
        dense: the dense surface, in the source's local frame, as all surfaces.
        levels: surfaces of the levels of detail, fine first.
        atlases: of the levels, on one texture.
        texture: base colour and alpha.
        metallic_roughness: roughness in green, metalness in blue.
        refined: figures of refinement.
        asset: the result.
    """

    source: Representation
    options: MeshOptions
    cameras: Cameras
    views: Cameras
    generator: torch.Generator
    dense: Triangles | None = None
    levels: tuple[Triangles, ...] = ()
    atlases: tuple[Atlas, ...] = ()
    texture: UInt8[Tensor, "height width 4"] | None = None
    metallic_roughness: UInt8[Tensor, "height width 3"] | None = None
    refined: RefineFigures | None = None
    asset: Asset | None = None


def extract_mesh(
    scene: Representation,
    options: MeshOptions = DEFAULT_OPTIONS,
    *,
    cameras: Cameras | None = None,
    size: int | None = None,
    seed: int | torch.Generator = 0,
    progress: Progress | None = None,
) -> Asset:
    """Extract a textured mesh from a scene of any kind: an asset with levels of detail, maps and colliders.

    The surface of a field is an isosurface of its density (marching cubes), that of splats and meshes is fused from
    depth pictures; colours are baked from pictures of the source. With `options.rebuild=False` a mesh keeps its surface
    and texture.

    Args:
        scene: field, splats or mesh; it stays as it is.
        options: of the mesh.
        cameras: world-frame cameras of the pictures; None: those of the scene's capture and variations of them, else
            a sphere around the scene.
        size: longest side of the pictures in pixels; None: that of the capture, else 400.
        seed: a number, or a CPU generator, whose state advances.
        progress: receives a phase for every stage.

    Returns:
        The asset in the scene's own frame (with `pivot="ground"` +Z up and on the world's origin); `asset.figures` are
        its measures. `volkit.io.meshes.writer.write_asset` writes it.

    Raises:
        ValueError: no surface is visible, or options contradict each other.
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
        with occupancy_filled(scene):
            asset = _rebuild(scene, options, _cameras(scene, cameras, size, generator), generator, progress)
    asset = move_to_ground(asset) if options.pivot == "ground" else asset
    assert asset.figures is not None
    return replace(asset, figures=replace(asset.figures, seconds=round(time.perf_counter() - started, 2)))


def _cameras(scene: Representation, cameras: Cameras | None, size: int | None, generator: torch.Generator) -> Cameras:
    if cameras is None:
        return distillation_cameras(scene, VISIBILITY_VIEWS, size, generator)
    return cameras if size is None else cameras.resize(size)


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


def extract_surface(stages: MeshStages, progress: Progress) -> MeshStages:
    """Add the dense surface: its visible part without small components, closed if requested."""
    dense = dense_surface(stages.source, stages.cameras, stages.views, stages.options.cells, stages.generator)
    return replace(stages, dense=make_watertight(dense) if stages.options.watertight else dense)


def simplify_levels(stages: MeshStages, progress: Progress) -> MeshStages:
    """Add the surfaces of the levels of detail."""
    assert stages.dense is not None
    surfaces = make_levels(stages.dense, stages.options.faces, stages.options.lods)
    if stages.options.watertight:  # fewer faces may leave gaps
        surfaces = tuple(make_watertight(surface) for surface in surfaces)
    return replace(stages, levels=surfaces)


def unwrap_levels(stages: MeshStages, progress: Progress) -> MeshStages:
    """Add the atlases of all levels, on one texture."""
    return replace(stages, atlases=tuple(unwrap(stages.levels, stages.options.texture)))


def bake_colours(stages: MeshStages, progress: Progress) -> MeshStages:
    """Add base colour, and the roughness and metalness of a source that has them."""
    options, scene = stages.options, stages.source
    texture = bake_texture(scene, stages.atlases, stages.views, options.texture, lit=options.lit)
    material = scene.as_metallic_roughness()
    if material is None:
        return replace(stages, texture=texture)
    baked = bake_texture(material, stages.atlases, stages.views, options.texture)
    return replace(stages, texture=texture, metallic_roughness=baked[..., :3])


def refine_finest(stages: MeshStages, progress: Progress) -> MeshStages:
    """Refine the finest level and the texture on pictures of the source."""
    assert stages.texture is not None
    better = refine_mesh(
        stages.source,
        stages.atlases[0],
        stages.texture,
        stages.cameras,
        stages.options.refine,
        stages.generator,
        progress.advance,
    )
    figures = RefineFigures(better.psnr_before, better.psnr_after, better.steps, better.views)
    return replace(
        stages,
        levels=(better.atlas.surface, *stages.levels[1:]),
        atlases=(better.atlas, *stages.atlases[1:]),
        texture=better.texture,
        refined=figures,
    )


def assemble_asset(stages: MeshStages, progress: Progress) -> MeshStages:
    """Add the asset: levels, colliders, normal and occlusion maps, figures."""
    options, dense, texture = stages.options, stages.dense, stages.texture
    assert dense is not None and texture is not None
    surfaces = stages.levels
    look = Look.of_texture(stages.atlases[0].corner_uv, texture, stages.metallic_roughness)
    look = replace(look, materials=(replace(look.materials[0], unlit=options.lit),))
    if options.maps != "colour":
        look = look.with_map("normal", bake_normals(stages.atlases, dense, options.texture))
    if options.maps == "all":
        occlusion = bake_occlusion(stages.atlases, dense, options.texture, stages.generator)
        look = look.with_map("occlusion", occlusion[..., None].expand(-1, -1, 3).contiguous())
    asset = Asset(
        levels=tuple(_textured(stages.source, atlas, look) for atlas in stages.atlases),
        colliders=() if options.collider == "none" else build_colliders(surfaces[0], options.collider),
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
        levels=tuple(_measure_level(atlas, dense, options.texture, stages.generator) for atlas in stages.atlases),
        refined=stages.refined,
    )
    return replace(stages, asset=replace(asset, figures=figures))


STAGES: tuple[tuple[str, Callable[[MeshStages, Progress], MeshStages]], ...] = (
    ("surface", extract_surface),
    ("simplify", simplify_levels),
    ("unwrap", unwrap_levels),
    ("bake", bake_colours),
    ("refine", refine_finest),
    ("maps", assemble_asset),
)


def _passthrough(mesh: Mesh, options: MeshOptions, progress: Progress) -> Asset:
    """A mesh as it is, without degenerate faces and with the requested colliders."""
    whole = mesh.triangles.areas > 0
    if not bool(whole.any()):
        raise ValueError("mesh: no face has an area; look at the scene with volkit inspect")
    if not bool(whole.all()):
        progress.note(f"{int((~whole).sum())} faces without area are left out")
        mesh = mesh.with_faces(whole)
    colliders = () if options.collider == "none" else build_colliders(mesh.triangles, options.collider)
    figures = AssetFigures(len(mesh.faces), len(mesh.vertices), colliders=len(colliders))
    return Asset((mesh,), colliders, figures=figures)


def move_to_ground(asset: Asset) -> Asset:
    """The asset, +Z up, moved so that the centre of its box's bottom is the world's origin."""
    levels = tuple(level.view_in_frame("zup") for level in asset.levels)
    place = levels[0].world_from_local
    world = place.points(levels[0].vertices.double())
    low, high = world.amin(0), world.amax(0)
    ground = torch.cat([0.5 * (low + high)[:2], low[2:]])
    moved = Placement(Similarity(translation=tuple((-ground).tolist())) @ place, "zup")
    return replace(asset, levels=tuple(level.view(placement=moved) for level in levels))


def missing_libraries() -> list[str]:
    """The names of modules that meshing needs and that are not installed."""
    return [name for name in LIBRARIES if find_spec(name) is None]


def check_libraries() -> None:
    """Raise RuntimeError where a library is missing, with the line that installs all."""
    if missing := missing_libraries():
        raise RuntimeError(f"making a mesh needs {', '.join(missing)}; {advice('mesh')}")


def _check(options: MeshOptions) -> None:
    """Raise for missing libraries and impossible options before any work."""
    check_libraries()
    check_levels(options.faces, options.lods)
    if options.texture < 16 or options.texture & (options.texture - 1):
        raise ParameterError(f"texture {options.texture}: give a power of two from 16, such as 1024 or 2048")
    if options.texture > MAX_TEXTURE_SIZE:
        raise ParameterError(f"texture {options.texture}: at most {MAX_TEXTURE_SIZE}, which most graphics cards take")
    needed, free = (count / 2**30 for count in (BYTES_PER_TEXEL * options.texture**2, free_memory()))
    if needed > free:
        lack = f"needs some {needed:.1f} GiB of memory, {free:.1f} are free"
        raise ParameterError(f"texture {options.texture}: {lack}; give half as many texels a side")


def _textured(scene: Representation, atlas: Atlas, look: Look) -> Mesh:
    surface = atlas.surface
    mesh = Mesh.build(surface.vertices, surface.faces, replace(look, corner_uv=atlas.corner_uv))
    return mesh.placed_like(scene)


def _measure_level(atlas: Atlas, dense: Triangles, size: int, generator: torch.Generator) -> LevelFigures:
    """The figures of a level: whether it is closed, its components, its distance from the dense surface."""
    import trimesh

    surface = atlas.surface
    whole = trimesh.Trimesh(surface.vertices.numpy(), surface.faces.numpy(), process=False)
    diagonal = float((dense.vertices.amax(0) - dense.vertices.amin(0)).norm())
    own, reference = (s.sample(COMPARED_POINTS, generator) for s in (surface, dense))
    found = surface_distances(own, reference, F_SCORE_SHARE * diagonal)
    return LevelFigures(
        triangles=len(surface),
        texels_per_unit=round(atlas.density(size), 1),
        watertight=bool(whole.is_watertight),
        components=int(whole.body_count),
        chamfer_to_dense=found.chamfer / diagonal,
        f_score_to_dense=found.f_score,
    )


def free_memory() -> int:
    """Memory in bytes that is available without swapping (MemAvailable of Linux); elsewhere the total memory."""
    table = Path("/proc/meminfo")
    if table.exists():
        lines = dict(line.split(":") for line in table.read_text().splitlines())
        return 1024 * int(lines["MemAvailable"].split()[0])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
