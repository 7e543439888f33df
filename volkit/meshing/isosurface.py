"""The surface of a field: where its density is what it is at the depths that cameras see."""

import torch
from torch.nn import functional

from volkit.geometry import Cameras
from volkit.geometry.triangles import Triangles
from volkit.meshing.lattice import Lattice, lattice_over, pieces, surface_of
from volkit.rendering.volume import VolumeRenderer
from volkit.representations.field import OCCUPANCY_RESOLUTION, Field
from volkit.representations.occupancy_bits import occupancy_cells, unpack_bits
from volkit.typing import Bool, Float, Int, Tensor

__all__ = ["extract_isosurface", "opaque_density", "solid_inside"]

RAYS = 1 << 14
SURFACE_OPACITY = 0.9  # opacity of rays that say where a surface is
SOFT = 0.01  # share of the surface that may be less dense than the level: at the median one, cloth had holes
CHUNK = 1 << 18  # points asked at once
STEEPEST = 3.0  # of log(density / level): what is far from the surface must not move it
TUNNEL = 2  # lattice spacings: passages less than twice as wide are shut
BLUR = 0.8  # lattice spacings, deviation of a Gaussian: density is rough as a grid is fine; 1 thins what is thin


@torch.no_grad()
def opaque_density(field: Field, cameras: Cameras, generator: torch.Generator) -> float:
    """The level of a field's surface: of the densities where rays of world-frame cameras lose half of their light, that
    below which SOFT of them lie.

    ValueError where no ray ends in the field.
    """
    rays = cameras.random_rays(RAYS, generator).to(field.device)
    seen = VolumeRenderer().rays(field, rays)
    assert seen.median is not None
    ended = (torch.isfinite(seen.median) & (seen.opacity > SURFACE_OPACITY)).nonzero()[:, 0]
    if not len(ended):
        raise ValueError("mesh: no camera sees a surface in the field; look at it with volkit render")
    world = torch.addcmul(rays.origins[ended], rays.directions[ended], seen.median[ended, None])
    density = field.density(field.world_from_local.inverse().points(world))
    return float(density.quantile(SOFT).clamp_min(1e-6))


@torch.no_grad()
def extract_isosurface(field: Field, level: float, cells: int) -> Triangles:
    """Marching cubes of log(density / level), smoothed, on a lattice over the blocks that may hold matter; local frame.

    What neither the cameras of its capture nor the outside lead to is taken for full. `cells` counts intervals along
    the longest side of the occupied part of the field's inner box.
    """
    from scipy.ndimage import gaussian_filter

    occupied = occupancy_cells(field.device)[unpack_bits(field.occupancy)]
    middle = field.domain.local_from_unit((occupied + 0.5) / OCCUPANCY_RESOLUTION)
    lower, upper = (middle.new_tensor(end) for end in (field.bounds().lower, field.bounds().upper))
    middle = middle[((middle >= lower) & (middle <= upper)).all(-1)]
    if not len(middle):
        raise ValueError("mesh: the field is empty; look at it with volkit render")
    # of a contracted domain the inner box is the inner half of the cube
    share = 2.0 if field.domain.contracted else 1.0
    cell = share * max(field.bounds().extent) / OCCUPANCY_RESOLUTION
    lattice = lattice_over((middle.amin(0) - cell).maximum(lower), (middle.amax(0) + cell).minimum(upper), cells)
    index, positions = lattice.points(lattice.near(middle.cpu(), cell).nonzero())
    parts = [_steepness(field, some, level) for some in positions.to(field.device).split(CHUNK)]
    values = lattice.filled(index, _closed(lattice, index, torch.cat(parts)), -STEEPEST)
    values = solid_inside(values, _stands(field, lattice), STEEPEST)
    return surface_of(lattice, torch.from_numpy(gaussian_filter(values.numpy(), BLUR)))


def _steepness(field: Field, positions: Float[Tensor, "point 3"], level: float) -> Float[Tensor, " point"]:
    density = field.density(positions).float().clamp_min(1e-9)
    return (density / level).log().clamp(-STEEPEST, STEEPEST).cpu()


def _stands(field: Field, lattice: Lattice) -> Int[Tensor, "place 3"]:
    """The lattice points next to where cameras stood, of those that stood in it."""
    if field.capture is None:
        return torch.zeros(0, 3, dtype=torch.long)
    stood = field.world_from_local.inverse().points(field.capture.cameras.centres.cpu())
    index = ((stood - torch.tensor(lattice.lower)) / lattice.spacing).round().long()
    return index[((index >= 0) & (index < torch.tensor(lattice.shape))).all(-1)]


def _closed(lattice: Lattice, index: Tensor, values: Tensor) -> Tensor:
    """Empty at the faces of the box: what goes on beyond it ends there, closed."""
    edge = ((index == 0) | (index == torch.tensor(lattice.shape) - 1)).any(-1)
    return torch.where(edge, -STEEPEST, values)


def solid_inside(values: Float[Tensor, "x y z"], free: Int[Tensor, "place 3"], full: float) -> Float[Tensor, "x y z"]:
    """Values, positive in matter, with `full` wherever neither what lies beyond the lattice nor `free` places lead.

    A ball of the tunnel's radius must pass (morphological closing); within that radius of where it comes, nothing is
    changed.
    """
    pad = TUNNEL + 1
    matter = functional.pad(values > 0, (pad,) * 6)
    pools = pieces(~_wider(matter, TUNNEL))
    reached = pools[tuple((free + pad).unbind(-1))].unique()
    outside = torch.isin(pools, torch.cat([reached[reached > 0], pools[:1, 0, 0]]).unique())
    inner = (slice(pad, -pad),) * 3
    shore = _wider(outside, TUNNEL)
    return torch.where(_wider(shore, 1)[inner], torch.where(shore[inner] | (values > 0), values, full), full)


def _wider(mask: Bool[Tensor, "x y z"], by: int) -> Bool[Tensor, "x y z"]:
    """A mask and what is within so many spacings of it, along each axis."""
    grown = mask[None, None].float()
    for axis in range(3):
        kernel = [1, 1, 1]
        kernel[axis] = 2 * by + 1
        grown = functional.max_pool3d(grown, kernel, 1, [(k - 1) // 2 for k in kernel])
    return grown[0, 0] > 0
