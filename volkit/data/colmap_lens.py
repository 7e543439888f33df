"""COLMAP's camera models as our lenses."""

import math

import numpy as np

from volkit.data.colmap_files import CameraRow
from volkit.files.errors import FormatError
from volkit.geometry import FISHEYE, OPENCV, PINHOLE, Lens

__all__ = ["lens_of"]

ONE_FOCAL = ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")
Numbers = tuple[float, ...]


def lens_of(source, camera: CameraRow) -> tuple[Lens, Numbers, tuple[float, float, float, float], str]:
    """Lens, coefficients in its order, intrinsics (fx, fy, cx, cy), and a note where the model is approximated."""
    params = camera.params
    if camera.model in ONE_FOCAL:
        intrinsics, rest = (params[0], params[0], params[1], params[2]), params[3:]
    else:
        intrinsics, rest = (params[0], params[1], params[2], params[3]), params[4:]
    match camera.model:
        case "SIMPLE_PINHOLE" | "PINHOLE":
            return PINHOLE, (), intrinsics, ""
        case "SIMPLE_RADIAL" | "RADIAL" | "OPENCV" | "FULL_OPENCV":
            # Shorter lists are the first of k1 k2 p1 p2 k3 k4 k5 k6.
            return (OPENCV, rest, intrinsics, "") if any(rest) else (PINHOLE, (), intrinsics, "")
        case "OPENCV_FISHEYE" | "SIMPLE_RADIAL_FISHEYE" | "RADIAL_FISHEYE":
            return FISHEYE, rest, intrinsics, ""
        case "THIN_PRISM_FISHEYE":
            k1, k2, p1, p2, k3, k4, sx1, sy1 = rest
            if any((p1, p2, sx1, sy1)):
                fact = "uses THIN_PRISM_FISHEYE with tangential or prism terms, which no lens here has"
                raise FormatError(source, fact, "run colmap image_undistorter first")
            return FISHEYE, (k1, k2, k3, k4), intrinsics, ""
        case _:
            return _field_of_view(source, camera, intrinsics, rest[0])


def _field_of_view(source, camera: CameraRow, intrinsics, omega: float):
    """FOV model `r_d = atan(2 r tan(w / 2)) / w` as a fisheye polynomial in theta, fitted over the picture.

    With c = 2 tan(w / 2) / w the focal lengths take the factor c, the model's slope at the centre (Devernay and
    Faugeras 2001). More than a tenth of a pixel off raises FormatError.
    """
    if abs(omega) < 1e-6:
        return PINHOLE, (), intrinsics, ""
    fx, fy, cx, cy = intrinsics
    slope = 2 * math.tan(omega / 2) / omega
    corner = max(math.hypot(x / fx, y / fy) for x in (cx, camera.size[0] - cx) for y in (cy, camera.size[1] - cy))
    widest = math.atan(math.tan(min(corner * omega, 1.5)) / (2 * math.tan(omega / 2)))
    theta = np.linspace(1e-4, max(widest, 1e-3), 400)
    wanted = np.arctan(2 * np.tan(theta) * math.tan(omega / 2)) / (omega * slope)
    powers = np.stack([theta**n for n in (3, 5, 7, 9)], -1)
    found, *_ = np.linalg.lstsq(powers, wanted - theta, rcond=None)
    error = float(np.abs(powers @ found + theta - wanted).max() * slope * max(fx, fy))
    if not error < 0.1:
        raise FormatError(source, f"its FOV lens is {error:.1f} pixels from any lens here", "undistort it first")
    note = f"FOV lens fitted by a fisheye polynomial, {error:.3f} pixels at worst"
    return FISHEYE, tuple(found.tolist()), (fx * slope, fy * slope, cx, cy), note
