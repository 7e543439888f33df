"""Splats on what a teacher shows: one for each of some pixels, where half of the light is gone."""

from collections.abc import Sequence

import torch
from torch.nn import functional

from volkit.geometry import Cameras
from volkit.geometry.spherical_harmonics import C0
from volkit.render.picture import Picture
from volkit.representations.splats import Splats
from volkit.typing import Float, Tensor

__all__ = ["Surface", "splats_on", "surface_points"]

NEIGHBOURS = 3  # whose mean distance is a splat's size (3DGS)
WIDE, FLAT = 0.7, 0.2  # standard deviations along the surface and across it, in distances between splats
OPACITY = 0.8
COMPARED = 1 << 26  # distances at once


class Surface:
    """Points in the world frame, their colours and their normals, which face who saw them."""

    def __init__(self, positions: Tensor, colours: Tensor, normals: Tensor) -> None:
        self.positions, self.colours, self.normals = positions, colours, normals

    def __len__(self) -> int:
        return len(self.positions)


def surface_points(pictures: Sequence[Picture], cameras: Cameras) -> Surface:
    """Every pixel that is more full than empty, at its median depth. Pictures `[1, height, width]` with normals."""
    parts = []
    for index, picture in enumerate(pictures):
        assert picture.median is not None and picture.normal is not None
        rays = cameras.picture_rays(index)
        depth, opacity = picture.median.flatten(), picture.opacity.flatten()
        seen = (torch.isfinite(depth) & (opacity > 0.5)).nonzero()[:, 0]
        place = torch.addcmul(rays.origins[seen], rays.directions[seen], depth[seen, None])
        colour = picture.rgb.reshape(-1, 3)[seen] / opacity[seen, None]
        parts.append((place, colour, picture.normal.reshape(-1, 3)[seen]))
    return Surface(*(torch.cat(part) for part in zip(*parts, strict=True)))


@torch.no_grad()
def splats_on(splats: Splats, surface: Surface, generator: torch.Generator) -> None:
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
    spacing = _spacing(means).clamp_min(1e-6 * splats.domain.diagonal)
    scales = spacing[:, None] * means.new_tensor([WIDE, WIDE, FLAT][: splats.log_scales.shape[1]])
    splats.replaced({
        "means": means,
        "quaternions": _facing(normals),
        "log_scales": scales.log(),
        "logits": torch.full_like(spacing, OPACITY).logit(),
        "sh_dc": ((surface.colours[chosen] - 0.5) / C0)[:, None],
        "sh_rest": means.new_zeros(count, splats.sh_rest.shape[1], 3),
    })  # fmt: skip


def _spacing(points: Float[Tensor, "point 3"]) -> Float[Tensor, " point"]:
    """Mean distance to the nearest neighbours."""
    nearest = min(NEIGHBOURS, len(points) - 1)
    if nearest < 1:
        return torch.ones_like(points[:, 0])
    rows = max(1, COMPARED // len(points))
    found = [torch.cdist(some, points).topk(nearest + 1, largest=False).values[:, 1:] for some in points.split(rows)]
    return torch.cat(found).mean(1)


def _facing(normals: Float[Tensor, "point 3"]) -> Float[Tensor, "point 4"]:
    """Quaternions that turn +Z to the normals along the shortest way; a missing normal turns nothing."""
    x, y, z = normals.unbind(-1)
    turn = torch.stack([1.0 + z, -y, x, torch.zeros_like(z)], -1)
    down = (z < -0.9999)[:, None]  # the opposite of +Z: any axis across it will do
    turn = torch.where(down, turn.new_tensor([0.0, 1.0, 0.0, 0.0]), turn)
    lost = (normals.square().sum(-1) < 0.5)[:, None]
    return functional.normalize(torch.where(lost, turn.new_tensor([1.0, 0.0, 0.0, 0.0]), turn), dim=-1)
