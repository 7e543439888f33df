"""The interface of samplers: which points of a ray to ask."""

from typing import Protocol

from volkit.geometry import Rays, RaySamples

__all__ = ["Sampler"]


class Sampler(Protocol):
    """Cuts rays of a field's local frame into the intervals worth asking."""

    def __call__(self, rays: Rays) -> RaySamples:
        """Intervals of every ray, packed, sorted by ray then distance."""
        ...
