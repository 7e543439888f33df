"""Which points of a ray, or of space, to ask."""

from volkit.sampling.occupancy import OccupancySampler, stride_for
from volkit.sampling.occupancy_grid import OccupancyGrid, fill_occupancy, visible_cells
from volkit.sampling.sampler import Sampler

__all__ = ["OccupancyGrid", "OccupancySampler", "Sampler", "fill_occupancy", "stride_for", "visible_cells"]
