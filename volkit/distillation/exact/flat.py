"""Surfels of 3D Gaussians."""

from volkit.geometry import quaternion_product
from volkit.typing import Tensor

__all__ = ["flattened"]

# Turns about (1, 1, 1): for each shortest axis the one that names it z and keeps the others in order.
TURNS = ((0.5, 0.5, 0.5, 0.5), (0.5, -0.5, -0.5, -0.5), (1.0, 0.0, 0.0, 0.0))


def flattened(columns: dict[str, Tensor]) -> dict[str, Tensor]:
    """Columns of splats without the shortest axis, which becomes the third, the normal; surfels stay as they are."""
    log_scales = columns["log_scales"]
    if log_scales.shape[1] == 2:
        return columns
    shortest = log_scales.argmin(-1, keepdim=True)
    kept = (shortest + shortest.new_tensor([1, 2])) % 3
    turns = log_scales.new_tensor(TURNS)[shortest[:, 0]]
    return columns | {
        "log_scales": log_scales.gather(1, kept),
        "quaternions": quaternion_product(columns["quaternions"], turns),
    }
