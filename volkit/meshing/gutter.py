"""Texels that lie on no face take what the nearest that does has, so that no seam shows at any mip level."""

import torch
from torch.nn import functional

from volkit.typing import Bool, Float, Int, Tensor

__all__ = ["finer", "nearest", "spread"]


def spread(
    picture: Float[Tensor, "height width channel"], filled: Bool[Tensor, "height width"]
) -> Float[Tensor, "height width channel"]:
    """Every texel that is empty takes the value of the nearest that is not."""
    rows, columns, _ = nearest(filled)
    return picture[rows, columns]


def finer(
    coarse: Float[Tensor, "low low channel"], known: Bool[Tensor, "low low"], size: int
) -> Float[Tensor, "size size channel"]:
    """Between the known texels of a coarser picture linear; what lies beside none of them takes what the nearest has.

    Texels beside a chart are those within a coarse one: where its gutter is narrower than that, charts mix.
    """
    seen = known.to(coarse)[..., None]
    share = torch.cat([coarse * seen, seen], -1).permute(2, 0, 1)[None]
    fine = functional.interpolate(share, (size, size), mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
    return spread(fine[..., :-1] / fine[..., -1:].clamp_min(1e-6), fine[..., -1] > 0)


def nearest(
    filled: Bool[Tensor, "height width"],
) -> tuple[Int[Tensor, "height width"], Int[Tensor, "height width"], Float[Tensor, "height width"]]:
    """Row and column of the filled texel nearest to each, and how far it is."""
    from scipy.ndimage import distance_transform_edt

    found = distance_transform_edt(~filled.numpy(), return_indices=True)
    assert found is not None
    far, places = found
    rows, columns = torch.from_numpy(places).long()
    return rows, columns, torch.from_numpy(far).float()
