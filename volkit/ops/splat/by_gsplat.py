"""Splats blended by gsplat (Ye et al. 2024), where a GPU has it: the yardstick of our own kernel, behind its door."""

import importlib

from volkit.typing import Float, Tensor

__all__ = ["TILE", "by_gsplat"]

TILE = 16  # pixels a side: gsplat's default and ours


def by_gsplat(
    means: Float[Tensor, "splat 2"],
    conics: Float[Tensor, "splat 3"],
    opacities: Float[Tensor, " splat"],
    depths: Float[Tensor, " splat"],
    channels: Float[Tensor, "splat channel"],
    extents: Float[Tensor, "splat 2"],
    size: tuple[int, int],
) -> tuple[Float[Tensor, "height width channel"], Float[Tensor, "height width"]]:
    """Channels and opacity as `ops.splat.blend` gives them for ellipses, but that alpha reaches 0.999 (gsplat 1.5)."""
    gsplat = importlib.import_module("gsplat")
    width, height = size
    tiles = (-(-width // TILE), -(-height // TILE))
    radii = extents.detach().ceil().int()
    _, keys, listed = gsplat.isect_tiles(means.detach()[None], radii[None], depths.detach()[None], TILE, *tiles)
    begins = gsplat.isect_offset_encode(keys, 1, *tiles)
    seen = (means[None], conics[None], channels[None], opacities[None])
    picture, opacity = gsplat.rasterize_to_pixels(*seen, width, height, TILE, begins, listed)
    return picture[0], opacity[0, ..., 0]
