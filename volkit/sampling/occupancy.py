"""Sampling by an occupancy grid: intervals in cells that may hold matter alone (instant-ngp, appendix E.1)."""

from dataclasses import dataclass

import torch

from volkit.geometry import Cameras, Domain, Rays, RaySamples, Similarity
from volkit.ops.march import MarchGrid, Stride, march
from volkit.representations.field import OCCUPANCY_RESOLUTION, Field

__all__ = ["OccupancySampler", "learning_stride", "march_grid", "pixel_width", "stride_for"]

STEPS_PER_CUBE = 1024  # instant-ngp: sqrt(3) / 1024 of the unit cube
CONE_RATE = 1.0 / 256.0  # instant-ngp's growth of steps with distance in scenes larger than one cube
# instant-ngp's steps put 500 samples on a ray through a photograph; two cores then see too few rays. Measured on
# photographs of a room at 480 pixels, squared error of rays after 25 s: 0.044 with 1, 0.030 with 4, 0.005 with 10.
UNBOUNDED_STEP_SCALE = 10.0
MAX_STRIDE_SCALE = 4.0  # of learning steps, for pictures of few pixels: matter thinner than this would be stepped over


def stride_for(domain: Domain, step_scale: float = 1.0) -> Stride:
    """Steps for a domain: `step_scale * sqrt(3) / 1024` of its longest edge, growing with distance when contracted.

    On contracted domains steps are `UNBOUNDED_STEP_SCALE` times as long.

    Args:
        domain: of the field.
        step_scale: factor of the steps; larger ones are faster and coarser.

    Returns:
        Steps in the domain's unit.

    Example:
        >>> round(stride_for(Domain.cube(1.0)).step, 5)
        0.00338
    """
    if domain.contracted:
        step_scale *= UNBOUNDED_STEP_SCALE
    step = step_scale * 3.0**0.5 / STEPS_PER_CUBE * max(domain.extent)
    return Stride(step, CONE_RATE * step_scale if domain.contracted else 0.0)


def learning_stride(field: Field, cameras: Cameras) -> Stride:
    """Steps for learning from pictures: as long as a pixel is wide at the centre of the scene, `|c - o| / f`.

    Pictures do not resolve less, and shorter steps would leave time for fewer rays: photographs of 400 pixels reached
    31.9 dB instead of 29.9 in the same time. Never shorter than `stride_for`, at most `MAX_STRIDE_SCALE` times as long;
    contracted domains have steps of their own.

    Args:
        field: to be trained.
        cameras: of the pictures, world frame.

    Returns:
        Steps in local units.
    """
    base = stride_for(field.domain)
    if field.domain.contracted:
        return base
    step_scale = pixel_width(field.domain, field.world_from_local, cameras) / base.step
    return stride_for(field.domain, min(max(step_scale, 1.0), MAX_STRIDE_SCALE))


def pixel_width(domain: Domain, place: Similarity, cameras: Cameras) -> float:
    """Width of a pixel at the centre of a domain, `|c - o| / f`.

    Args:
        domain: whose centre c counts.
        place: world from the domain's frame.
        cameras: world frame, with centres o and focal lengths f.

    Returns:
        The median over the cameras, in local units.
    """
    middle = place.points(cameras.centres.new_tensor([domain.centre]))
    widths = (cameras.centres - middle).norm(dim=-1) / cameras.intrinsics[:, 0]
    return float(widths.median()) / place.scale


def march_grid(domain: Domain) -> MarchGrid:
    """The lattice of the occupancy bits of a field on this domain."""
    return MarchGrid(domain.lower, domain.upper, domain.contracted, OCCUPANCY_RESOLUTION)


@dataclass(frozen=True)
class OccupancySampler:
    """A sampler of intervals of `stride` in the occupied cells of a field (`ops.march`).

    Attributes:
        field: whose occupancy counts.
        stride: lengths of the intervals, local units.
        near: distance at which rays begin, local units.
        generator: shifts the samples of every ray by a random part of a step; None: no shift.
    """

    field: Field
    stride: Stride
    near: float = 0.0
    generator: torch.Generator | None = None

    def __call__(self, rays: Rays) -> RaySamples:
        """Intervals of rays in the field's local frame."""
        domain = self.field.domain
        enter, leave = domain.span(rays.origins, rays.directions, self.near)
        jitter = None
        if self.generator is not None:
            jitter = torch.rand(len(rays), generator=self.generator, device=enter.device, dtype=enter.dtype)
        grid = march_grid(domain)
        bits = self.field.occupancy
        return RaySamples(*march(rays.origins, rays.directions, enter, leave, bits, grid, self.stride, jitter))
