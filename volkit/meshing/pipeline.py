"""An asset made of any scene: surface, levels of detail, one texture; how far each step went is told."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import torch

from volkit.evaluation.metrics import surface_distances
from volkit.files.extras import advice
from volkit.geometry import Cameras, Similarity
from volkit.geometry.triangles import Triangles
from volkit.io.meshes.asset import Asset
from volkit.meshing.bake import bake_texture
from volkit.meshing.colliders import build_colliders
from volkit.meshing.fusion import fuse_depths
from volkit.meshing.isosurface import extract_isosurface, opaque_density
from volkit.meshing.maps import bake_normals, bake_occlusion
from volkit.meshing.memory import free_memory
from volkit.meshing.options import MeshOptions
from volkit.meshing.refine import refine_mesh
from volkit.meshing.simplify import check_levels, make_levels, smooth
from volkit.meshing.unwrap import Atlas, unwrap
from volkit.meshing.visible import drop_hidden_faces, drop_small_components, visible_faces
from volkit.meshing.watertight import make_watertight
from volkit.progress import Progress
from volkit.rendering.viewpoints import distillation_cameras
from volkit.representations import Field, Mesh, Placement, Representation, Splats
from volkit.representations.splat_extent import core
from volkit.typing import Tensor

__all__ = ["build_asset", "move_to_ground", "passthrough"]

LIBRARIES = ("coacd", "embreex", "fast_simplification", "manifold3d", "scipy", "skimage", "trimesh", "xatlas")
VISIBILITY_VIEWS = 160  # cameras that say what is seen
COLOUR_VIEWS = 64  # of them, pictures that depth and colour come from
BOX_MARGIN = (
    0.2  # of its edges, on either side of a scene's box: what is seen little of, such as feet, stands out of it
)
COMPARED_POINTS = 50_000  # drawn to compare surfaces
F_SCORE_SHARE = 0.01  # of the diagonal, of an F-score
MAX_TEXTURE_SIZE = 16384  # texels a side
BYTES_PER_TEXEL = 200  # bytes that one takes while a texture is made
LIGHTMAP_SIZE = 1024  # texels a side of a map of light, for which gutters are kept


def build_asset(
    scene: Representation, options: MeshOptions, size: int | None, generator: torch.Generator, progress: Progress
) -> tuple[Asset, dict[str, Any]]:
    """An asset in the scene's own frame, and what was measured on the way; `size` is that of the pictures asked for."""
    if missing := [name for name in LIBRARIES if find_spec(name) is None]:
        raise RuntimeError(f"--to mesh needs {', '.join(missing)}; {advice('mesh')}")
    _check(options)
    cameras = distillation_cameras(scene, VISIBILITY_VIEWS, size, generator)
    looks = cameras[torch.randperm(len(cameras), generator=generator)[:COLOUR_VIEWS]]
    with progress.phase("surface"):
        dense = _surface(scene, options.cells, cameras, looks, generator)
        dense = make_watertight(dense) if options.watertight else dense
    with progress.phase("simplify"):
        surfaces = make_levels(dense, options.faces, options.lods)
        if options.watertight:  # fewer faces may leave gaps
            surfaces = tuple(make_watertight(surface) for surface in surfaces)
    with progress.phase("unwrap"):
        atlases = unwrap(surfaces, options.texture)
    with progress.phase("bake"):
        texture = bake_texture(scene, atlases, looks, options.texture, lit=options.lit)
        finish = scene.as_metallic_roughness() if isinstance(scene, Mesh) else None
        finish = None if finish is None else bake_texture(finish, atlases, looks, options.texture)[..., :3]
    found: dict[str, Any] = {}
    if options.refine > 0:
        with progress.phase("refine"):
            better = refine_mesh(scene, atlases[0], texture, cameras, options.refine, generator, progress.advance)
        atlases, texture = (better.atlas, *atlases[1:]), better.texture
        found["refine_mesh"] = {"psnr_before": better.psnr_before, "psnr_after": better.psnr_after,
                            "steps": better.steps, "pictures": better.views}  # fmt: skip
    with progress.phase("maps"):
        asset = Asset(
            levels=tuple(_mesh(scene, atlas, texture) for atlas in atlases),
            colliders=() if options.collider == "none" else build_colliders(surfaces[0], options.collider),
            metallic_roughness=finish,
            normal_map=None if options.maps == "colour" else bake_normals(atlases, dense, options.texture),
            occlusion=bake_occlusion(atlases, dense, options.texture, generator) if options.maps == "all" else None,
            unlit=options.lit,
            lightmap_uv=_lightmaps(surfaces) if options.lightmap else (),
        )
    return asset, _told(asset, atlases, dense, options.texture, generator) | found


