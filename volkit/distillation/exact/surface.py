"""Splats on what a teacher shows: one for each of some rays, where half of the light is gone."""

from functools import singledispatch

import torch
from torch.nn import functional

from volkit.distillation.spacing import spacing
from volkit.geometry import Cameras, Rays, quaternion_product
from volkit.geometry.spherical_harmonics import C0
from volkit.rendering.picture import Picture
from volkit.rendering.renderer import renderer_for
from volkit.rendering.volume import VolumeRenderer
from volkit.representations.field import Field
from volkit.representations.representation import Representation
from volkit.representations.splats import Splats
from volkit.typing import Float, Tensor

__all__ = ["SurfacePoints", "flattened", "place_splats", "surface_points"]


WIDE_SCALE, FLAT_SCALE = 0.7, 0.2  # standard deviations along the surface and across it, in distances between splats
OPACITY = 0.8
ROUNDS = 8  # of rays to a field, twice as many as splats in each: the last ones for scenes that fill few pixels

# Turns about (1, 1, 1): for each shortest axis the one that names it z and keeps the others in order.
TURNS = ((0.5, 0.5, 0.5, 0.5), (0.5, -0.5, -0.5, -0.5), (1.0, 0.0, 0.0, 0.0))


class SurfacePoints:
    """Points in the world frame, their colours and their normals, which face who saw them."""

    def __init__(self, positions: Tensor, colours: Tensor, normals: Tensor) -> None:
        self.positions, self.colours, self.normals = positions, colours, normals

    def __len__(self) -> int:
        return len(self.positions)

    @staticmethod
    def cat(parts: "list[SurfacePoints]") -> "SurfacePoints":
        """All points of some surfaces."""
        return SurfacePoints(
            *(torch.cat([getattr(p, name) for p in parts]) for name in ("positions", "colours", "normals"))
        )


@torch.no_grad()
def surface_points(teacher: Representation, cameras: Cameras, count: int, generator: torch.Generator) -> SurfacePoints:
    """About `count` points, or fewer where little is seen, at a teacher's median depth.

    A field is asked along random rays, a round after the other until there are enough: no more than a few for each
    splat, however large its pictures are. Others draw whole pictures.
    """
    return _points(teacher, cameras, count, generator)


@singledispatch
def _points(teacher: Representation, cameras: Cameras, count: int, generator: torch.Generator) -> SurfacePoints:
    renderer = renderer_for(teacher, normals=True)
    parts = [_seen(renderer(teacher, cameras[[i]]), cameras.picture_rays(i)) for i in range(len(cameras))]
    return SurfacePoints.cat(parts)


@_points.register
def _points_of_field(teacher: Field, cameras: Cameras, count: int, generator: torch.Generator) -> SurfacePoints:
    parts, found = [], 0
    for _ in range(ROUNDS):
        rays = cameras.random_rays(2 * count, generator)
        parts.append(_seen(VolumeRenderer(normals=True).rays(teacher, rays), rays))
        found += len(parts[-1])
        if found >= count:
            break
    return SurfacePoints.cat(parts)


def _seen(picture: Picture, rays: Rays) -> SurfacePoints:
    """Where rays that are more full than empty lose half of their light."""
    flat = picture.map(lambda value: value.reshape(len(rays), *value.shape[picture.opacity.dim() :]))
    assert flat.median is not None and flat.normal is not None
    seen = (torch.isfinite(flat.median) & (flat.opacity > 0.5)).nonzero()[:, 0]
    place = torch.addcmul(rays.origins[seen], rays.directions[seen], flat.median[seen, None])
    return SurfacePoints(place, flat.rgb[seen] / flat.opacity[seen, None], flat.normal[seen])


@torch.no_grad()
def place_splats(splats: Splats, surface: SurfacePoints, generator: torch.Generator) -> None:
    """Lay the splats on a surface: as many of its points as there are splats, or all that it has.

    Sizes follow the distance to the nearest neighbours, shapes lie flat on the surface, colours are those that were
    seen and do not depend on direction yet. ValueError where nothing was seen.
    """
    if not len(surface):
        raise ValueError("splats: the teacher shows nothing to lie on; look at it with volkit render")
    count = min(splats.config.count, len(surface))
    chosen = torch.randperm(len(surface), generator=generator, device=generator.device)[:count]
    chosen = chosen.to(surface.positions.device)
    local = splats.world_from_local.inverse()
    means, normals = local.points(surface.positions[chosen]), local.vectors(surface.normals[chosen])
    apart = spacing(means, splats.domain).clamp_min(1e-6 * splats.domain.diagonal)
    scales = apart[:, None] * means.new_tensor([WIDE_SCALE, WIDE_SCALE, FLAT_SCALE][: splats.log_scales.shape[1]])
    splats.replace_columns({
        "means": means,
        "quaternions": _facing(normals),
        "log_scales": scales.log(),
        "logits": torch.full_like(apart, OPACITY).logit(),
        "sh_dc": ((surface.colours[chosen] - 0.5) / C0)[:, None],
        "sh_rest": means.new_zeros(count, splats.sh_rest.shape[1], 3),
    })  # fmt: skip


def _facing(normals: Float[Tensor, "point 3"]) -> Float[Tensor, "point 4"]:
    """Quaternions that turn +Z to the normals along the shortest way; a missing normal turns nothing."""
    x, y, z = normals.unbind(-1)
    turn = torch.stack([1.0 + z, -y, x, torch.zeros_like(z)], -1)
    down = (z < -0.9999)[:, None]  # the opposite of +Z: any axis across it will do
    turn = torch.where(down, turn.new_tensor([0.0, 1.0, 0.0, 0.0]), turn)
    lost = (normals.square().sum(-1) < 0.5)[:, None]
    return functional.normalize(torch.where(lost, turn.new_tensor([1.0, 0.0, 0.0, 0.0]), turn), dim=-1)


def flattened(columns: dict[str, Tensor]) -> dict[str, Tensor]:
    """Columns of splats without the shortest axis, which becomes the third, the normal; surfels stay as they are."""
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
