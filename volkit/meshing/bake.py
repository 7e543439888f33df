"""The colour of each texel, from pictures of the source that see it."""

from collections.abc import Sequence

import torch

from volkit.geometry import Cameras
from volkit.meshing.gutter import spread
from volkit.meshing.unwrap import Atlas
from volkit.render.renderer import renderer_for
from volkit.representations.representation import Representation
from volkit.typing import Float, Tensor, UInt8

__all__ = ["baked"]

SLANT = 0.2  # cosine to a surface below which a view says little of its colour
SHARPNESS = 2  # power of that cosine in a view's weight
NEARNESS = 0.01  # of the box's diagonal, by which a texel may miss the depth that the source shows


@torch.no_grad()
def baked(
    scene: Representation, atlases: Sequence[Atlas], cameras: Cameras, size: int
) -> UInt8[Tensor, "height width 4"]:
    """Base colour without light of its own: the mean over the views that see a texel, those that face it first.

    A view counts by `cos^2 / distance^2` where the source's median depth is the texel's own; texels that nobody sees
    take the colour of the nearest that is seen, and so do the gutters between charts.
    """
    place = scene.world_from_local
    texel, local, normal = (torch.cat(parts) for parts in zip(*(_points(a, size) for a in atlases), strict=True))
    world, normal = place.points(local), torch.nn.functional.normalize(place.vectors(normal), dim=-1)
    reach = NEARNESS * scene.domain.diagonal * place.scale
    sums = torch.zeros(len(texel), 4)
    for index in range(len(cameras)):
        _look(scene, cameras[[index]], world, normal, reach, sums)
    picture = torch.zeros(size * size, 3)
    known = sums[:, 3] > 0
    if not bool(known.any()):
        raise ValueError("mesh: no camera sees the surface; look at the scene with volkit render")
    picture[texel[known]] = sums[known, :3] / sums[known, 3:]
    filled = torch.zeros(size * size, dtype=torch.bool)
    filled[texel[known]] = True
    whole = spread(picture.view(size, size, 3), filled.view(size, size))
    opaque = torch.ones(size, size, 1)
    return (torch.cat([whole.clamp(0.0, 1.0), opaque], -1) * 255.0).round().to(torch.uint8)


def _points(atlas: Atlas, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Texels of a level, where they lie and which way they look, local frame."""
    texel, face, where = atlas.texels(size)
    normals = atlas.surface.normals[atlas.surface.faces[face]]
    return texel, (atlas.surface.corners[face] * where[..., None]).sum(1), (normals * where[..., None]).sum(1)


def _look(scene: Representation, camera: Cameras, world: Tensor, normal: Tensor, reach: float, sums: Tensor) -> None:
    """Add one view of the texels that it sees: weighted colour and weight."""
    away = camera.centres[0] - world
    distance = away.norm(dim=-1)
    slant = (away * normal).sum(-1) / distance.clamp_min(1e-9)
    pixels, ahead = camera.project(0, world)
    inside = ((pixels >= 0.5) & (pixels < camera.size[0] - 0.5)).all(-1) & (ahead > 0) & (slant > SLANT)
    rows = inside.nonzero()[:, 0]
    if not len(rows):
        return
    picture = renderer_for(scene)(scene, camera)
    assert picture.median is not None
    seen = torch.cat([picture.rgb[0], picture.opacity[0, ..., None]], -1)
    column, row = pixels[rows].long().unbind(-1)
    near = (picture.median[0, row, column] - distance[rows]).abs() < reach
    rows = rows[near]
    value = _between(seen, pixels[rows])
    weight = (slant[rows] ** SHARPNESS / distance[rows].square() * value[:, 3])[:, None]
    rgb = value[:, :3] / value[:, 3:].clamp_min(1e-3)
    sums.index_add_(0, rows, torch.cat([rgb * weight, weight], 1))


def _between(image: Float[Tensor, "height width channel"], pixels: Float[Tensor, "point 2"]) -> Tensor:
    """An image between its pixels, whose centres are at integer + 0.5."""
    size = pixels.new_tensor([image.shape[1], image.shape[0]])
    grid = (2.0 * pixels / size - 1.0)[None, None]
    found = torch.nn.functional.grid_sample(image.permute(2, 0, 1)[None], grid, align_corners=False)
    return found[0, :, 0].T
