"""Rivals of the splat rasteriser: tiles in plain torch, and Mitsuba 3's ray-traced ellipsoids."""

import torch

from volkit.ops.splat import Projected
from volkit.typing import Float, Tensor

__all__ = ["count_pairs", "tiled"]

TILE = 16


def tiled(
    flat: Projected, size: tuple[int, int], counted: list[int] | None = None
) -> tuple[Float[Tensor, "height width 3"], Float[Tensor, "height width"]]:
    """The picture of `volkit.ops.splat.blend`, tile by tile in plain torch: how one writes it without a kernel.

    Splats are ordered by depth once; every tile gathers those whose extents meet it and blends them at its 256 pixels
    at once, by a cumulative product. `counted` receives the pairs of pixel and splat that are drawn.
    """
    width, height = size
    drawn = (flat.extents[:, 0] > 0).nonzero()[:, 0]
    order = drawn[torch.argsort(flat.depths[drawn])]
    low, high = (flat.means - flat.extents)[order].detach(), (flat.means + flat.extents)[order].detach()
    means, conics, opacities, colours = (t[order] for t in (flat.means, flat.shapes, flat.opacities, flat.colours))
    rows = []
    for top in range(0, height, TILE):
        near = (high[:, 1] > top) & (low[:, 1] < top + TILE)
        row = []
        for left in range(0, width, TILE):
            here = (near & (high[:, 0] > left) & (low[:, 0] < left + TILE)).nonzero()[:, 0]
            y, x = torch.meshgrid(
                torch.arange(top, min(top + TILE, height)) + 0.5,
                torch.arange(left, min(left + TILE, width)) + 0.5,
                indexing="ij",
            )
            dx, dy = x.reshape(-1, 1) - means[here, 0], y.reshape(-1, 1) - means[here, 1]
            a, b, c = conics[here].unbind(-1)
            alpha = (opacities[here] * torch.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy)).clamp_max(0.99)
            alpha = torch.where(alpha >= 1 / 255, alpha, 0.0)
            alpha = torch.where(torch.cumprod(1 - alpha.detach(), 1) > 1e-4, alpha, 0.0)
            left_over = torch.cumprod(1 - alpha, 1)
            weights = alpha * torch.cat([torch.ones_like(left_over[:, :1]), left_over[:, :-1]], 1)
            if counted is not None:
                counted.append(int((weights > 0).sum()))
            row.append(torch.cat([weights @ colours[here], weights.sum(1, keepdim=True)], 1).view(*x.shape, 4))
        rows.append(torch.cat(row, 1))
    picture = torch.cat(rows)
    return picture[..., :3], picture[..., 3]


@torch.no_grad()
def count_pairs(flat: Projected, size: tuple[int, int]) -> int:
    """Useful pairs of pixel and splat: alpha at least 1/255, transmittance above 1e-4."""
    counted: list[int] = []
    tiled(flat, size, counted)
    return sum(counted)
