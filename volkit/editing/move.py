"""Similarities of a whole scene: translation, rotation, scale, fitting to a size, placing on the ground."""

import math
from dataclasses import dataclass
from functools import singledispatch
from typing import Literal, Self

import torch

from volkit.editing.action import ANY, Action
from volkit.geometry import Frame, Similarity, turn
from volkit.io.splats.scene import columns_from_splats, splats_from_columns
from volkit.representations import Field, Mesh, Placement, Representation, Splats
from volkit.representations.field import OCCUPANCY_RESOLUTION
from volkit.representations.occupancy_bits import occupancy_cells
from volkit.sampling.occupancy_grid import unpack_bits
from volkit.typing import Float, Tensor

__all__ = ["Fit", "Ground", "Move", "robust_box"]

TRIMMED_SHARE = 0.002  # of a field's matter, at each face of its box: invisible haze would make it wider
MATTER_SAMPLES = 1 << 17  # densities that locate a field's matter


@dataclass(frozen=True)
class Move(Action):
    """Move by a similarity of the world; `Move.scale`, `.rotate` and `.translate` make the usual ones.

    Attributes:
        new_from_old: from old to new world positions.

    Example:
        >>> Move.rotate("z", 90).new_from_old.points(torch.tensor([1.0, 0.0, 0.0])).round()
        tensor([0., 1., 0.])
    """

    new_from_old: Similarity
    applies_to = ANY

    @classmethod
    def scale(cls, factor: float) -> Self:
        """Scale by a factor about the world's origin."""
        return cls(Similarity(scale=factor))

    @classmethod
    def rotate(cls, axis: Literal["x", "y", "z"], degrees: float) -> Self:
        """Rotate about one of the world's axes, counter-clockwise as seen from its positive end."""
        angle, i = math.radians(degrees), "xyz".index(axis)
        j, k = (i + 1) % 3, (i + 2) % 3
        rows = [[0.0] * 3 for _ in range(3)]
        rows[i][i] = 1.0
        rows[j][j] = rows[k][k] = math.cos(angle)
        rows[k][j], rows[j][k] = math.sin(angle), -math.sin(angle)
        return cls(Similarity(rotation=tuple(map(tuple, rows))))

    @classmethod
    def translate(cls, x: float, y: float, z: float) -> Self:
        """Translate by an offset in world units."""
        return cls(Similarity(translation=(x, y, z)))

    def change(self, scene: Representation, generator: torch.Generator) -> Representation:
        """The moved scene, with its capture."""
        return _transform(scene, self.new_from_old)


@dataclass(frozen=True)
class Fit(Action):
    """Scale about the centre of the robust box until its longest side has a size.

    Attributes:
        size: in world units.

    Raises:
        ValueError: it is not positive and finite.
    """

    size: float
    applies_to = ANY

    def __post_init__(self) -> None:
        if not 0.0 < self.size < math.inf:
            raise ValueError(f"a size is positive and finite, got {self.size}")

    def change(self, scene: Representation, generator: torch.Generator) -> Representation:
        """The scaled scene."""
        lower, upper = robust_box(scene)
        factor, centre = self.size / float((upper - lower).max()), 0.5 * (lower + upper)
        return _transform(scene, Similarity(scale=factor, translation=tuple((centre * (1.0 - factor)).tolist())))


@dataclass(frozen=True)
class Ground(Action):
    """Turn the scene so that +Z is up, and put the centre of the bottom of its `robust_box` at the world's origin.

    Raises:
        ValueError: a field without visible matter, which has no box.

    Example:
        >>> standing = edit(scene, [Ground()])  # doctest: +SKIP
    """

    applies_to = ANY

    def change(self, scene: Representation, generator: torch.Generator) -> Representation:
        """The placed scene."""
        scene = _transform(scene, turn("zup", scene.frame), "zup")
        lower, upper = robust_box(scene)
        x, y, _ = (-0.5 * (lower + upper)).tolist()
        return _transform(scene, Similarity(translation=(x, y, -float(lower[2]))))


Corners = tuple[Float[Tensor, "3"], Float[Tensor, "3"]]


@torch.no_grad()
def robust_box(scene: Representation) -> Corners:
    """Lower and upper corner, world frame, float64, of the visible part of a scene.

    It leaves out splats far away, and the thinnest fog of a field. ValueError for an empty field.
    """
    return _box(scene)


@singledispatch
def _box(scene: Representation) -> Corners:
    raise TypeError(f"a {type(scene).__name__} has no box")


@_box.register
def _box_of_splats(scene: Splats) -> Corners:
    # In the world's axes, for the box of a turned box would be wider.
    box = splats_from_columns(columns_from_splats(scene).in_world()).domain
    return torch.tensor(box.lower, dtype=torch.float64), torch.tensor(box.upper, dtype=torch.float64)


@_box.register
def _box_of_mesh(scene: Mesh) -> Corners:
    used = scene.vertices[scene.faces.unique()] if len(scene.faces) else scene.vertices
    world = scene.world_from_local.points(used.detach().double().cpu())
    return world.amin(0), world.amax(0)


@_box.register
def _box_of_field(scene: Field) -> Corners:
    world, weight = _matter(scene)
    edges = [_quantiles(axis, weight) for axis in world.unbind(-1)]
    lower, upper = (torch.stack(ends) for ends in zip(*edges, strict=True))
    return lower, upper


def _transform(scene: Representation, new_from_old: Similarity, frame: Frame | None = None) -> Representation:
    return scene.view(
        placement=Placement(new_from_old @ scene.world_from_local, frame or scene.frame),
        capture=None if scene.capture is None else scene.capture.transform(new_from_old),
    )


def _matter(field: Field) -> tuple[Float[Tensor, "point 3"], Float[Tensor, " point"]]:
    """World positions spread over a field's occupied cells, and the density at each."""
    cells = unpack_bits(field.occupancy).nonzero()[:, 0]
    generator = torch.Generator(device=cells.device).manual_seed(0)
    samples_per_cell = max(1, MATTER_SAMPLES // max(len(cells), 1))
    spread = torch.rand(len(cells) * samples_per_cell, 3, generator=generator, device=cells.device)
    unit = (occupancy_cells(cells.device)[cells.repeat(samples_per_cell)] + spread) / OCCUPANCY_RESOLUTION
    local = field.domain.local_from_unit(unit)
    density = torch.cat([field.density(some).double() for some in local.split(1 << 18)]) if len(local) else local[:, 0]
    # Opaque matter counts alike, however dense: only where light ends is visible.
    weight = 1.0 - (-density * field.domain.unit_edge / OCCUPANCY_RESOLUTION).exp()
    if not float(weight.sum()) > 0.0:
        raise ValueError("the field holds nothing visible, and so has no size")
    return field.world_from_local.points(local.double()).cpu(), weight.cpu()


def _quantiles(values: Float[Tensor, " value"], weights: Float[Tensor, " value"]) -> tuple[Tensor, Tensor]:
    """The values between which all of the weight lies but for `TRIMMED_SHARE` at each end."""
    order = values.argsort()
    sums = weights[order].cumsum(0)
    ends = torch.searchsorted(sums, sums[-1] * sums.new_tensor([TRIMMED_SHARE, 1.0 - TRIMMED_SHARE])).clamp_max(
        len(order) - 1
    )
    low, high = values[order[ends]]
    return low, high
