"""An asset made of any scene: surface, levels of detail, one texture; how far each step went is told."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch

from volkit.distill.views import distillation_cameras
from volkit.geometry import Cameras
from volkit.geometry.triangles import Triangles
from volkit.io.asset import Asset, Style
from volkit.jobs.progress import Progress
from volkit.meshing.bake import baked
from volkit.meshing.fusion import fused_surface
from volkit.meshing.isosurface import field_surface, opaque_density
from volkit.meshing.simplify import levels_of_detail, smoothed
from volkit.meshing.unwrap import Atlas, unwrapped
from volkit.meshing.visible import seen_faces, without_crumbs, without_insides
from volkit.metrics import surface_distances
from volkit.representations import Field, Mesh, Representation, Splats
from volkit.representations.splat_extent import core
from volkit.typing import Tensor

__all__ = ["MeshOptions", "asset_of"]

LIBRARIES = ("embreex", "fast_simplification", "scipy", "skimage", "trimesh", "xatlas")
VIEWS = 160  # cameras that say what is seen
LOOKS = 64  # of them, pictures that depth and colour come from
POINTS = 50_000  # drawn to compare surfaces
NEAR = 0.01  # of the diagonal, of an F-score


@dataclass(frozen=True)
class MeshOptions:
    """What a mesh is to be like, with --to mesh."""

    faces: int = 50_000
    """How many triangles a mesh may have."""
    texture: int = 2048
    """Texels a side of a mesh's texture."""
    cells: int = 256
    """How finely a mesh's surface is sought: lattice intervals along the longest side."""
    lods: int = 1
    """Levels of detail, each with a quarter of the faces of the one before it, on the same texture."""

    @property
    def style(self) -> Style:
        """How the file is written."""
        return Style()


def asset_of(
    scene: Representation, options: MeshOptions, size: int | None, generator: torch.Generator, progress: Progress
) -> tuple[Asset, dict[str, Any]]:
    """An asset in the scene's own frame, and what was measured on the way; `size` is that of the pictures asked for."""
    if missing := [name for name in LIBRARIES if find_spec(name) is None]:
        raise RuntimeError(f"--to mesh needs {', '.join(missing)}; pip install 'volkit[mesh]'")
    cameras = distillation_cameras(scene, VIEWS, size, generator)
    looks = cameras[torch.randperm(len(cameras), generator=generator)[:LOOKS]]
    with progress.stretch("surface"):
        dense = _surface(scene, options.cells, cameras, looks, generator)
    with progress.stretch("simplify"):
        surfaces = levels_of_detail(dense, options.faces, options.lods)
    with progress.stretch("unwrap"):
        atlases = unwrapped(surfaces, options.texture)
    with progress.stretch("bake"):
        texture = baked(scene, atlases, looks, options.texture)
    asset = Asset(tuple(_mesh(scene, atlas, texture) for atlas in atlases))
    return asset, {
        "triangles": len(surfaces[0]), "vertices": len(surfaces[0].vertices), "dense_triangles": len(dense),
        "texture": options.texture, "texels_per_unit": round(atlases[0].density(options.texture), 1),
        "levels": [{"triangles": len(level)} | _apart(level, dense, generator) for level in surfaces],
    }  # fmt: skip


def _surface(
    scene: Representation, cells: int, cameras: Cameras, looks: Cameras, generator: torch.Generator
) -> Triangles:
    if isinstance(scene, Field):
        dense = field_surface(scene, opaque_density(scene, cameras, generator), cells)
    else:
        box = core(scene) if isinstance(scene, Splats) else scene.bounds()
        dense = fused_surface(scene, box, looks, cells)
    dense = smoothed(dense)
    return without_crumbs(without_insides(dense, seen_faces(dense, scene.world_from_local, cameras)))


def _mesh(scene: Representation, atlas: Atlas, texture: Tensor) -> Mesh:
    surface = atlas.surface
    mesh = Mesh.of(surface.vertices, surface.faces, corner_uv=atlas.corner_uv, texture=texture)
    return mesh.placed_like(scene)


def _apart(surface: Triangles, dense: Triangles, generator: torch.Generator) -> dict[str, float]:
    """Chamfer distance in shares of the diagonal, and F-score at 1 % of it, to the dense surface."""
    diagonal = float((dense.vertices.amax(0) - dense.vertices.amin(0)).norm())
    mine, theirs = (s.sampled(POINTS, generator) for s in (surface, dense))
    found = surface_distances(mine, theirs, NEAR * diagonal)
    return {"chamfer_to_dense": found.chamfer / diagonal, "f_score_to_dense": found.f_score}
