"""A mesh made of any scene: surface, fewer faces, one texture; how far each step went from the source is reported."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch

from volkit.distill.views import distillation_cameras
from volkit.geometry.triangles import Triangles
from volkit.jobs.progress import Progress
from volkit.meshing.bake import baked
from volkit.meshing.fusion import fused_surface
from volkit.meshing.isosurface import field_surface, opaque_density
from volkit.meshing.simplify import simplified, smoothed
from volkit.meshing.unwrap import unwrapped
from volkit.meshing.visible import seen_faces, without_crumbs, without_insides
from volkit.metrics import surface_distances
from volkit.representations import Field, Mesh, Representation, Splats
from volkit.representations.splat_extent import core

__all__ = ["MeshPlan", "mesh_of"]

LIBRARIES = ("embreex", "fast_simplification", "scipy", "skimage", "trimesh", "xatlas")
VIEWS = 160  # cameras that say what is seen
LOOKS = 64  # of them, pictures that depth and colour come from
POINTS = 50_000  # drawn to compare surfaces
NEAR = 0.01  # of the diagonal, of an F-score


@dataclass(frozen=True)
class MeshPlan:
    """What a mesh is to be like."""

    faces: int
    texture: int  # texels a side
    cells: int  # of the lattice, along the longest side
    size: int | None  # of the pictures asked for, by default that of the scene's cameras


def mesh_of(
    scene: Representation, plan: MeshPlan, generator: torch.Generator, progress: Progress
) -> tuple[Mesh, dict[str, Any]]:
    """A textured mesh in the scene's own frame, and what was measured on the way."""
    if missing := [name for name in LIBRARIES if find_spec(name) is None]:
        raise RuntimeError(f"--to mesh needs {', '.join(missing)}; pip install 'volkit[mesh]'")
    cameras = distillation_cameras(scene, VIEWS, plan.size, generator)
    looks = cameras[torch.randperm(len(cameras), generator=generator)[:LOOKS]]
    with progress.stretch("surface"):
        dense = _surface(scene, plan, cameras, looks, generator)
    with progress.stretch("simplify"):
        surface = simplified(dense, plan.faces)
    with progress.stretch("unwrap"):
        atlas = unwrapped(surface, plan.texture)
    with progress.stretch("bake"):
        texture = baked(scene, atlas, looks, plan.texture)
    mesh = Mesh.of(surface.vertices, surface.faces, corner_uv=atlas.corner_uv, texture=texture).placed_like(scene)
    return mesh, {
        "triangles": len(surface), "vertices": len(surface.vertices), "dense_triangles": len(dense),
        "texture": plan.texture, "texels_per_unit": round(atlas.density(plan.texture), 1),
        **_apart(surface, dense, generator),
    }  # fmt: skip


def _surface(scene: Representation, plan: MeshPlan, cameras, looks, generator: torch.Generator) -> Triangles:
    if isinstance(scene, Field):
        dense = field_surface(scene, opaque_density(scene, cameras, generator), plan.cells)
    else:
        box = core(scene) if isinstance(scene, Splats) else scene.bounds()
        dense = fused_surface(scene, box, looks, plan.cells)
    dense = smoothed(dense)
    return without_crumbs(without_insides(dense, seen_faces(dense, scene.world_from_local, cameras)))


def _apart(surface: Triangles, dense: Triangles, generator: torch.Generator) -> dict[str, float]:
    """Chamfer distance in shares of the diagonal, and F-score at 1 % of it, to the dense surface."""
    diagonal = float((dense.vertices.amax(0) - dense.vertices.amin(0)).norm())
    mine, theirs = (s.sampled(POINTS, generator) for s in (surface, dense))
    found = surface_distances(mine, theirs, NEAR * diagonal)
    return {"chamfer_to_dense": found.chamfer / diagonal, "f_score_to_dense": found.f_score}
