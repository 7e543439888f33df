"""Baking of textures: the colour of each texel from pictures of the source that show it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from volkit.geometry import Cameras
from volkit.meshing.paint import fill_empty, upsample
from volkit.meshing.unwrap import Atlas
from volkit.rendering.renderer import renderer_for
from volkit.representations.representation import Representation
from volkit.typing import Bool, Float, Int, Tensor, UInt8

__all__ = ["bake_texture"]

MIN_COSINE = 0.2  # cosine to a surface below which a view does not count
COSINE_POWER = 2  # of that cosine in a view's weight
DEPTH_TOLERANCE = 0.01  # of the box's diagonal: largest difference of a texel from the depth of the source
TEXELS_AT_ONCE = 1 << 16  # their observations by 64 views take at most 80 MiB
MEDIAN_STEPS = 4  # towards the geometric median (Weiszfeld 1937)
MEDIAN_SOFTENING = 0.02  # added to distances of colours from the median
MAX_TEXELS_PER_PIXEL = 1.5  # of a useful texture: finer ones are baked at half the size and interpolated
MAX_TREE_POINTS = 200_000  # texels from which hidden ones take their colour


@dataclass(frozen=True)
class View:
    """A picture of the source: colour and opacity in half precision, and the median depth."""

    camera: Cameras
    rgba: Float[Tensor, "4 height width"]
    depth: Float[Tensor, "height width"]


@torch.no_grad()
def bake_texture(
    scene: Representation, atlases: Sequence[Atlas], cameras: Cameras, size: int, *, lit: bool = False
) -> UInt8[Tensor, "height width 4"]:
    """Bake the base colour of surfaces from pictures of a scene.

    A texel gets the geometric median over the views that show it, which is robust to highlights and occluders; with
    `lit` the mean, which is closest to the pictures. A view is weighted by `cos^2 / distance^2` where the source's
    median depth agrees with the texel's. Hidden texels take the colour of the nearest visible one, gutters between
    charts that of the nearest texel of a chart.

    Args:
        scene: the source.
        atlases: surfaces on one texture, in the scene's local frame.
        cameras: world frame.
        size: texels a side.
        lit: whether to keep the light of the capture.

    Raises:
        ValueError: no camera sees the surface.
    """
    place = scene.world_from_local
    useful = MAX_TEXELS_PER_PIXEL * _pixels(atlases[0], cameras.transform(place.inverse()))
    baked_size = size // 2 if atlases[0].density(size // 2) > useful else size
    texel, local, normal = (torch.cat(parts) for parts in zip(*(_points(a, baked_size) for a in atlases), strict=True))
    world, normal = place.points(local), functional.normalize(place.vectors(normal), dim=-1)
    tolerance = DEPTH_TOLERANCE * scene.domain.diagonal * place.scale
    views = [_view(scene, cameras[[index]]) for index in range(len(cameras))]
    parts = [
        _colour(views, world[rows], normal[rows], tolerance, lit)
        for rows in torch.arange(len(texel)).split(TEXELS_AT_ONCE)
    ]
    colour = torch.cat([part[0] for part in parts])
    covered = torch.cat([part[1] for part in parts])
    if not bool(covered.any()):
        raise ValueError("mesh: no camera sees the surface; look at the scene with volkit render")
    colour[~covered] = colour[covered][_nearest(world[covered], world[~covered])]
    picture, filled = torch.ones(baked_size * baked_size, 4), torch.zeros(baked_size * baked_size, dtype=torch.bool)
    picture[texel, :3], filled[texel] = colour.clamp(0.0, 1.0), True
    picture, filled = picture.view(baked_size, baked_size, 4), filled.view(baked_size, baked_size)
    whole = fill_empty(picture, filled) if baked_size == size else upsample(picture, filled, size)
    return (whole * 255.0).round().to(torch.uint8)


def _pixels(atlas: Atlas, cameras: Cameras) -> float:
    """Pixels along a local unit of the surface, where local-frame cameras are nearest to it."""
    near = torch.stack([(atlas.surface.vertices - centre).norm(dim=-1).amin() for centre in cameras.centres])
    return float((cameras.intrinsics[:, 0] / near.clamp_min(1e-9)).amax())


def _points(atlas: Atlas, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Texels of a level, their positions and normals, local frame."""
    texel, face, where = atlas.texels(size)
    normals = atlas.surface.normals[atlas.surface.faces[face]]
    return texel, (atlas.surface.corners[face] * where[..., None]).sum(1), (normals * where[..., None]).sum(1)


