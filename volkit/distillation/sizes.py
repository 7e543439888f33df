"""How large a representation is when nobody says: as in its paper, but no finer than its pictures can show."""

from volkit.geometry import Cameras, Domain, Similarity
from volkit.representations import REPRESENTATIONS, HashGridConfig, RepresentationConfig, SplatsConfig
from volkit.sampling.occupancy import pixel_width

__all__ = ["checked_degree", "default_config"]

CELLS = 4.0  # of a hash grid's finest level in a pixel: at 200 pixels 2048 cells cost 1.3 dB in the same minute


def checked_degree(degree: int) -> int:
    """A degree of spherical harmonics that splats can have; ValueError for any other."""
    if not 0 <= degree <= 4:
        raise ValueError(f"--sh-degree {degree}: the harmonics of splats have degree 0 to 4")
    return degree


def default_config(
    kind: str, domain: Domain, place: Similarity, cameras: Cameras | None, splats: SplatsConfig
) -> RepresentationConfig:
    """The default configuration of a kind for a scene seen by these world-frame cameras; `splats` if it is those."""
    if kind == splats.kind:
        return splats
    config = REPRESENTATIONS[kind]()
    if isinstance(config, HashGridConfig) and cameras is not None and not domain.contracted:
        return config.with_finest(CELLS * max(domain.extent) / pixel_width(domain, place, cameras))
    return config
