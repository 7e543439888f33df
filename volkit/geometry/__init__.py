"""Values without parameters: rays, cameras, domains, frames, spherical harmonics."""

from volkit.geometry.cameras import Camera, Cameras
from volkit.geometry.domain import Box, Domain
from volkit.geometry.frames import UP_AXIS, Frame, Similarity, turn
from volkit.geometry.lens import FISHEYE, OPENCV, PINHOLE, Lens
from volkit.geometry.morton import morton_cells, morton_codes
from volkit.geometry.quaternions import quaternion_of, quaternion_product, rotations_of
from volkit.geometry.rays import Points, Rays, RaySamples
from volkit.geometry.spherical_harmonics import rotate_sh, sh_basis, sh_count

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
