"""How large a representation is when nobody says: as in its paper, but no finer than its pictures can show."""

from dataclasses import replace

from volkit.geometry import Cameras, Domain, Similarity
from volkit.representations import REPRESENTATIONS, HashGridConfig, RepresentationConfig, SplatsConfig
from volkit.sampling.occupancy import pixel_width

__all__ = ["suited"]

CELLS = 4.0  # of a hash grid's finest level in a pixel: at 200 pixels 2048 cells cost 1.3 dB in the same minute


def suited(
    kind: str, domain: Domain, place: Similarity, cameras: Cameras | None, max_splats: int, *, surfels: bool = False
) -> RepresentationConfig:
    """The default configuration of a kind for a scene seen by these world-frame cameras."""
    config = REPRESENTATIONS[kind]()
    if isinstance(config, SplatsConfig):
        return replace(config, count=min(config.count, max_splats), surfels=surfels)
    if isinstance(config, HashGridConfig) and cameras is not None and not domain.contracted:
        return config.reaching(CELLS * max(domain.extent) / pixel_width(domain, place, cameras))
    return config
