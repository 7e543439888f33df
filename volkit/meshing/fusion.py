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


@torch.no_grad()
def fused_surface(scene: Representation, box: Domain, cameras: Cameras, cells: int) -> Triangles:
    """Marching cubes of the mean truncated distance to the median depths that world-frame cameras see; local frame.

    A lattice point in front of a depth is empty, by as much as it lies in front; one that lies more than the band
    behind it says nothing. Pictures that show nothing empty what they see. Only blocks near some depth are asked.
    """
    place, lower, upper = scene.world_from_local, torch.tensor(box.lower), torch.tensor(box.upper)
    lattice = lattice_over(lower, upper, cells)
    depths = [_depth(scene, cameras[[index]]) for index in range(len(cameras))]
    found = []
    for index, depth in enumerate(depths):
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
    sums, weights = torch.zeros(len(world)), torch.zeros(len(world))
    for number, depth in enumerate(depths):
        _fuse(world, cameras, number, depth.cpu(), band, sums, weights)
    known = weights >= SEEN_BY
    distance = -sums[known] / weights[known]  # positive inside
    return zero_surface(lattice, index[known], distance)


def _depth(scene: Representation, camera: Cameras) -> Float[Tensor, "height width"]:
    seen = renderer_for(scene)(scene, camera)
    assert seen.median is not None
    return seen.median[0]


def _fuse(
    world: Tensor, cameras: Cameras, number: int, depth: Tensor, band: float, sums: Tensor, weights: Tensor
) -> None:
    """Add what one camera says of the points."""
    pixels, ahead = cameras.project(number, world)
    inside = ((pixels >= 0) & (pixels < cameras.size[number])).all(-1) & (ahead > 0)
    rows = inside.nonzero()[:, 0]
    column, row = pixels[rows].long().unbind(-1)
    away = (world[rows] - cameras.centres[number]).norm(dim=-1)
    ahead = ((depth[row, column] - away) / band).clamp_max(1.0)
    near = (ahead >= -1.0).nonzero()[:, 0]
    sums.index_add_(0, rows[near], ahead[near])
    weights.index_add_(0, rows[near], torch.ones(len(near)))
