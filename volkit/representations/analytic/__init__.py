"""Analytic scenes: exact shapes, textures and light in closed form."""

from volkit.representations.analytic.appearance import Light, Texture
from volkit.representations.analytic.field import AnalyticConfig, AnalyticField, Hits, Primitive, trace

__all__ = ["AnalyticConfig", "AnalyticField", "Hits", "Light", "Primitive", "Texture", "trace"]
