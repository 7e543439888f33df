"""Analytic scenes: exact shapes, textures and light in closed form."""

from volkit.representations.analytic.appearance import Finish, Light
from volkit.representations.analytic.field import AnalyticConfig, AnalyticField, Hits, Primitive, trace

__all__ = ["AnalyticConfig", "AnalyticField", "Finish", "Hits", "Light", "Primitive", "trace"]
