"""Surfaces from depth pictures of many cameras, by TSDF fusion (Curless and Levoy 1996)."""

from dataclasses import dataclass

import torch

from volkit.geometry import Cameras, Domain
from volkit.geometry.triangles import Triangles
from volkit.meshing.lattice import extract_known_zero, lattice_over
from volkit.rendering.renderer import renderer_for
from volkit.representations.representation import Representation
from volkit.typing import Float, Tensor

__all__ = ["fuse_depths"]

BAND = 4.0  # lattice spacings, the truncation distance in front of a depth and behind it
# Bands behind a depth up to which a point counts as inside, and its weight: at 0 the seat of a chair had holes, at 0.3
# two thirds more pixels were outside its outline than at 0.15.
TRUNCATION_CELLS, HIDDEN_SHARE = 4.0, 0.15
MIN_CAMERAS = 2.0  # smallest number of cameras of a point: surfaces seen by one alone are often floaters
MIN_COSINE = 0.1  # smallest weight of a view, by the cosine to the surface: slanted depths are less accurate
SPREAD_BANDS = 0.5  # bands between the median and the mean depth at which a view has half its weight


@torch.no_grad()
def fuse_depths(scene: Representation, box: Domain, cameras: Cameras, cells: int) -> Triangles:
    """Marching cubes of the mean truncated distance to the median depths that world-frame cameras see; local frame.

    A lattice point in front of a depth is outside, by its distance in front. A point more than the band behind a depth
    counts as inside with a small weight: with weight zero the few views that see too deep would dig holes. Pixels
    without any depth mark everything along their ray as empty. A view is weighted by the cosine between its ray and the
    rendered normal (of surfels that of their planes), and by how sharply its light ends,
    `1 / (1 + ((median - mean) / (SPREAD_BANDS band))²)`. Only blocks near some depth are evaluated; `cells` counts
    intervals along the longest side of the depths found in the box.
    """
    place, lower, upper = scene.world_from_local, torch.tensor(box.lower), torch.tensor(box.upper)
    views = [_view(scene, cameras[[index]]) for index in range(len(cameras))]
    found = []
    for index, view in enumerate(views):
        rays, depth = place.inverse().rays(cameras.picture_rays(index)), view.depth.flatten()
        hit = torch.isfinite(depth).nonzero()[:, 0]
        found.append(torch.addcmul(rays.origins[hit], rays.directions[hit], depth[hit, None] / place.scale))
    points = torch.cat(found).cpu()
    points = points[((points >= lower) & (points <= upper)).all(-1)]
    if not len(points):
        raise ValueError("mesh: no camera sees a surface; look at the scene with volkit render")
    margin = BAND * float((points.amax(0) - points.amin(0)).max()) / cells
    lattice = lattice_over((points.amin(0) - margin).maximum(lower), (points.amax(0) + margin).minimum(upper), cells)
    index, local = lattice.points(lattice.blocks_near(points, BAND * lattice.spacing).nonzero())
    world = place.points(local)
    band = BAND * lattice.spacing * place.scale
    sums = torch.zeros(3, len(world))  # weighted distance, weight, cameras
    for number, view in enumerate(views):
        _fuse(world, cameras, number, view, band, sums)
    observed = sums[2] >= MIN_CAMERAS
    distance = -sums[0, observed] / sums[1, observed]  # positive inside
    return extract_known_zero(lattice, index[observed], distance)


@dataclass(frozen=True)
class _View:
    """The depth picture of one camera: median depth, weight by its slant, and difference of the mean depth from it."""

    depth: Float[Tensor, "height width"]
    cosine: Float[Tensor, "height width"]
    spread: Float[Tensor, "height width"]

    def weight(self, band: float) -> Float[Tensor, "height width"]:
        """The weight of each depth, 1 in empty pixels."""
        sharp = 1.0 / (1.0 + (self.spread / (SPREAD_BANDS * band)).square())
        return torch.where(self.depth.isfinite(), self.cosine * sharp, 1.0)


def _view(scene: Representation, camera: Cameras) -> _View:
    picture = renderer_for(scene, normals=True)(scene, camera)
    assert picture.median is not None and picture.normal is not None
    depth, mean, normal = picture.median[0].cpu(), picture.depth[0].cpu(), picture.normal[0].cpu()
    cosine = (normal * camera.picture_rays(0).directions.view_as(normal)).sum(-1).abs()
    return _View(depth, cosine.clamp_min(MIN_COSINE), (depth - mean).abs())


def _fuse(world: Tensor, cameras: Cameras, number: int, view: _View, band: float, sums: Tensor) -> None:
    """Add the truncated distances of one camera to the sums of the points."""
    pixels, ahead = cameras.project(number, world)
    width, height = cameras.size[number].tolist()
    column, row = pixels.unbind(-1)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (ahead > 0)
    index = torch.where(inside, row.long() * width + column.long(), 0)
    forward = cameras.picture_rays(number).directions @ cameras.world_from_camera[number, :, 2]
    depth, weights = view.depth.flatten() * forward, view.weight(band).flatten()
    clearance = (depth[index] - ahead) / (band * forward)[index]
    weight = (
        weights[index] * torch.where(clearance < -1.0, HIDDEN_SHARE, 1.0) * (inside & (clearance >= -TRUNCATION_CELLS))
    )
    sums[0].addcmul_(weight, clearance.clamp_(-1.0, 1.0))
    sums[1] += weight
    sums[2] += weight > 0
