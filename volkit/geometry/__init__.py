"""Values without parameters: rays, cameras, domains, frames, spherical harmonics."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # of some of it files of splats have need, who do not wait for torch
    from volkit.geometry.cameras import Camera, Cameras
    from volkit.geometry.domain import Box, Domain
    from volkit.geometry.frames import UP_AXIS, Frame, Similarity, turn
    from volkit.geometry.lens import FISHEYE, OPENCV, PINHOLE, Lens
    from volkit.geometry.morton import morton_cells, morton_codes
    from volkit.geometry.quaternions import quaternion_of, quaternion_product, rotations_of
    from volkit.geometry.rays import Points, Rays, RaySamples
    from volkit.geometry.spherical_harmonics import rotate_sh, sh_basis, sh_count

# Where each name lives that is imported when it is first used.
PLACES = {
    "volkit.geometry.cameras": ("Camera", "Cameras"),
    "volkit.geometry.domain": ("Box", "Domain"),
    "volkit.geometry.frames": ("UP_AXIS", "Frame", "Similarity", "turn"),
    "volkit.geometry.lens": ("FISHEYE", "OPENCV", "PINHOLE", "Lens"),
    "volkit.geometry.morton": ("morton_cells", "morton_codes"),
    "volkit.geometry.quaternions": ("quaternion_of", "quaternion_product", "rotations_of"),
    "volkit.geometry.rays": ("Points", "RaySamples", "Rays"),
    "volkit.geometry.spherical_harmonics": ("rotate_sh", "sh_basis", "sh_count"),
}
PLACE_OF = {name: place for place, names in PLACES.items() for name in names}

__all__ = [
    "FISHEYE",
    "OPENCV",
    "PINHOLE",
    "UP_AXIS",
    "Box",
    "Camera",
    "Cameras",
    "Domain",
    "Frame",
    "Lens",
    "Points",
    "RaySamples",
    "Rays",
    "Similarity",
    "morton_cells",
    "morton_codes",
    "quaternion_of",
    "quaternion_product",
    "rotate_sh",
    "rotations_of",
    "sh_basis",
    "sh_count",
    "turn",
]


def __getattr__(name: str) -> Any:
    if name not in PLACE_OF:
        raise AttributeError(f"module 'volkit.geometry' has no attribute '{name}'")
    found = globals()[name] = getattr(import_module(PLACE_OF[name]), name)
    return found


def __dir__() -> list[str]:
    return __all__
