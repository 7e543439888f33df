"""How large a representation is when nobody says: as in its paper, but no finer than its pictures can show."""

from volkit.choices import ParameterError
from volkit.geometry import Cameras, Domain, Similarity
from volkit.representations import RepresentationConfig, SplatsConfig, config_class
from volkit.sampling.occupancy import pixel_width

__all__ = ["checked_degree", "default_config"]


def checked_degree(degree: int) -> int:
    """A degree of spherical harmonics that splats can have; ValueError for any other."""
    if not 0 <= degree <= 4:
        raise ParameterError(f"degree {degree}: the harmonics of splats have degree 0 to 4")
    return degree


def default_config(
    kind: str, domain: Domain, place: Similarity, cameras: Cameras | None, splats: SplatsConfig
) -> RepresentationConfig:
    """The default configuration of a kind for a scene seen by these world-frame cameras; `splats` if it is those."""
    if kind == splats.kind:
        return splats
    built = config_class(kind)
    if not issubclass(built, RepresentationConfig):
        raise ValueError(f"{kind}: is made of other scenes, and nothing by itself")
    config = built()
    if cameras is None or domain.contracted:
        return config
    return config.for_pictures(max(domain.extent) / pixel_width(domain, place, cameras))