def _view(scene: Representation, camera: Cameras) -> View:
    picture = renderer_for(scene)(scene, camera)
    assert picture.median is not None
    rgba = torch.cat([picture.rgb[0], picture.opacity[0, ..., None]], -1)
    return View(camera, rgba.permute(2, 0, 1).half().cpu(), picture.median[0].cpu())


def _colour(views: list[View], world: Tensor, normal: Tensor, tolerance: float, lit: bool) -> tuple[Tensor, Tensor]:
    """Colours of texels, and which are visible in any view."""
    slants, distances = _cosines_and_distances(torch.cat([view.camera.centres for view in views]), world, normal)
    each = zip(views, slants, distances, strict=True)
    observations = zip(
        *(_observe(view, world, slant, distance, tolerance) for view, slant, distance in each), strict=True
    )
    rows, colours, weights = (torch.cat(parts) for parts in observations)
    middle, covered = _weighted_means(rows, colours, weights, len(world))
    for _ in range(0 if lit else MEDIAN_STEPS):
        away = (colours - middle[rows]).norm(dim=-1)
        middle, _ = _weighted_means(rows, colours, weights / (away + MEDIAN_SOFTENING), len(world))
    return middle, covered


def _cosines_and_distances(
    centres: Float[Tensor, "camera 3"], world: Float[Tensor, "texel 3"], normal: Float[Tensor, "texel 3"]
) -> tuple[Float[Tensor, "camera texel"], Float[Tensor, "camera texel"]]:
    """Cosine between the normal and the direction to each camera, and the distance."""
    middle = world.mean(0)  # avoids cancellation far from the origin
    centres, world = centres - middle, world - middle
    distance = torch.cdist(centres, world).clamp_min(1e-9)
    return (centres @ normal.T - (world * normal).sum(-1)) / distance, distance


def _weighted_means(
    rows: Int[Tensor, " row"], colours: Float[Tensor, "row 3"], weights: Float[Tensor, " row"], count: int
) -> tuple[Float[Tensor, "texel 3"], Bool[Tensor, " texel"]]:
    """Weighted mean of the observations of each texel, and which have any."""
    weight = weights[:, None]
    sums = torch.zeros(count, 4).index_add_(0, rows, torch.cat([colours * weight, weight], 1))
    return sums[:, :3] / sums[:, 3:].clamp_min(1e-12), sums[:, 3] > 0


def _observe(
    view: View, world: Tensor, slant: Float[Tensor, " texel"], distance: Float[Tensor, " texel"], tolerance: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The texels that one view shows, their colours in it, and their weights."""
    camera, facing = view.camera, (slant > MIN_COSINE).nonzero()[:, 0]
    pixels, ahead = camera.project(0, world[facing])
    inside = ((pixels >= 0.5) & (pixels < camera.size[0] - 0.5)).all(-1) & (ahead > 0)
    rows, pixels = facing[inside], pixels[inside]
    column, row = pixels.long().unbind(-1)
    unoccluded = (view.depth[row, column] - distance[rows]).abs() < tolerance
    rows, pixels = rows[unoccluded], pixels[unoccluded]
    rgb, opacity = _interpolate(view.rgba, pixels).split([3, 1], -1)
    weight = slant[rows] ** COSINE_POWER / distance[rows].square() * opacity[:, 0]
    return rows, rgb / opacity.clamp_min(1e-3), weight


def _interpolate(image: Float[Tensor, "channel height width"], pixels: Float[Tensor, "point 2"]) -> Tensor:
    """Bilinear interpolation of an image, whose pixel centres are at integer + 0.5."""
    size = pixels.new_tensor([image.shape[2], image.shape[1]])
    grid = (2.0 * pixels / size - 1.0)[None, None]
    return functional.grid_sample(image[None].float(), grid, align_corners=False)[0, :, 0].T


def _nearest(covered: Float[Tensor, "place 3"], hidden: Float[Tensor, "texel 3"]) -> Tensor:
    """The nearest covered texel of each hidden one; of more than `MAX_TREE_POINTS`, evenly spaced ones."""
    from scipy.spatial import KDTree

    stride = -(-len(covered) // MAX_TREE_POINTS)
    return stride * torch.from_numpy(KDTree(covered[::stride].numpy()).query(hidden.numpy())[1])
