"""Where rays first meet an analytic scene: sphere tracing, the exact depth and normal of a picture."""

from typing import NamedTuple

import torch

from volkit.geometry import Rays
from volkit.representations.analytic.field import AnalyticField
from volkit.typing import Bool, Float, Tensor

__all__ = ["Hits", "trace"]


class Hits(NamedTuple):
    """First surface points of rays, local frame: distance along the unit ray, outward normal; inf and 0 for a miss."""

    distance: Float[Tensor, " ray"]
    normal: Float[Tensor, "ray 3"]
    hit: Bool[Tensor, " ray"]


@torch.no_grad()
def trace(field: AnalyticField, rays: Rays, *, tolerance: float = 1e-5, steps: int = 256) -> Hits:
    """Walk every ray by the distance to the nearest surface until it is closer than `tolerance` (Hart 1996).

    The ray is at most `tolerance` short of the surface, measured along the surface normal; a ray that has not arrived
    after `steps` grazes the surface and counts as a miss.
    """
    near, far = field.domain.span(rays.origins, rays.directions)
    distance = near.clone()
    hit = torch.zeros_like(near, dtype=torch.bool)
    walking = torch.nonzero(near < far)[:, 0]
    for _ in range(steps):
        if not len(walking):
            break
        at = rays.origins[walking] + distance[walking, None] * rays.directions[walking]
        gap = field.signed_distance(at)
        arrived = gap < tolerance
        hit[walking[arrived]] = True
        distance[walking] += torch.where(arrived, torch.zeros_like(gap), gap)
        walking = walking[~arrived & (distance[walking] < far[walking])]
    normal = torch.zeros_like(rays.origins)
    if hit.any():
        normal[hit] = field.normals(rays.origins[hit] + distance[hit, None] * rays.directions[hit])
    return Hits(torch.where(hit, distance, torch.full_like(distance, torch.inf)), normal, hit)
