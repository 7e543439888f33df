"""Assets before they learn: where the prior is to find them, what of them is made ready, and how they learn."""

from functools import singledispatch

import torch

from volkit.distillation.splats.adaptive import DefaultStrategy
from volkit.generation.mesh_particle import MeshParticle
from volkit.generation.particle import Particle
from volkit.generation.penalties import Penalties
from volkit.generation.scenes import particle_of
from volkit.geometry import Domain, Similarity
from volkit.meshing.bake import bake_texture
from volkit.meshing.simplify import denoise
from volkit.meshing.unwrap import unwrap
from volkit.progress import Progress
from volkit.rendering.viewpoints import occupied_sphere, orbit_cameras
from volkit.representations import Field, Mesh, Representation, Splats
from volkit.representations.splat_extent import core

__all__ = ["asset_particle", "denoise_if_noisy", "ensure_uv", "place_of", "with_uv"]

LEAST_FILL = 0.4  # of the prior's cube: an asset between this and all of it is as large as the prior expects things
FILL_SHARE = 0.95  # of the prior's cube that any other asset is brought to fill


def place_of(scene: Representation, half: float) -> Similarity:
    """World from the prior's frame: the identity for what fits the prior's cube, else what makes it fit."""
    box = _box(scene)
    low, high = (scene.world_from_local.points(torch.tensor([corner]).float())[0] for corner in (box.lower, box.upper))
    low, high = torch.minimum(low, high), torch.maximum(low, high)
    reach, extent = float(torch.maximum(low.abs(), high.abs()).max()), float((high - low).max())
    if reach <= 1.05 * half and extent >= 2.0 * LEAST_FILL * half:
        return Similarity()
    return Similarity(scale=extent / (2.0 * FILL_SHARE * half), translation=tuple((0.5 * (low + high)).tolist()))


@singledispatch
def _box(scene: Representation) -> Domain:
    """Where there is something, local frame."""
    return scene.bounds()


_box.register(Splats, core)


@_box.register
def _box_of_field(scene: Field) -> Domain:
    centre, radius = occupied_sphere(scene)
    local = scene.world_from_local.inverse()
    middle, reach = local.points(centre.cpu()[None])[0], radius * local.scale / 3.0**0.5  # of a cube in the sphere
    return Domain(tuple((middle - reach).tolist()), tuple((middle + reach).tolist()))


def asset_particle(
    scene: Representation,
    penalties: Penalties,
    generator: torch.Generator,
    free: float,
    pbr: bool = False,
) -> Particle:
    """A loaded scene that learns; the vertices of a mesh move for the share `free` of the run; with `pbr` its roughness
    and metalness learn too.
    """
    if isinstance(scene, Mesh):
        return MeshParticle(scene, penalties, free, generator if pbr else None, fine=True)
    scene.requires_grad_(True)
    strategy = DefaultStrategy(max_splats=scene.splat_count or 0, resets=())
    return particle_of(scene, penalties, generator, strategy, samples=3.0)


def with_uv(mesh: Mesh, size: int) -> Mesh:
    """A mesh with uv and a texture: its own, or charts of its own and what it shows baked on them."""
    if mesh.config.texture[0]:
        return mesh
    (atlas,) = unwrap([mesh.triangles], size)
    texture = bake_texture(mesh, [atlas], orbit_cameras(mesh, 32, 200), size, lit=True)
    found = Mesh.of(mesh.vertices, atlas.surface.faces, corner_uv=atlas.corner_uv, texture=texture)
    return found.placed_like(mesh)


@singledispatch
def ensure_uv(scene: Representation, size: int) -> Representation:
    """A mesh `with_uv`, other scenes as they are."""
    return scene


ensure_uv.register(Mesh, with_uv)


@singledispatch
def denoise_if_noisy(scene: Representation, progress: Progress) -> Representation:
    """A mesh without the noise of its vertices, if it has much: pictures as coarse as a prior's cannot tell it."""
    return scene


@denoise_if_noisy.register
def _denoised(mesh: Mesh, progress: Progress) -> Mesh:
    surface, rounds = denoise(mesh.triangles)
    if not rounds:
        return mesh
    progress.note(f"the vertices are noisy: {rounds} rounds of smoothing come first (denoise=False leaves them)")
    return mesh.with_vertices(surface.vertices)
