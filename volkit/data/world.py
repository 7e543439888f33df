"""From a dataset's frame to the world frame: right-handed, +Z up, metres where the unit is known."""

import math
from dataclasses import replace

import torch

from volkit.data.listing import Listing
from volkit.geometry import Cameras, Similarity
from volkit.typing import Float, Tensor

__all__ = ["align", "parse_up", "rotation_to_z"]

MAX_OFFSET = 1e3  # of the cameras' spread: beyond it float32 loses digits, and the scene is moved to the origin
MIN_UP_COSINE = 0.5  # cameras tilted more than 60 degrees on average suggest another up axis


def parse_up(text: str) -> Float[Tensor, "3"]:
    """Parse `x`, `-y`, `+z` or `0,0.1,1` as a unit direction, float64."""
    sign, axis = (-1.0 if text.startswith("-") else 1.0), text.lstrip("+-").lower()
    if axis in ("x", "y", "z"):
        return sign * torch.eye(3, dtype=torch.float64)["xyz".index(axis)]
    try:
        direction = torch.tensor([float(value) for value in text.split(",")], dtype=torch.float64)
    except ValueError:
        direction = torch.zeros(0)
    if direction.shape != (3,) or not direction.isfinite().all() or direction.norm() < 1e-9:
        raise ValueError(f"up '{text}': write x, y, z with a sign if needed, or three numbers such as 0,0.1,1")
    return direction / direction.norm()


def rotation_to_z(up: Float[Tensor, "3"]) -> Float[Tensor, "3 3"]:
    """The smallest rotation that takes a unit direction to +Z (Rodrigues); for -Z half a turn about X."""
    cosine = up[2].item()
    if cosine < -1 + 1e-9:
        return torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=up.dtype))
    x, y = up[0].item(), up[1].item()
    # axis = up x z = (y, -x, 0); R = I + [axis]x + [axis]x^2 / (1 + cos)
    cross = torch.tensor([[0.0, 0.0, -x], [0.0, 0.0, -y], [x, y, 0.0]], dtype=up.dtype)
    return torch.eye(3, dtype=up.dtype) + cross + cross @ cross / (1.0 + cosine)


def align(
    listing: Listing, cameras: Cameras, up: str | None, unit_scale: float
) -> tuple[Cameras, Float[Tensor, "point 3"] | None, Similarity, str]:
    """Cameras and points in the world frame, float32; world_from_file; and a note on how up was found."""
    if not (math.isfinite(unit_scale) and unit_scale > 0):
        raise ValueError(f"unit scale must be positive, got {unit_scale}")
    mean = torch.nn.functional.normalize(cameras.up.double().mean(0), dim=0)
    if up is not None:
        direction, how = parse_up(up), f"world up is the file's {up}"
    elif listing.up is not None:
        direction, how = torch.tensor(listing.up, dtype=torch.float64), "world up is the file's +z"
        if mean @ direction < MIN_UP_COSINE:
            how += f"; the cameras' mean up is {', '.join(f'{v:.2f}' for v in mean.tolist())}: see `up`"
    else:
        direction, how = mean, f"world up is the cameras' mean up, file's {', '.join(f'{v:.2f}' for v in mean)}"
    rotation = rotation_to_z(direction)
    if torch.allclose(rotation, torch.eye(3, dtype=torch.float64), atol=1e-9):  # rounding of the mean
        rotation = torch.eye(3, dtype=torch.float64)
    centre, spread = cameras.centres.mean(0), (cameras.centres - cameras.centres.mean(0)).norm(dim=-1).max()
    shift = torch.zeros(3, dtype=torch.float64)
    if centre.norm() > MAX_OFFSET * spread.clamp_min(1e-9) and len(cameras) > 1:
        shift, how = -(rotation @ centre) * unit_scale, how + "; moved to the origin"
    similarity = Similarity(tuple(map(tuple, rotation.tolist())), tuple(shift.tolist()), unit_scale)
    pose = torch.cat(
        [rotation @ cameras.world_from_camera[:, :, :3], similarity.points(cameras.centres)[:, :, None]], -1
    )
    points = None if listing.points is None else similarity.points(listing.points.double()).float()
    return replace(cameras, world_from_camera=pose.float()), points, similarity, how
