"""Triangles on a picture plane: `rasterise` says what each pixel shows, `antialias` smooths where surfaces end."""

from volkit.ops.raster.antialias import antialias, opposite_corners
from volkit.ops.raster.rasterise import Fragments, rasterise

__all__ = ["Fragments", "antialias", "opposite_corners", "rasterise"]
