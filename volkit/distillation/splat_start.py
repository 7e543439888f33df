"""Initial splats: where photographs agree, or on the surface of a teacher."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn import functional

from volkit.geometry import Cameras, Domain, Rays, quaternion_product
from volkit.geometry.morton import morton_codes
from volkit.geometry.spherical_harmonics import C0
from volkit.rendering.picture import Picture
from volkit.rendering.renderer import renderer_for
from volkit.rendering.volume import VolumeRenderer
from volkit.representations.field import Field
from volkit.representations.representation import Representation
from volkit.representations.splats import Splats
from volkit.typing import Bool, Float, Tensor, UInt8

__all__ = [
    "PhotoConsistency",
    "SurfacePoints",
    "flatten_to_surfels",
    "initialise_on_surface",
    "initialise_splats",
    "neighbour_distances",
    "photo_consistency",
    "photo_consistent_points",
    "surface_points",
]

NEIGHBOUR_COUNT = 3  # of the mean distance, as in 3DGS
CURVE_COUNT = 6  # shifted against each other: neighbours that one separates are close along another (Chan 2002)
CURVE_STEPS = 8  # of the search along a curve, in each direction
CURVE_CELLS = 1 << 10  # of a curve along each axis


@torch.no_grad()
def neighbour_distances(points: Float[Tensor, "point 3"], domain: Domain) -> Float[Tensor, " point"]:
    """Mean distance to the three nearest neighbours, in the local unit; the domain's diagonal for a lone point.

    Neighbours are searched along Morton curves through the domain's unit cube: time is linear in the number of points,
    and the result is the mean itself or slightly more. In a contracted domain distant points are as close along the
    curves as near ones.
    """
    best = torch.full_like(points[:, 0], torch.inf)
    unit = domain.unit_from_local(points).clamp(0.0, 1.0)
    for curve in range(CURVE_COUNT):
        shifted = 0.5 * (unit + curve / CURVE_COUNT)
        order = morton_codes((shifted * (CURVE_CELLS - 1)).long()).argsort()
        best[order] = torch.minimum(best[order], _distances_along(points[order]))
    return torch.where(best.isinf(), domain.diagonal, best)


def _distances_along(points: Float[Tensor, "point 3"]) -> Float[Tensor, " point"]:
    """The mean distance of points to the nearest of those before and after them."""
    count = len(points)
    reach = min(CURVE_STEPS, count - 1)
    found = torch.full((count, 2 * reach), torch.inf, device=points.device)
    for step in range(1, reach + 1):
        distance = (points[step:] - points[:-step]).norm(dim=-1)
        found[:-step, 2 * step - 2] = distance
        found[step:, 2 * step - 1] = distance
    nearest = min(NEIGHBOUR_COUNT, reach)
    if nearest == 0:
        return torch.full_like(points[:, 0], torch.inf)
    return found.topk(nearest, largest=False).values.mean(1)


MAX_VIEWS = 48  # that points are projected into; more of them exclude little more empty space
CANDIDATES = 12  # points for each splat
HULL_ROUNDS = 4  # in which they are tested, to bound memory
MIN_VIEWS = 3  # of a point: fewer always agree
MAX_CONTRACTED_DEPTH = 0.95  # of a contracted cube's half width, 10 half boxes away: parallax does not resolve more
PHOTO_OPACITY = 0.1
WIDTH = 0.5  # standard deviation in distances between splats


class PhotoConsistency(NamedTuple):
    """The agreement of photographs about points.

    Attributes:
        views: number of photographs that show the point.
        colours: mean over these.
        deviation: standard deviation of the colours, over all channels.
        possible: whether some photograph shows the point, and none shows it as transparent.
    """

    views: Float[Tensor, " point"]
    colours: Float[Tensor, "point 3"]
    deviation: Float[Tensor, " point"]
    possible: Bool[Tensor, " point"]


@torch.no_grad()
def photo_consistency(
    positions: Float[Tensor, "point 3"],
    cameras: Cameras,
    images: Sequence[UInt8[Tensor, "height width channel"]],
    near: float,
) -> PhotoConsistency:
    """Project world-frame points into photographs, occlusion ignored, and compare the colours there.

    Args:
        positions: of the points.
        cameras: of the photographs.
        images: 8 bits a channel, with 3 channels, or 4 with straight alpha.
        near: depth up to which points are ignored, world units.
    """
    count, sums = torch.zeros_like(positions[:, 0]), torch.zeros(len(positions), 6, device=positions.device)
    possible = torch.ones_like(count, dtype=torch.bool)
    for index in range(0, len(images), max(1, len(images) // MAX_VIEWS)):
        pixels, depth = cameras.project(index, positions)
        inside = ((pixels >= 0) & (pixels < cameras.size[index])).all(-1) & (depth > near) & possible
        rows = inside.nonzero()[:, 0]
        column, row = pixels[rows].long().unbind(-1)
        value = images[index][row.cpu(), column.cpu()].to(positions)
        if value.shape[-1] == 4:
            possible[rows[value[:, 3] == 0]] = False
        colour = value[:, :3] / 255.0
        count[rows] += 1.0
        sums[rows] += torch.cat([colour, colour.square()], 1)
    mean, square = (sums / count.clamp_min(1.0)[:, None]).split(3, 1)
    variance = (square - mean.square()).clamp_min(0.0).sum(1) * count / (count - 1.0).clamp_min(1.0)
    return PhotoConsistency(count, mean, variance.sqrt(), possible & (count > 0))


@torch.no_grad()
def photo_consistent_points(
    splats: Splats, cameras: Cameras, images: Sequence[Tensor], near: float, generator: torch.Generator
) -> tuple[Float[Tensor, "point 3"], Float[Tensor, "point 3"]]:
    """World positions and colours of the most photo-consistent points, at most as many as there are splats.

    Candidates are drawn uniformly in the domain and restricted to the visual hull and to points that at least three
    views show; those with the least deviation are returned: points of a surface have the same colour in all views,
    points of empty space do not.
    """
    found = []
    for _ in range(HULL_ROUNDS):
        unit = torch.rand(CANDIDATES * len(splats) // HULL_ROUNDS, 3, generator=generator, device=splats.device)
        if splats.domain.contracted:
            unit = 0.5 + MAX_CONTRACTED_DEPTH * (unit - 0.5)
        world = splats.world_from_local.points(splats.domain.local_from_unit(unit))
        consistency = photo_consistency(world, cameras, images, near)
        rows = (consistency.possible & (consistency.views >= min(MIN_VIEWS, len(images)))).nonzero()[:, 0]
        found.append((world[rows], consistency.colours[rows], consistency.deviation[rows]))
    world, colours, deviation = (torch.cat(part) for part in zip(*found, strict=True))
    best = deviation.argsort()[: len(splats)]
    return world[best], colours[best]


@torch.no_grad()
def initialise_splats(
    splats: Splats, world: Float[Tensor, "point 3"], colours: Float[Tensor, "point 3"], generator: torch.Generator
) -> None:
    """Replace splats by faint balls, or discs of random direction, half as wide as their neighbours are away.

    Args:
        splats: changed in place.
        world: positions, world frame.
        colours: display-referred.
        generator: of the directions.
    """
    means = splats.world_from_local.inverse().points(world)
    widths = WIDTH * neighbour_distances(means, splats.domain).clamp_min(1e-6 * splats.domain.diagonal)
    splats.replace_columns({
        "means": means,
        "quaternions": torch.randn(len(means), 4, generator=generator, device=means.device),
        "log_scales": widths.log()[:, None].repeat(1, splats.log_scales.shape[1]),
        "logits": torch.full_like(widths, PHOTO_OPACITY).logit(),
        "sh_dc": ((colours - 0.5) / C0)[:, None],
        "sh_rest": means.new_zeros(len(means), splats.sh_rest.shape[1], 3),
    })  # fmt: skip


WIDE_SCALE, FLAT_SCALE = 0.7, 0.2  # standard deviations along and across a surface, in distances between splats
SURFACE_OPACITY = 0.8
RAY_ROUNDS = 8  # of two rays a splat; the last ones are for scenes that cover few pixels

# Quaternions about (1, 1, 1): for each shortest axis the rotation that makes it z and keeps the order of the others.
TURNS = ((0.5, 0.5, 0.5, 0.5), (0.5, -0.5, -0.5, -0.5), (1.0, 0.0, 0.0, 0.0))


class SurfacePoints:
    """Points on a surface, in the world frame.

    Args:
        positions: of the points.
        colours: display-referred.
        normals: unit vectors towards the camera.
    """

    def __init__(self, positions: Tensor, colours: Tensor, normals: Tensor) -> None:
        self.positions, self.colours, self.normals = positions, colours, normals

    def __len__(self) -> int:
        return len(self.positions)

    @staticmethod
    def cat(parts: "list[SurfacePoints]") -> "SurfacePoints":
        """The points of several."""
        return SurfacePoints(
            *(torch.cat([getattr(p, name) for p in parts]) for name in ("positions", "colours", "normals"))
        )


@torch.no_grad()
def surface_points(teacher: Representation, cameras: Cameras, count: int, generator: torch.Generator) -> SurfacePoints:
    """Points at a teacher's median depth.

    A field is evaluated along random rays, in rounds until there are about `count` points or few rays hit anything: a
    few rays for each splat, whatever the size of its pictures. Other scenes are rendered as whole pictures, with a
    point for every opaque pixel.

    Args:
        teacher: a scene of any kind.
        cameras: world frame.
        count: of the points of a field.
        generator: of its rays.
    """
    if not isinstance(teacher, Field):
        renderer = renderer_for(teacher, normals=True)
        parts = [_median_points(renderer(teacher, cameras[[i]]), cameras.picture_rays(i)) for i in range(len(cameras))]
        return SurfacePoints.cat(parts)
    parts, found = [], 0
    for _ in range(RAY_ROUNDS):
        rays = cameras.random_rays(2 * count, generator)
        parts.append(_median_points(VolumeRenderer(normals=True).rays(teacher, rays), rays))
        found += len(parts[-1])
        if found >= count:
            break
    return SurfacePoints.cat(parts)


def _median_points(picture: Picture, rays: Rays) -> SurfacePoints:
    """The points at median depth of rays with opacity above one half."""
    flat = picture.map(lambda value: value.reshape(len(rays), *value.shape[picture.opacity.dim() :]))
    assert flat.median is not None and flat.normal is not None
    hit = (torch.isfinite(flat.median) & (flat.opacity > 0.5)).nonzero()[:, 0]
    positions = torch.addcmul(rays.origins[hit], rays.directions[hit], flat.median[hit, None])
    return SurfacePoints(positions, flat.rgb[hit] / flat.opacity[hit, None], flat.normal[hit])


@torch.no_grad()
def initialise_on_surface(splats: Splats, surface: SurfacePoints, generator: torch.Generator) -> None:
    """Replace splats by flat ones on a surface, at random points of it, at most as many as `config.count`.

    Scales are relative to the distance of neighbours; colours do not depend on the direction yet.

    Raises:
        ValueError: the surface has no points.
    """
    if not len(surface):
        raise ValueError("splats: the teacher shows nothing to lie on; look at it with volkit render")
    count = min(splats.config.count, len(surface))
    chosen = torch.randperm(len(surface), generator=generator, device=generator.device)[:count]
    chosen = chosen.to(surface.positions.device)
    local = splats.world_from_local.inverse()
    means, normals = local.points(surface.positions[chosen]), local.vectors(surface.normals[chosen])
    distances = neighbour_distances(means, splats.domain).clamp_min(1e-6 * splats.domain.diagonal)
    scales = distances[:, None] * means.new_tensor([WIDE_SCALE, WIDE_SCALE, FLAT_SCALE][: splats.log_scales.shape[1]])
    splats.replace_columns({
        "means": means,
        "quaternions": _facing(normals),
        "log_scales": scales.log(),
        "logits": torch.full_like(distances, SURFACE_OPACITY).logit(),
        "sh_dc": ((surface.colours[chosen] - 0.5) / C0)[:, None],
        "sh_rest": means.new_zeros(count, splats.sh_rest.shape[1], 3),
    })  # fmt: skip


def _facing(normals: Float[Tensor, "point 3"]) -> Float[Tensor, "point 4"]:
    """The shortest rotations, quaternions, of +Z to the normals; identity where a normal is missing."""
    x, y, z = normals.unbind(-1)
    turn = torch.stack([1.0 + z, -y, x, torch.zeros_like(z)], -1)
    down = (z < -0.9999)[:, None]  # opposite to +Z: any axis perpendicular to it
    turn = torch.where(down, turn.new_tensor([0.0, 1.0, 0.0, 0.0]), turn)
    missing = (normals.square().sum(-1) < 0.5)[:, None]
    return functional.normalize(torch.where(missing, turn.new_tensor([1.0, 0.0, 0.0, 0.0]), turn), dim=-1)


def flatten_to_surfels(columns: dict[str, Tensor]) -> dict[str, Tensor]:
    """Columns of splats as surfels: the shortest axis becomes the normal, the third one; surfels stay as they are."""
    log_scales = columns["log_scales"]
    if log_scales.shape[1] == 2:
        return columns
    shortest = log_scales.argmin(-1, keepdim=True)
    kept = (shortest + shortest.new_tensor([1, 2])) % 3
    turns = log_scales.new_tensor(TURNS)[shortest[:, 0]]
    return columns | {
        "log_scales": log_scales.gather(1, kept),
        "quaternions": quaternion_product(columns["quaternions"], turns),
    }
