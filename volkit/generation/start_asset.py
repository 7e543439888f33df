"""The source asset of refinement and editing: its placement, its control pictures, its preparation as a particle."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import get_args

import torch

from volkit.choices import ControlKind
from volkit.distillation.strategies import DefaultStrategy
from volkit.extras import advice
from volkit.generation.mesh_particle import MeshParticle
from volkit.generation.particle import Particle
from volkit.generation.penalties import Penalties
from volkit.generation.scenes import particle_of
from volkit.geometry import Cameras, Domain, Similarity
from volkit.meshing.bake import bake_texture
from volkit.meshing.join import join_materials
from volkit.meshing.simplify import denoise
from volkit.meshing.unwrap import unwrap
from volkit.progress import Progress
from volkit.rendering import Picture
from volkit.rendering.renderer import renderer_for
from volkit.rendering.viewpoints import occupied_sphere, orbit_cameras
from volkit.representations import Field, Mesh, Representation, Splats
from volkit.representations.splat_extent import core_box
from volkit.typing import Float, Tensor

__all__ = [
    "PRIOR_STEP_SCALE",
    "StartAsset",
    "asset_particle",
    "control_picture",
    "denoise_if_noisy",
    "place_of",
    "with_uv",
]

PRIOR_STEP_SCALE = 6.0  # of the steps through a field, for pictures as small as a prior's
CONTROL_STEP_SCALE = 4.0  # of the steps through a field: normals of solid matter depend little on them
DEPTH_OPACITY = 0.5  # opacity from which a pixel has a depth
IDENTITY = Similarity()
MIN_FILL_SHARE = 0.4  # of the prior's cube: an asset between this and all of it keeps its size
FILL_SHARE = 0.95  # of the prior's cube, to which any other asset is scaled


@dataclass(frozen=True)
class StartAsset:
    """An asset before training, and its placement in the prior's frame.

    Attributes:
        scene: the asset, frozen.
        words: a description of it; empty where the method does not use one.
        place: world from the prior's frame.
        preserve: weight of the difference from it in pixels that should not change.
        control: the kind of control pictures.
    """

    scene: Representation
    words: str = ""
    place: Similarity = IDENTITY
    preserve: float = 0.0
    control: ControlKind = "normal"

    def pictures(self, cameras: Cameras, background: Float[Tensor, "view 3"]) -> Float[Tensor, "view h w 3"]:
        """Pictures from cameras of the prior's frame, over a colour for each view, with the steps of a trainee."""
        picture = renderer_for(self.scene, step_scale=PRIOR_STEP_SCALE)(self.scene, cameras.transform(self.place))
        return picture.over(background[:, None, None])

    def control_picture(self, cameras: Cameras, size: int) -> Float[Tensor, "view 3 height width"]:
        """Control pictures from cameras of the prior's frame."""
        return control_picture(self.scene, cameras.transform(self.place), size, self.control)


@torch.no_grad()
def control_picture(
    scene: Representation, cameras: Cameras, size: int, kind: ControlKind = "normal"
) -> Float[Tensor, "view 3 height width"]:
    """Control pictures of a scene for a ControlNet (Zhang et al. 2023), `size` pixels a side, in [0, 1].

    `normal`: `(1 - n) / 2` in the camera's frame, red to the left, green to the top, blue to the front, grey in empty
    pixels (Normal 1.1). `depth`: `1 / depth` from 0 at the farthest pixel to 1 at the nearest, 0 in empty pixels
    (MiDaS). `canny`: 1 at edges of colour (Canny 1986), else 0.
    """
    scale = size / cameras.size[0, 0]
    resized = replace(cameras, intrinsics=cameras.intrinsics * scale, size=torch.full_like(cameras.size, size))
    resized = resized.to(scene.device)
    picture = renderer_for(scene, step_scale=CONTROL_STEP_SCALE, normals=kind == "normal")(scene, resized)
    return CONTROL_PICTURES[kind](picture, resized)


def _normal(picture: Picture, cameras: Cameras) -> Tensor:
    assert picture.normal is not None
    own = torch.einsum("vhwi,vij->vjhw", picture.normal, cameras.world_from_camera[:, :, :3])
    return 0.5 - 0.5 * own * picture.opacity[:, None]


def _depth(picture: Picture, cameras: Cameras) -> Tensor:
    visible = (picture.opacity > DEPTH_OPACITY) & picture.depth.isfinite() & (picture.depth > 0)
    near = torch.where(visible, 1.0 / picture.depth, torch.zeros_like(picture.depth))
    nearest = near.amax((1, 2), keepdim=True)
    farthest = torch.where(visible, near, nearest).amin((1, 2), keepdim=True)
    relative = torch.where(visible, (near - farthest) / (nearest - farthest).clamp_min(1e-12), torch.zeros_like(near))
    return relative[:, None].expand(-1, 3, -1, -1)


def _canny(picture: Picture, cameras: Cameras) -> Tensor:
    try:
        from skimage.feature import canny
    except ImportError as error:
        raise RuntimeError(f"control pictures of edges need scikit-image: {advice('mesh', 'scikit-image')}") from error
    grey = picture.over(picture.opacity.new_full((3,), 0.5)).mean(-1).cpu()
    edges = torch.stack([torch.from_numpy(canny(view.numpy())) for view in grey])
    return edges[:, None].expand(-1, 3, -1, -1).to(picture.opacity)


CONTROL_PICTURES: dict[ControlKind, Callable[[Picture, Cameras], Tensor]] = dict(
    zip(get_args(ControlKind), (_normal, _depth, _canny), strict=True)
)


def place_of(scene: Representation, half: float) -> Similarity:
    """World from the prior's frame: the identity for a scene that fits the prior's cube, else one that fits it."""
    box = _box(scene)
    low, high = (scene.world_from_local.points(torch.tensor([corner]).float())[0] for corner in (box.lower, box.upper))
    low, high = torch.minimum(low, high), torch.maximum(low, high)
    reach, extent = float(torch.maximum(low.abs(), high.abs()).max()), float((high - low).max())
    if reach <= 1.05 * half and extent >= 2.0 * MIN_FILL_SHARE * half:
        return Similarity()
    return Similarity(scale=extent / (2.0 * FILL_SHARE * half), translation=tuple((0.5 * (low + high)).tolist()))


@singledispatch
def _box(scene: Representation) -> Domain:
    """The box of what is visible, local frame."""
    return scene.bounds()


_box.register(Splats, core_box)


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
    shape_share: float,
    pbr: bool = False,
) -> Particle:
    """A loaded scene, ready to learn.

    The vertices of a mesh move during the first `shape_share` of the run; with `pbr` its roughness and metalness learn.
    """
    if isinstance(scene, Mesh):
        return MeshParticle(scene, penalties, shape_share, generator if pbr else None, fine=True)
    scene.requires_grad_(True)
    strategy = DefaultStrategy(max_splats=scene.splat_count or 0, resets=())
    return particle_of(scene, penalties, generator, strategy, samples=3.0)


def with_uv(mesh: Mesh, size: int, progress: Progress) -> Mesh:
    """A mesh with uv and one texture: its materials joined, or unwrapped with its colours baked."""
    joined, notes = join_materials(mesh)
    for note in notes:
        progress.note(note)
    if joined.has_one_texture:
        return joined
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
