"""Filters of splats by opacity, size and isolation, and of spherical harmonics by degree."""

from dataclasses import dataclass, replace
from importlib.util import find_spec

import torch

from volkit.editing.action import Action
from volkit.extras import advice
from volkit.geometry import sh_count
from volkit.representations import Representation, Splats
from volkit.representations.splats import BOUND_DEVIATIONS, PARAMETERS
from volkit.typing import Bool, Float, Tensor

__all__ = ["DropFloaters", "KeepOpacity", "KeepSize", "SetDegree", "find_floaters"]

MAX_COMPARED = 2048  # splats that are compared each with each: sooner done than scipy is imported


@dataclass(frozen=True)
class KeepOpacity(Action):
    """Keep splats whose opacity is at least `least`.

    Attributes:
        least: 0 to 1.

    Raises:
        ValueError: it is not.
    """

    least: float
    keeps_appearance = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.least <= 1.0:
            raise ValueError("an opacity lies between 0 and 1")

    def change(self, scene: Representation, generator: torch.Generator) -> Representation:
        """The splats without the faint ones."""
        assert isinstance(scene, Splats)
        scene = scene.view()
        scene.keep(scene.opacities >= self.least)
        return scene


@dataclass(frozen=True)
class KeepSize(Action):
    """Keep splats whose largest standard deviation lies between two bounds.

    Attributes:
        largest: upper bound, world units.
        smallest: lower bound, world units.
    """

    largest: float
    smallest: float = 0.0
    keeps_appearance = True

    def change(self, scene: Representation, generator: torch.Generator) -> Representation:
        """The splats of those sizes."""
        assert isinstance(scene, Splats)
        scene = scene.view()
        size = scene.scales.amax(-1) * scene.world_from_local.scale
        scene.keep((size >= self.smallest) & (size <= self.largest))
        return scene


@dataclass(frozen=True)
class DropFloaters(Action):
    """Remove splats that are isolated in space (`find_floaters`), farther from their neighbours than they reach.

    Attributes:
        neighbours: number of nearest splats whose mean distance counts.
        ratio: standard deviations of that distance beyond its mean.

    Raises:
        ValueError: the number of neighbours is not a whole number from 1.
    """

    neighbours: int = 16  # Open3D's own example has 20 and 2
    ratio: float = 2.0
    keeps_appearance = True

    def __post_init__(self) -> None:
        if self.neighbours != round(self.neighbours) or self.neighbours < 1:
            raise ValueError("the number of neighbours is a whole one from 1")

    def change(self, scene: Representation, generator: torch.Generator) -> Representation:
        """The splats without isolated ones."""
        assert isinstance(scene, Splats)
        scene = scene.view()
        reach = BOUND_DEVIATIONS * scene.scales.amax(-1)
        scene.keep(~find_floaters(scene.means, reach, int(self.neighbours), self.ratio))
        return scene


@dataclass(frozen=True)
class SetDegree(Action):
    """Drop spherical harmonics above a degree, or add zeros up to it; the lower bands stay as they are.

    Some programs read a `.ply` of splats with the 45 columns of degree 3 alone.

    Attributes:
        degree: 0 to 4.

    Raises:
        ValueError: it is not.
    """

    degree: int
    keeps_appearance = True

    def __post_init__(self) -> None:
        if self.degree not in range(5):
            raise ValueError("the harmonics of splats have degree 0 to 4")

    def change(self, scene: Representation, generator: torch.Generator) -> Representation:
        """The splats with harmonics of that degree."""
        assert isinstance(scene, Splats)
        scene = scene.view()
        degree = int(self.degree)
        if degree != scene.config.degree:
            columns = {name: getattr(scene, name) for name in PARAMETERS}
            rest = scene.sh_rest[:, : sh_count(degree) - 1]
            more = rest.new_zeros(len(rest), sh_count(degree) - 1 - rest.shape[1], 3)
            scene.replace_columns(columns | {"sh_rest": torch.cat([rest, more], 1)})
            scene.config = replace(scene.config, degree=degree)
        return scene


def find_floaters(
    means: Float[Tensor, "splat 3"], reach: Float[Tensor, " splat"], neighbours: int, ratio: float
) -> Bool[Tensor, " splat"]:
    """Which splats are isolated: their mean distance to the nearest `neighbours` is beyond `mean + ratio deviation`.

    Mean and standard deviation are those of all splats' mean distances: statistical outlier removal (Rusu et al. 2008,
    "Towards 3D point cloud based object maps for household environments"). Alone it would also remove the large splats
    of plain surfaces: the distance must be beyond the splat's own `reach` as well. RuntimeError without scipy, which
    more than a few thousand splats need.
    """
    count = min(neighbours, len(means) - 1)
    if count < 1:
        return torch.zeros(len(means), dtype=torch.bool, device=means.device)
    distance = _nearest_distances(means.detach().cpu().double(), count).mean(1)
    far = distance > distance.mean() + ratio * distance.std(correction=0)
    return far.to(means.device) & (distance.to(reach) > reach)


def _nearest_distances(places: Float[Tensor, "splat 3"], count: int) -> Float[Tensor, "splat neighbour"]:
    """Distances to so many nearest others."""
    if len(places) <= MAX_COMPARED:
        apart = torch.cdist(places, places, compute_mode="donot_use_mm_for_euclid_dist")
        return apart.topk(count + 1, largest=False).values[:, 1:]  # the first is the point itself
    if find_spec("scipy") is None:
        raise RuntimeError(f"finding floaters needs scipy; {advice('mesh', 'scipy')}")
    from scipy.spatial import KDTree

    distances, _ = KDTree(places.numpy()).query(places.numpy(), k=count + 1, workers=-1)
    return torch.from_numpy(distances[:, 1:])
