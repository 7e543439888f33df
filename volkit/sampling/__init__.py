"""Samplers: the points of rays and of space at which a field is evaluated."""

from volkit.sampling.hull import visible_cells
from volkit.sampling.occupancy import OccupancySampler, learning_stride, pixel_width, stride_for
from volkit.sampling.occupancy_grid import OccupancyGrid, copy_occupancy, fill_occupancy
from volkit.sampling.sampler import ImportanceSampler, Sampler, UniformSampler

__all__ = [
    "ImportanceSampler",
    "OccupancyGrid",
    "OccupancySampler",
    "Sampler",
    "UniformSampler",
    "copy_occupancy",
    "fill_occupancy",
    "learning_stride",
    "pixel_width",
    "stride_for",
    "visible_cells",
]
