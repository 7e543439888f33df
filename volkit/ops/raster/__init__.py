"""Triangle rasterisation: `rasterise` finds the face of each pixel, `antialias` smooths the outlines of surfaces."""

from volkit.ops.raster.antialias import antialias, opposite_corners
from volkit.ops.raster.rasterise import Fragments, rasterise

__all__ = ["Fragments", "antialias", "opposite_corners", "rasterise"]
