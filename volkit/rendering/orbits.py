"""Viewpoints of a scene: named views, and cameras on a circle around it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from volkit.geometry import Cameras, turn
from volkit.rendering.viewpoints import visible_corners
from volkit.representations import Representation

__all__ = ["ViewPath", "Viewpoint", "cameras_around", "orbit_path"]

FRAMED_SHARE = 0.9  # of a picture's width and height that a framed object may take: a margin of a twentieth all around


@dataclass(frozen=True)
class ViewPath:
    """Named cameras that share a lens model.

    Attributes:
        names: of the views.
        cameras: world frame.
        held_out: names of the views that are kept from training.
    """

    names: tuple[str, ...]
    cameras: Cameras
    held_out: tuple[str, ...] = ()

    def select(self, indices: list[int]) -> "ViewPath":
        """The views at these positions."""
        return ViewPath(tuple(self.names[i] for i in indices), self.cameras[torch.tensor(indices)], self.held_out)


@dataclass(frozen=True)
class Viewpoint:
    """A viewpoint around an object; by default in front of it, at a distance from which all of it is in the picture.

    An object's front faces -Y of a world with +Z up, as glTF's +Z does after the change of frames.

    Attributes:
        azimuth: degrees from the front; 90 is at +X, 180 behind the object.
        elevation: degrees above the horizon, -90 to 90.
        fov: vertical angle of the picture, degrees.
        distance: from the centre of the object's box, in longest edges of that box; None: the whole box is in the
            picture, with a margin, whatever the picture's shape.

    Raises:
        ValueError: an angle or the distance is out of range.
    """

    azimuth: float = 0.0
    elevation: float = 15.0
    fov: float = 40.0
    distance: float | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.fov < 180.0:
            raise ValueError(f"viewpoint: fov is an angle between 0 and 180 degrees, got {self.fov:g}")
        if not -90.0 <= self.elevation <= 90.0:
            raise ValueError(f"viewpoint: elevation is an angle from -90 to 90 degrees, got {self.elevation:g}")
        if self.distance is not None and not self.distance > 0.0:
            raise ValueError(f"viewpoint: distance is more than 0 object sizes, got {self.distance:g}")


def cameras_around(
    scene: Representation, azimuths: Sequence[float], viewpoint: Viewpoint, size: tuple[int, int]
) -> Cameras:
    """World-frame pinhole cameras around a scene, all at one distance from its centre.

    Args:
        scene: whose `visible_box` is framed.
        azimuths: degrees, added to the viewpoint's own.
        viewpoint: elevation, angle and distance.
        size: (width, height) in pixels.

    Returns:
        Cameras on the CPU, as those of captures are.
    """
    corners = visible_corners(scene)
    middle = corners.mean(0)
    level = turn(scene.frame, "zup")
    azimuth = torch.deg2rad(torch.tensor([float(angle) for angle in azimuths]) + viewpoint.azimuth)
    tilt = math.radians(viewpoint.elevation)
    outward = [azimuth.sin() * math.cos(tilt), -azimuth.cos() * math.cos(tilt), azimuth.new_tensor(math.sin(tilt))]
    outward = level.vectors(torch.stack(torch.broadcast_tensors(*outward), -1))
    up = level.vectors(torch.tensor([0.0, 0.0, 1.0]))
    width, height = size
    tangent = math.tan(math.radians(viewpoint.fov) / 2.0)
    focal = 0.5 * height / tangent
    cameras = Cameras.looking_at(middle + outward, middle, up, focal, size)
    extent = corners.amax(0) - corners.amin(0)
    if viewpoint.distance is not None:
        distance = viewpoint.distance * float(extent.max())
    else:
        # A corner c is in the picture where |c.x| <= share tan (distance + c.z): the largest over corners and cameras.
        from_camera = (corners - middle) @ cameras.world_from_camera[:, :, :3]
        reach = from_camera.new_tensor([tangent * width / height, tangent]) * FRAMED_SHARE
        distance = float((from_camera[..., :2].abs() / reach - from_camera[..., 2:]).max())
    return Cameras.looking_at(middle + distance * outward, middle, up, focal, size)


def orbit_path(
    scene: Representation, count: int, size: int | tuple[int, int], viewpoint: Viewpoint | None = None
) -> Cameras:
    """World-frame pinhole cameras on a level circle around a scene, the first one in front of it.

    With a capture and no `viewpoint` the circle has its cameras' mean height, distance and focal length, and looks at
    the point closest to their axes; else it frames the whole object (`cameras_around`).

    Args:
        scene: at the centre of the circle.
        count: number of cameras.
        size: pixels on the longest side, or (width, height).
        viewpoint: elevation, angle and distance; None: of the capture, else the default one.
    """
    degrees = [360.0 * index / count for index in range(count)]
    if scene.capture is None or viewpoint is not None:
        sides = (size, size) if isinstance(size, int) else size
        return cameras_around(scene, degrees, viewpoint or Viewpoint(), sides)
    level = turn(scene.frame, "zup")
    azimuth = torch.deg2rad(torch.tensor(degrees))
    circle = level.vectors(torch.stack([azimuth.sin(), -azimuth.cos(), torch.zeros(count)], -1))
    up = level.vectors(torch.tensor([0.0, 0.0, 1.0]))
    cameras = scene.capture.cameras.resize(max(size) if isinstance(size, tuple) else size)
    focus, _ = cameras.focus()
    offset = cameras.centres - focus
    height = offset @ up
    distance = (offset - height[:, None] * up).norm(dim=-1).mean()
    centres = focus + distance * circle + height.mean() * up
    width, height = cameras.size[0].tolist()
    # Video encoders take even sides only.
    even = (max(width - width % 2, 2), max(height - height % 2, 2))
    return Cameras.looking_at(centres, focus, up, float(cameras.intrinsics[:, 0].mean()), even)
