"""Isosurfaces of fields, at the density that they have at the depths seen by cameras."""

import torch
from torch.nn import functional

from volkit.geometry import Cameras
from volkit.geometry.triangles import Triangles
from volkit.meshing.lattice import Lattice, extract_zero, label_components, lattice_over
from volkit.rendering.volume import VolumeRenderer
from volkit.representations.field import OCCUPANCY_RESOLUTION, Field
from volkit.representations.occupancy_bits import occupancy_cells, unpack_bits
from volkit.typing import Bool, Float, Int, Tensor

__all__ = ["extract_isosurface", "fill_inside", "opaque_density"]

RAY_COUNT = 1 << 14
SURFACE_OPACITY = 0.9  # smallest opacity of rays that measure the density of the surface
SOFT_SHARE = 0.01  # share of the surface that may be less dense than the level: with the median, cloth had holes
POINTS_AT_ONCE = 1 << 18
MAX_LOG_RATIO = 3.0  # of log(density / level): values far from the surface must not move it
TUNNEL_SPACINGS = 2  # lattice spacings: passages less than twice as wide are closed
BLUR_SPACINGS = 0.8  # lattice spacings, deviation of the Gaussian that smooths density; 1 erodes thin parts


@torch.no_grad()
def opaque_density(field: Field, cameras: Cameras, generator: torch.Generator) -> float:
    """The density of a field's surface: the `SOFT_SHARE` quantile of densities at the median depths of rays.

    Args:
        field: the scene.
        cameras: world frame.
        generator: draws the rays; on the cameras' device.

    Raises:
        ValueError: no ray ends in the field.
    """
    rays = cameras.random_rays(RAY_COUNT, generator).to(field.device)
    rendered = VolumeRenderer().rays(field, rays)
    assert rendered.median is not None
    ended = (torch.isfinite(rendered.median) & (rendered.opacity > SURFACE_OPACITY)).nonzero()[:, 0]
    if not len(ended):
        raise ValueError("mesh: no camera sees a surface in the field; look at it with volkit render")
    world = torch.addcmul(rays.origins[ended], rays.directions[ended], rendered.median[ended, None])
    density = field.density(field.world_from_local.inverse().points(world))
    return float(density.quantile(SOFT_SHARE).clamp_min(1e-6))


@torch.no_grad()
def extract_isosurface(field: Field, level: float, cells: int) -> Triangles:
    """Marching cubes of log(density / level), smoothed, on a lattice over the blocks that may hold matter; local frame.

    Space that can be reached neither from the cameras of its capture nor from outside is filled. `cells` counts
    intervals along the longest side of the occupied part of the field's inner box. ValueError for an empty field.
    """
    from scipy.ndimage import gaussian_filter

    occupied = occupancy_cells(field.device)[unpack_bits(field.occupancy)]
    centres = field.domain.local_from_unit((occupied + 0.5) / OCCUPANCY_RESOLUTION)
    lower, upper = (centres.new_tensor(end) for end in (field.bounds().lower, field.bounds().upper))
    centres = centres[((centres >= lower) & (centres <= upper)).all(-1)]
    if not len(centres):
        raise ValueError("mesh: the field is empty; look at it with volkit render")
    # of a contracted domain the inner box is the inner half of the cube
    share = 2.0 if field.domain.contracted else 1.0
    cell = share * max(field.bounds().extent) / OCCUPANCY_RESOLUTION
    lattice = lattice_over((centres.amin(0) - cell).maximum(lower), (centres.amax(0) + cell).minimum(upper), cells)
    index, positions = lattice.points(lattice.blocks_near(centres.cpu(), cell).nonzero())
    parts = [_log_ratio(field, some, level) for some in positions.to(field.device).split(POINTS_AT_ONCE)]
    values = lattice.fill(index, _close_borders(lattice, index, torch.cat(parts)), -MAX_LOG_RATIO)
    values = fill_inside(values, _camera_places(field, lattice), MAX_LOG_RATIO)
    return extract_zero(lattice, torch.from_numpy(gaussian_filter(values.numpy(), BLUR_SPACINGS)))


def _log_ratio(field: Field, positions: Float[Tensor, "point 3"], level: float) -> Float[Tensor, " point"]:
    density = field.density(positions).float().clamp_min(1e-9)
    return (density / level).log().clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).cpu()


def _camera_places(field: Field, lattice: Lattice) -> Int[Tensor, "place 3"]:
    """The lattice points next to the capture's cameras, of those inside the lattice."""
    if field.capture is None:
        return torch.zeros(0, 3, dtype=torch.long)
    positions = field.world_from_local.inverse().points(field.capture.cameras.centres.cpu())
    index = ((positions - torch.tensor(lattice.lower)) / lattice.spacing).round().long()
    return index[((index >= 0) & (index < torch.tensor(lattice.shape))).all(-1)]


def _close_borders(lattice: Lattice, index: Tensor, values: Tensor) -> Tensor:
    """Values with empty faces of the box, so that surfaces which leave it are closed there."""
    edge = ((index == 0) | (index == torch.tensor(lattice.shape) - 1)).any(-1)
    return torch.where(edge, -MAX_LOG_RATIO, values)


def fill_inside(values: Float[Tensor, "x y z"], free: Int[Tensor, "place 3"], full: float) -> Float[Tensor, "x y z"]:
    """Values, positive in matter, set to `full` where a ball cannot come from outside or from `free` places.

    The ball has the radius `TUNNEL_SPACINGS` (morphological closing); values within that radius of its reach stay.
    """
    pad = TUNNEL_SPACINGS + 1
    matter = functional.pad(values > 0, (pad,) * 6)
    components = label_components(~_dilate(matter, TUNNEL_SPACINGS))
    reached = components[tuple((free + pad).unbind(-1))].unique()
    outside = torch.isin(components, torch.cat([reached[reached > 0], components[:1, 0, 0]]).unique())
    inner = (slice(pad, -pad),) * 3
    near_outside = _dilate(outside, TUNNEL_SPACINGS)
    return torch.where(
        _dilate(near_outside, 1)[inner], torch.where(near_outside[inner] | (values > 0), values, full), full
    )


def _dilate(mask: Bool[Tensor, "x y z"], by: int) -> Bool[Tensor, "x y z"]:
    """A mask dilated by so many spacings along each axis."""
    grown = mask[None, None].float()
    for axis in range(3):
        kernel = [1, 1, 1]
        kernel[axis] = 2 * by + 1
        grown = functional.max_pool3d(grown, kernel, 1, [(k - 1) // 2 for k in kernel])
    return grown[0, 0] > 0
