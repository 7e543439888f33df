"""Where pictures are taken from: biased to the front, as those of the web are."""

import torch

from volkit.generation import CameraSampler
from volkit.geometry import Cameras
from volkit.typing import Float, Tensor

__all__ = ["cameras_at", "even_views", "joint_views", "web_views"]

FRONT, SPREAD = 0.7, 45.0  # the share of views that see the face, and how far about it, degrees
DISTANCE, FIELD_OF_VIEW = (3.4, 4.0), 40.0
ELEVATION, OVERHEAD = (-15.0, 65.0), (55.0, 90.0)  # degrees; one view in ten from above


def web_views(count: int, side: int, generator: torch.Generator) -> Cameras:
    """Views as photographs of things are taken."""
    u = torch.rand(6, count, generator=generator)
    azimuth = torch.where(u[0] < FRONT, SPREAD * (2.0 * u[1] - 1.0), 360.0 * u[1] - 180.0)
    low, high = (
        torch.where(u[2] < 0.1, o, e) for o, e in zip(torch.tensor(OVERHEAD), torch.tensor(ELEVATION), strict=True)
    )
    return cameras_at(azimuth, torch.lerp(low, high, u[3]), _between(DISTANCE, u[4]), side)


def joint_views(groups: int, views: int, side: int, generator: torch.Generator) -> Cameras:
    """Groups of neighbours that stand evenly around one object, at one height and distance."""
    u = torch.rand(3, groups, generator=generator)
    around = torch.arange(views) * (360.0 / views)
    azimuth = (360.0 * u[0][:, None] + around).flatten()
    elevation, distance = _between(ELEVATION, u[1]), _between(DISTANCE, u[2])
    return cameras_at(azimuth, elevation.repeat_interleave(views), distance.repeat_interleave(views), side)


def even_views(count: int, side: int, elevation: float = 20.0) -> Cameras:
    """Views evenly around from the front on, in the middle of the distances."""
    return CameraSampler(distance=DISTANCE, field_of_view=(FIELD_OF_VIEW, FIELD_OF_VIEW)).turntable(
        count, side, elevation
    )


def cameras_at(
    azimuth: Float[Tensor, " camera"],
    elevation: Float[Tensor, " camera"],
    distance: Float[Tensor, " camera"],
    side: int,
) -> Cameras:
    """Square pictures, `CameraSampler.at` with the one field of view."""
    return CameraSampler.at(azimuth, elevation, distance, torch.full_like(distance, FIELD_OF_VIEW), side)


def _between(ends: tuple[float, float], share: Tensor) -> Tensor:
    return ends[0] + (ends[1] - ends[0]) * share
