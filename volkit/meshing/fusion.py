"""The surface of what can only be looked at: depths of many cameras, fused (Curless and Levoy 1996)."""

import torch

from volkit.geometry import Cameras, Domain
from volkit.geometry.triangles import Triangles
from volkit.meshing.lattice import lattice_over, zero_surface
from volkit.render.renderer import renderer_for
from volkit.representations.representation import Representation
from volkit.typing import Float, Tensor

__all__ = ["fused_surface"]

BAND = 4.0  # lattice spacings, in front of a depth and behind it, within which it is believed
SEEN_BY = 2.0  # cameras, at least: one alone is as often a floater
GRAZING = 0.1  # least weight of a view, by the cosine to the surface: depths that slant are wrong by more


@torch.no_grad()
def fused_surface(scene: Representation, box: Domain, cameras: Cameras, cells: int) -> Triangles:
    """Marching cubes of the mean truncated distance to the median depths that world-frame cameras see; local frame.

    A lattice point in front of a depth is empty, by as much as it lies in front; one that lies more than the band
    behind it says nothing. Pictures that show nothing empty what they see. A view counts by the cosine between its ray
    and the normal that it shows, of surfels that of their planes. Only blocks near some depth are asked.
    """
    place, lower, upper = scene.world_from_local, torch.tensor(box.lower), torch.tensor(box.upper)
    lattice = lattice_over(lower, upper, cells)
    views = [_view(scene, cameras[[index]]) for index in range(len(cameras))]
    found = []
    for index, (depth, _) in enumerate(views):
        rays = place.inverse().rays(cameras.picture_rays(index))
        hit = torch.isfinite(depth).flatten().nonzero()[:, 0]
        found.append(torch.addcmul(rays.origins[hit], rays.directions[hit], depth.flatten()[hit, None] / place.scale))
    points = torch.cat(found).cpu()
    points = points[((points >= lower) & (points <= upper)).all(-1)]
    if not len(points):
        raise ValueError("mesh: no camera sees a surface; look at the scene with volkit render")
    index, local = lattice.points(lattice.near(points, BAND * lattice.spacing).nonzero())
    world = place.points(local)
    band = BAND * lattice.spacing * place.scale
    sums = torch.zeros(3, len(world))  # weighted distance, weight, cameras
    for number, view in enumerate(views):
        _fuse(world, cameras, number, view, band, sums)
    known = sums[2] >= SEEN_BY
    distance = -sums[0, known] / sums[1, known]  # positive inside
    return zero_surface(lattice, index[known], distance)


def _view(
    scene: Representation, camera: Cameras
) -> tuple[Float[Tensor, "height width"], Float[Tensor, "height width"]]:
    """Median depth, and how much it is worth."""
    seen = renderer_for(scene, normals=True)(scene, camera)
    assert seen.median is not None and seen.normal is not None
    depth, normal = seen.median[0].cpu(), seen.normal[0].cpu()
    cosine = (normal * camera.picture_rays(0).directions.view_as(normal)).sum(-1).abs()
    return depth, torch.where(depth.isfinite(), cosine.clamp_min(GRAZING), 1.0)


def _fuse(world: Tensor, cameras: Cameras, number: int, view: tuple[Tensor, Tensor], band: float, sums: Tensor) -> None:
    """Add what one camera says of the points."""
    depth, worth = view
    pixels, ahead = cameras.project(number, world)
    inside = ((pixels >= 0) & (pixels < cameras.size[number])).all(-1) & (ahead > 0)
    rows = inside.nonzero()[:, 0]
    column, row = pixels[rows].long().unbind(-1)
    away = (world[rows] - cameras.centres[number]).norm(dim=-1)
    free = ((depth[row, column] - away) / band).clamp_max(1.0)
    near = (free >= -1.0).nonzero()[:, 0]
    weight = worth[row[near], column[near]]
    sums.index_add_(1, rows[near], torch.stack([weight * free[near], weight, torch.ones_like(weight)]))
