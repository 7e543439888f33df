"""Splats that hang in the air, far from all others."""

from importlib.util import find_spec

import torch

from volkit.files.extras import advice
from volkit.typing import Bool, Float, Tensor

__all__ = ["floating"]


def floating(
    means: Float[Tensor, "splat 3"], reach: Float[Tensor, " splat"], neighbours: int, ratio: float
) -> Bool[Tensor, " splat"]:
    """Which splats are lonely: their mean distance to the nearest `neighbours` is beyond `mean + ratio deviation`.

    Mean and standard deviation are those of all splats' mean distances: statistical outlier removal (Rusu et al. 2008,
    "Towards 3D point cloud based object maps for household environments"). That alone takes the large splats of plain
    surfaces: one is lonely only if the distance is also beyond its own `reach`. RuntimeError without scipy.
    """
    if find_spec("scipy") is None:
        raise RuntimeError(f"finding floaters needs scipy; {advice('mesh', 'scipy')}")
    from scipy.spatial import KDTree

    known = min(neighbours, len(means) - 1)
    if known < 1:
        return torch.zeros(len(means), dtype=torch.bool, device=means.device)
    places = means.detach().cpu().numpy()
    apart, _ = KDTree(places).query(places, k=known + 1, workers=-1)  # the first is the point itself
    distance = torch.from_numpy(apart[:, 1:]).mean(1)
    far = distance > distance.mean() + ratio * distance.std(correction=0)
    return far.to(means.device) & (distance.to(reach) > reach)