def passthrough(mesh: Mesh, options: MeshOptions, progress: Progress) -> tuple[Asset, dict[str, Any]]:
    """A mesh as it is but for faces without area, with the colliders that were asked for."""
    whole = mesh.triangles.areas > 0
    if not bool(whole.any()):
        raise ValueError("mesh: no face has an area; look at the scene with volkit inspect")
    if not bool(whole.all()):
        progress.note(f"{int((~whole).sum())} faces without area are left out")
        mesh = mesh.with_faces(whole)
    solids = () if options.collider == "none" else build_colliders(mesh.triangles, options.collider)
    asset = Asset((mesh,), solids, metallic_roughness=mesh.metallic_roughness)
    return asset, {"triangles": len(mesh.faces), "vertices": len(mesh.vertices)}


def move_to_ground(asset: Asset) -> Asset:
    """The asset, +Z up, moved so that the middle of its box, at its lowest point, is the world's origin."""
    levels = tuple(level.turned_view("zup") for level in asset.levels)
    place = levels[0].world_from_local
    world = place.points(levels[0].vertices.double())
    low, high = world.amin(0), world.amax(0)
    ground = torch.cat([0.5 * (low + high)[:2], low[2:]])
    moved = Placement(Similarity(translation=tuple((-ground).tolist())) @ place, "zup")
    return replace(asset, levels=tuple(level.view(placement=moved) for level in levels))


def _check(options: MeshOptions) -> None:
    """ValueError for what no scene can have, before any is asked."""
    check_levels(options.faces, options.lods)
    if options.texture < 16 or options.texture & (options.texture - 1):
        raise ValueError(f"--texture {options.texture}: give a power of two from 16, such as 1024 or 2048")
    if options.texture > MAX_TEXTURE_SIZE:
        raise ValueError(f"--texture {options.texture}: at most {MAX_TEXTURE_SIZE}, which most graphics cards take")
    needed, there = (count / 2**30 for count in (BYTES_PER_TEXEL * options.texture**2, free_memory()))
    if needed > there:
        raise ValueError(f"--texture {options.texture}: needs some {needed:.1f} GiB of memory, {there:.1f} are free; "
                         "give half as many texels a side")  # fmt: skip


def _lightmaps(surfaces: Sequence[Triangles]) -> tuple[Tensor, ...]:
    """A set of uv for each level by itself."""
    return tuple(unwrap([surface], LIGHTMAP_SIZE)[0].corner_uv for surface in surfaces)


def _told(
    asset: Asset, atlases: Sequence[Atlas], dense: Triangles, size: int, generator: torch.Generator
) -> dict[str, Any]:
    """Figures of the asset and of each of its levels."""
    surfaces = [atlas.surface for atlas in atlases]
    return {
        "triangles": len(surfaces[0]), "vertices": len(surfaces[0].vertices), "dense_triangles": len(dense),
        "texture": size, "build_colliders": len(asset.colliders), "levels": [
            {"triangles": len(surface), "texels_per_unit": round(atlas.density(size), 1)}
            | _sound(surface) | _apart(surface, dense, generator)
            for atlas, surface in zip(atlases, surfaces, strict=True)
        ],
    }  # fmt: skip


def _sound(surface: Triangles) -> dict[str, Any]:
    """Whether it is closed, and in how many pieces."""
    import trimesh

    whole = trimesh.Trimesh(surface.vertices.numpy(), surface.faces.numpy(), process=False)
    return {"watertight": bool(whole.is_watertight), "components": int(whole.body_count)}


def _surface(
    scene: Representation, cells: int, cameras: Cameras, looks: Cameras, generator: torch.Generator
) -> Triangles:
    if isinstance(scene, Field):
        dense = extract_isosurface(scene, opaque_density(scene, cameras, generator), cells)
    else:
        box = core(scene) if isinstance(scene, Splats) else scene.bounds()
        dense = fuse_depths(scene, box.grown(BOX_MARGIN), looks, cells)
    dense = smooth(dense)
    whole = drop_hidden_faces(dense, visible_faces(dense, scene.world_from_local, cameras))
    if not len(whole):
        raise ValueError("mesh: the scene shows no surface with an inside; a sheet without thickness has none: "
                         "give it some, or keep its triangles (no --faces)")  # fmt: skip
    return drop_small_components(whole)


def _mesh(scene: Representation, atlas: Atlas, texture: Tensor) -> Mesh:
    surface = atlas.surface
    mesh = Mesh.of(surface.vertices, surface.faces, corner_uv=atlas.corner_uv, texture=texture)
    return mesh.placed_like(scene)


def _apart(surface: Triangles, dense: Triangles, generator: torch.Generator) -> dict[str, float]:
    """Chamfer distance in shares of the diagonal, and F-score at 1 % of it, to the dense surface."""
    diagonal = float((dense.vertices.amax(0) - dense.vertices.amin(0)).norm())
    mine, theirs = (s.sampled(COMPARED_POINTS, generator) for s in (surface, dense))
    found = surface_distances(mine, theirs, F_SCORE_SHARE * diagonal)
    return {"chamfer_to_dense": found.chamfer / diagonal, "f_score_to_dense": found.f_score}
