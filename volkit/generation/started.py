"""Preparation of assets for a prior: their placement, textures and particles."""

import torch

from volkit.distillation.splats.adaptive import DefaultStrategy
from volkit.generation.field_particle import FieldParticle
from volkit.generation.mesh_particle import MeshParticle
from volkit.generation.particle import Particle
from volkit.generation.penalties import Penalties
from volkit.generation.splat_particle import SplatParticle
from volkit.geometry import Domain, Similarity
from volkit.meshing.bake import bake_texture
from volkit.meshing.simplify import denoise
from volkit.meshing.unwrap import unwrap
from volkit.progress import Progress
from volkit.rendering.viewpoints import occupied_sphere, orbit_cameras
from volkit.representations import Field, Mesh, Representation, Splats
from volkit.representations.splat_extent import core_box

__all__ = ["asset_particle", "denoise_if_noisy", "ensure_uv", "place_of"]

MIN_FILL_SHARE = 0.4  # of the prior's cube: an asset between this and all of it keeps its size
FILL_SHARE = 0.95  # of the prior's cube, to which any other asset is scaled


def place_of(scene: Representation, half: float) -> Similarity:
    """World from the prior's frame: the identity for a scene that fits the prior's cube, else one that fits it."""
    box = core_box(scene) if isinstance(scene, Splats) else _box(scene)
    low, high = (scene.world_from_local.points(torch.tensor([corner]).float())[0] for corner in (box.lower, box.upper))
    low, high = torch.minimum(low, high), torch.maximum(low, high)
    reach, extent = float(torch.maximum(low.abs(), high.abs()).max()), float((high - low).max())
    if reach <= 1.05 * half and extent >= 2.0 * MIN_FILL_SHARE * half:
        return Similarity()
    return Similarity(scale=extent / (2.0 * FILL_SHARE * half), translation=tuple((0.5 * (low + high)).tolist()))


def _box(scene: Representation) -> Domain:
    if not isinstance(scene, Field):
        return scene.bounds()
    centre, radius = occupied_sphere(scene)
    local = scene.world_from_local.inverse()
    middle, reach = local.points(centre.cpu()[None])[0], radius * local.scale / 3.0**0.5  # of a cube in the sphere
    return Domain(tuple((middle - reach).tolist()), tuple((middle + reach).tolist()))


def asset_particle(
    scene: Representation,
    penalties: Penalties,
    generator: torch.Generator,
    shape_share: float,
    pbr: bool = False,
) -> Particle:
    """A loaded scene, ready to learn.

    The vertices of a mesh move during the first `shape_share` of the run; with `pbr` its roughness and metalness learn.
    """
    if isinstance(scene, Mesh):
        return MeshParticle(scene, penalties, shape_share, generator if pbr else None, fine=True)
    scene.requires_grad_(True)
    if isinstance(scene, Splats):
        return SplatParticle(scene, penalties, DefaultStrategy(max_splats=len(scene), resets=()))
    assert isinstance(scene, Field)
    return FieldParticle(scene, penalties, generator, samples=3.0)


def ensure_uv(mesh: Mesh, size: int) -> Mesh:
    """A mesh with uv and a texture: itself, or unwrapped with its colours baked."""
    if mesh.config.texture[0]:
        return mesh
    (atlas,) = unwrap([mesh.triangles], size)
    texture = bake_texture(mesh, [atlas], orbit_cameras(mesh, 32, 200), size, lit=True)
    unwrapped = Mesh.of(mesh.vertices, atlas.surface.faces, corner_uv=atlas.corner_uv, texture=texture)
    return unwrapped.placed_like(mesh)


def denoise_if_noisy(mesh: Mesh, progress: Progress) -> Mesh:
    """A mesh smoothed if its vertices are noisy, as pictures as coarse as a prior's do not resolve such noise."""
    surface, rounds = denoise(mesh.triangles)
    if not rounds:
        return mesh
    progress.note(f"the vertices are noisy: {rounds} rounds of smoothing come first (denoise=False leaves them)")
    return mesh.with_vertices(surface.vertices)
