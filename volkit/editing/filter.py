"""Splats that are left out by what they are, and harmonics by their degree."""

from dataclasses import dataclass, replace
from importlib.util import find_spec

import torch

from volkit.editing.action import Action
from volkit.extras import advice
from volkit.geometry import sh_count
from volkit.representations import Representation, Splats
from volkit.representations.splats import BOUND_DEVIATIONS, PARAMETERS
from volkit.typing import Bool, Float, Tensor

__all__ = ["DropFloaters", "KeepOpacity", "KeepSize", "LimitHarmonics", "find_floaters"]


@dataclass(frozen=True)
class KeepOpacity(Action):
    """Keep splats whose opacity is at least `least`, 0 to 1."""

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
    """Keep splats whose largest standard deviation, world units, lies between `smallest` and `largest`."""

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
    """Leave out splats that hang in the air and touch no other: `find_floaters`, as far as splats are drawn."""

    neighbours: int = 16  # Open3D's own example has 20 and 2
    ratio: float = 2.0
    keeps_appearance = True

    def __post_init__(self) -> None:
        if self.neighbours != round(self.neighbours) or self.neighbours < 1:
            raise ValueError("the number of neighbours is a whole one from 1")

    def change(self, scene: Representation, generator: torch.Generator) -> Representation:
        """The splats without the lonely ones."""
        assert isinstance(scene, Splats)
        scene = scene.view()
        reach = BOUND_DEVIATIONS * scene.scales.amax(-1)
        scene.keep(~find_floaters(scene.means, reach, int(self.neighbours), self.ratio))
        return scene


@dataclass(frozen=True)
class LimitHarmonics(Action):
    """Keep spherical harmonics to a degree, 0 to 4; bands are orthogonal, so that the rest stays as it is."""

    degree: int
    keeps_appearance = True

    def __post_init__(self) -> None:
        if self.degree not in range(5):
            raise ValueError("the harmonics of splats have degree 0 to 4")

    def change(self, scene: Representation, generator: torch.Generator) -> Representation:
        """The splats with fewer harmonics."""
        assert isinstance(scene, Splats)
        scene = scene.view()
        degree = int(self.degree)
        if degree < scene.config.degree:
            columns = {name: getattr(scene, name) for name in PARAMETERS}
            scene.replace_columns(columns | {"sh_rest": scene.sh_rest[:, : sh_count(degree) - 1]})
            scene.config = replace(scene.config, degree=degree)
        return scene


def find_floaters(
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

    count = min(neighbours, len(means) - 1)
    if count < 1:
        return torch.zeros(len(means), dtype=torch.bool, device=means.device)
    places = means.detach().cpu().numpy()
    distances, _ = KDTree(places).query(places, k=count + 1, workers=-1)  # the first is the point itself
    distance = torch.from_numpy(distances[:, 1:]).mean(1)
    far = distance > distance.mean() + ratio * distance.std(correction=0)
    return far.to(means.device) & (distance.to(reach) > reach)
