"""Texels that lie on no face take what the nearest that does has, so that no seam shows at any mip level."""

import torch

from volkit.typing import Bool, Float, Int, Tensor

__all__ = ["nearest", "spread"]


def spread(
    picture: Float[Tensor, "height width channel"], filled: Bool[Tensor, "height width"]
) -> Float[Tensor, "height width channel"]:
    """Every texel that is empty takes the value of the nearest that is not."""
    rows, columns, _ = nearest(filled)
    return picture[rows, columns]


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
