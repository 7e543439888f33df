"""Splats that hang in the air, far from all others."""

from importlib.util import find_spec

import torch

from volkit.typing import Bool, Float, Tensor

__all__ = ["floating"]


def floating(positions: Float[Tensor, "point 3"], neighbours: int, ratio: float) -> Bool[Tensor, " point"]:
    """Which points are lonely: their mean distance to the nearest `neighbours` is beyond `mean + ratio deviation`.

    Mean and standard deviation are those of all points' mean distances: statistical outlier removal (Rusu et al. 2008,
    "Towards 3D point cloud based object maps for household environments"). RuntimeError without scipy.
    """
    if find_spec("scipy") is None:
        raise RuntimeError("finding floaters needs scipy; pip install 'volkit[mesh]'")
    from scipy.spatial import KDTree

    known = min(neighbours, len(positions) - 1)
    if known < 1:
        return torch.zeros(len(positions), dtype=torch.bool, device=positions.device)
    places = positions.detach().cpu().numpy()
    apart, _ = KDTree(places).query(places, k=known + 1, workers=-1)  # the first is the point itself
    distance = torch.from_numpy(apart[:, 1:]).mean(1)
    far = distance > distance.mean() + ratio * distance.std(correction=0)
    return far.to(positions.device)
