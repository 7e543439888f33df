"""Where a scene is looked at from: named views, and a circle around it."""

from dataclasses import dataclass

import torch

from volkit.geometry import Cameras, turn
from volkit.rendering.viewpoints import FIELD_OF_VIEW, occupied_sphere
from volkit.representations import Representation

__all__ = ["ViewPath", "orbit_path"]

ELEVATION = 25.0  # degrees, around a scene that does not know how it was captured


@dataclass(frozen=True)
class ViewPath:
    """Named cameras that share a lens model, and which of them are held out."""

    names: tuple[str, ...]
    cameras: Cameras
    held_out: tuple[str, ...] = ()

    def chosen(self, kept: list[int]) -> "ViewPath":
        """The views at these positions."""
        return ViewPath(tuple(self.names[i] for i in kept), self.cameras[torch.tensor(kept)], self.held_out)


def orbit_path(scene: Representation, count: int, size: int) -> Cameras:
    """World-frame pinhole cameras on a level circle, `size` pixels on the longest side, looking at the scene's middle.

    With a capture the circle has its cameras' mean height, distance and focal length, and looks at the point closest
    to their axes; else it frames the occupied cells from 25 degrees up.
    """
    angle = torch.arange(count) * (2.0 * torch.pi / count)
    level = turn(scene.frame, "zup")
    circle = level.vectors(torch.stack([angle.cos(), angle.sin(), torch.zeros(count)], -1))
    up = level.vectors(torch.tensor([0.0, 0.0, 1.0]))
    if scene.capture is None:
        centre, radius = occupied_sphere(scene)
        tilt, half = torch.tensor(ELEVATION).deg2rad(), torch.tensor(FIELD_OF_VIEW / 2)
        away = float(1.05 * radius / half.sin())
        centres = centre.cpu() + away * (tilt.cos() * circle + tilt.sin() * up)
        return Cameras.looking_at(centres, centre.cpu(), up, float(0.5 * size / half.tan()), (size, size))
    cameras = scene.capture.cameras.resized(size)
    focus, _ = cameras.focus()
    offset = cameras.centres - focus
    height = offset @ up
    away = (offset - height[:, None] * up).norm(dim=-1).mean()
    centres = focus + away * circle + height.mean() * up
    width, height = cameras.size[0].tolist()
    # Video encoders want even sides.
    even = (max(width - width % 2, 2), max(height - height % 2, 2))
    return Cameras.looking_at(centres, focus, up, float(cameras.intrinsics[:, 0].mean()), even)
