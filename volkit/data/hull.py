"""Where a scene can be, from pictures that say where nothing is: the bounding box of the visual hull."""

from collections.abc import Sequence

import torch

from volkit.data.listing import triple
from volkit.geometry import Cameras, Domain
from volkit.typing import Float, Int, Tensor, UInt8

__all__ = ["visual_hull_box"]

SIDE = 48  # lattice cells a side, in each of the two passes
MOST_CAMERAS = 48  # more of them no longer change a bounding box
OPAQUE_ALPHA = 8  # of 255: fainter than this is an antialiased rim or noise
SEEN_BY = 0.5  # a cell counts where this part of the cameras sees it whole: elsewhere nobody carves


def visual_hull_box(
    cameras: Cameras, images: Sequence[UInt8[Tensor, "height width channel"]], region: Domain
) -> Domain | None:
    """The box around all that no picture shows to be empty inside `region`, world frame; None where nothing is left.

    A lattice cell is refuted by a camera that sees it whole and sees only transparency there (Laurentini 1994).
    """
    step = max(1, len(images) // MOST_CAMERAS)
    chosen = range(0, len(images), step)
    integrals = {i: _integral(images[i][..., 3]) for i in chosen}
    box = region
    for _ in range(2):
        cell = torch.tensor(box.extent) / SIDE
        survivors = _carved(cameras, integrals, box)
        if not len(survivors):
            return None
        lower, upper = survivors.amin(0) - cell, survivors.amax(0) + cell  # half a cell, and half a cell of margin
        box = Domain(triple(lower.tolist()), triple(upper.tolist()))
    return box


def _integral(alpha: UInt8[Tensor, "height width"]) -> Int[Tensor, "height+1 width+1"]:
    opaque = (alpha > OPAQUE_ALPHA).int()
    return torch.nn.functional.pad(opaque.cumsum(0, dtype=torch.int32).cumsum(1, dtype=torch.int32), (1, 0, 1, 0))


def _carved(cameras: Cameras, integrals: dict[int, Tensor], box: Domain) -> Float[Tensor, "point 3"]:
    axes = [torch.arange(SIDE) + 0.5] * 3
    unit = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3) / SIDE
    points = torch.tensor(box.lower) + unit * torch.tensor(box.extent)
    radius = 0.5 * torch.tensor(box.extent).norm().item() / SIDE
    seen = torch.zeros(len(points), dtype=torch.int32)
    for camera, integral in integrals.items():
        whole, empty = _judged(cameras, camera, integral, points, radius)
        kept = ~(whole & empty)
        points, seen = points[kept], (seen + whole)[kept]
    return points[seen >= SEEN_BY * len(integrals)]


def _judged(cameras: Cameras, camera: int, integral: Tensor, points: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Whether all within `radius` of a point lies in this camera's picture, and whether it is transparent there."""
    width, height = cameras.size[camera].tolist()
    pixels, depth = cameras.project(camera, points)
    reach = radius * cameras.intrinsics[camera, :2] / depth.clamp_min(radius)[:, None]
    low, high = (pixels - reach).floor(), (pixels + reach).ceil()
    size = pixels.new_tensor([width, height])
    whole = (depth > radius) & (low >= 0).all(-1) & (high <= size).all(-1)
    x0, y0 = low.nan_to_num().clamp_min(0).minimum(size).long().unbind(-1)
    x1, y1 = high.nan_to_num().clamp_min(0).minimum(size).long().unbind(-1)
    count = integral[y1, x1] - integral[y0, x1] - integral[y1, x0] + integral[y0, x0]
    return whole, count == 0
