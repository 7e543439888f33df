"""Texels that lie on no face take what the nearest that does has, so that no seam shows at any mip level."""

import torch

from volkit.typing import Bool, Float, Tensor

__all__ = ["spread"]


def spread(
    picture: Float[Tensor, "height width channel"], filled: Bool[Tensor, "height width"]
) -> Float[Tensor, "height width channel"]:
    """Every texel that is empty takes the value of the nearest that is not."""
    from scipy.ndimage import distance_transform_edt

    found = distance_transform_edt(~filled.numpy(), return_distances=False, return_indices=True)
    rows, columns = torch.from_numpy(found).long()
    return picture[rows, columns]
