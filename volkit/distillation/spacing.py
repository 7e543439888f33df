"""How far apart points are."""

import torch

from volkit.geometry import Domain
from volkit.geometry.morton import morton_codes
from volkit.typing import Float, Tensor

__all__ = ["spacing"]

NEIGHBOUR_COUNT = 3  # whose mean distance counts (3DGS)
CURVE_COUNT = 6  # shifted against each other: what one tears apart is close along another (Chan 2002)
CURVE_STEPS = 8  # steps along a curve, in each direction
CURVE_CELLS = 1 << 10  # of a curve, on each axis


@torch.no_grad()
def spacing(points: Float[Tensor, "point 3"], domain: Domain) -> Float[Tensor, " point"]:
    """Mean distance to the three nearest neighbours, in the local unit; the domain's diagonal for a lone point.

    Neighbours are looked for along Morton curves through the domain's unit cube: time grows with the number of points,
    not with its square, and what is found is the mean itself or a little more. Far points of a contracted domain are
    as close along the curves as near ones.
    """
    best = torch.full_like(points[:, 0], torch.inf)
    unit = domain.unit_from_local(points).clamp(0.0, 1.0)
    for curve in range(CURVE_COUNT):
        shifted = 0.5 * (unit + curve / CURVE_COUNT)
        order = morton_codes((shifted * (CURVE_CELLS - 1)).long()).argsort()
        best[order] = torch.minimum(best[order], _along(points[order]))
    return torch.where(best.isinf(), domain.diagonal, best)


def _along(points: Float[Tensor, "point 3"]) -> Float[Tensor, " point"]:
    """The mean distance to the nearest of those that stand next to each other."""
    count = len(points)
    reach = min(CURVE_STEPS, count - 1)
    found = torch.full((count, 2 * reach), torch.inf, device=points.device)
    for step in range(1, reach + 1):
        distance = (points[step:] - points[:-step]).norm(dim=-1)
        found[:-step, 2 * step - 2] = distance
        found[step:, 2 * step - 1] = distance
    nearest = min(NEIGHBOUR_COUNT, reach)
    if nearest == 0:
        return torch.full_like(points[:, 0], torch.inf)
    return found.topk(nearest, largest=False).values.mean(1)
