"""Occupancy grids: a running maximum of a field's density in the cells of a lattice (instant-ngp, appendix E.2)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from volkit.ops.march import Stride
from volkit.representations.field import Field
from volkit.representations.occupancy_bits import (
    OCCUPANCY_RESOLUTION,
    dilate,
    occupancy_cells,
    occupied_at,
    pack_bits,
    unpack_bits,
)
from volkit.representations.representation import Representation
from volkit.sampling.hull import visible_cells
from volkit.sampling.occupancy import stride_for
from volkit.typing import Bool, Float, Tensor

__all__ = ["OccupancyGrid", "copy_occupancy", "fill_occupancy", "occupancy_filled", "unpack_bits", "visible_cells"]

CELL_COUNT = OCCUPANCY_RESOLUTION**3
MIN_THICKNESS = 0.01  # optical thickness of one step below which a cell counts as empty: instant-ngp's bound
CELLS_AT_ONCE = 1 << 18  # cells evaluated at once: their features stay in the cache
REFRESH_INTERVAL = 16  # steps between refreshes
WARM_UP_STEPS = 256  # steps during which twice as many cells are evaluated
WARM_DECAY = 0.8  # in the warm-up: the fog of an untrained field must be forgotten within some hundred steps


class OccupancyGrid:
    """Keeps `field.occupancy` up to date while a field is trained (instant-ngp, appendix E.2).

    At each evaluation a cell's value becomes `max(decay * value, density at a random point of it)`. The cell is
    occupied where the optical thickness of one step exceeds `min(0.01, half the mean)`. Cells without an evaluation
    count as occupied, cells outside `visible` as empty. Half of the evaluations go to all cells, half to occupied ones.

    Args:
        field: whose occupancy is written.
        stride: step whose optical thickness counts; local units.
        decay: of a cell's value at each evaluation.
        visible: cells that may be occupied, in Morton order; None: all.
    """

    def __init__(
        self, field: Field, stride: Stride, *, decay: float = 0.95, visible: Bool[Tensor, " cell"] | None = None
    ) -> None:
        self.stride, self.decay = stride, decay
        everywhere = torch.ones(CELL_COUNT, dtype=torch.bool, device=field.device)
        self.cells = (everywhere if visible is None else visible).nonzero()[:, 0]
        self.thickness = torch.full((len(self.cells),), torch.inf, device=field.device)
        self.write(field)

    def refresh(self, field: Field, step: int, generator: torch.Generator) -> None:
        """Every 16th step evaluate `field.occupancy_evaluations` cells, twice as many during the warm-up."""
        if step % REFRESH_INTERVAL:
            return
        evaluations = field.occupancy_evaluations * (2 if step <= WARM_UP_STEPS else 1)
        decay = WARM_DECAY if step <= WARM_UP_STEPS else self.decay
        total = len(self.cells)
        if evaluations >= total or self.incomplete:
            self._evaluate(field, torch.arange(total, device=self.cells.device), decay, generator)
        else:
            self._evaluate(field, _stratified(total, evaluations // 2, generator, self.cells.device), decay, generator)
            occupied = self._occupied().nonzero()[:, 0]
            chosen = _stratified(len(occupied), evaluations // 2, generator, self.cells.device)
            self._evaluate(field, occupied[chosen], decay, generator)
        self.write(field)

    @property
    def incomplete(self) -> bool:
        """Whether there are cells that were never evaluated."""
        return bool(self.thickness.isinf().any())

    def write(self, field: Field) -> None:
        """Write the occupied cells to the field's bits."""
        marked = torch.zeros(CELL_COUNT, dtype=torch.bool, device=self.cells.device)
        marked[self.cells] = self._occupied()
        field.occupancy.copy_(pack_bits(marked))

    def state(self) -> dict[str, Any]:
        """The values of the cells, for a resumed run."""
        return {"thickness": self.thickness}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the values from `state()`."""
        self.thickness.copy_(state["thickness"])

    def _evaluate(self, field: Field, chosen: Tensor, decay: float, generator: torch.Generator) -> None:
        old = self.thickness[chosen]
        old = torch.where(old.isinf(), 0.0, old * decay)
        self.thickness[chosen] = torch.maximum(old, _thickness(field, self.cells[chosen], self.stride, generator))

    def _occupied(self) -> Bool[Tensor, " cell"]:
        return self.thickness > _threshold(self.thickness[self.thickness.isfinite()])


@torch.no_grad()
def fill_occupancy(
    field: Field,
    stride: Stride,
    generator: torch.Generator,
    *,
    samples: int = 4,
    visible: Bool[Tensor, " cell"] | None = None,
) -> None:
    """Fill `field.occupancy` once, for a field that does not change: trained, loaded from a file, or analytic.

    A cell is occupied where the largest of `samples` random densities in it exceeds a tenth of the threshold of
    training, since matter that is missed here is lost. The result is dilated by one cell, for matter between samples.

    Args:
        field: whose buffer is written.
        stride: step whose optical thickness counts.
        generator: on the field's device.
        samples: densities for each cell.
        visible: cells that may be occupied, in Morton order; None: all.
    """
    cells = torch.arange(CELL_COUNT, device=field.device) if visible is None else visible.nonzero()[:, 0]
    largest = torch.zeros(len(cells), device=field.device)
    for _ in range(samples):
        largest = torch.maximum(largest, _thickness(field, cells, stride, generator))
    marked = torch.zeros(CELL_COUNT, dtype=torch.bool, device=field.device)
    marked[cells] = largest > 0.1 * _threshold(largest)
    marked = dilate(marked)
    field.occupancy.copy_(pack_bits(marked if visible is None else marked & visible))


@torch.no_grad()
def copy_occupancy(source: Field, target: Field) -> None:
    """Copy the occupancy of one field to another of the same local frame, whose domain may differ.

    Where domains differ, eight points of every cell are looked up, and the result is dilated by one cell.

    Args:
        source: whose occupancy is read.
        target: whose occupancy is written.
    """
    if source.domain == target.domain:
        target.occupancy.copy_(source.occupancy)
        return
    cells = occupancy_cells(target.device)
    marked = torch.zeros(CELL_COUNT, dtype=torch.bool, device=target.device)
    for corner in range(8):
        shift = torch.tensor([corner & 1, corner >> 1 & 1, corner >> 2 & 1], device=target.device) * 0.5 + 0.25
        local = target.domain.local_from_unit((cells + shift) / OCCUPANCY_RESOLUTION)
        marked |= occupied_at(source.occupancy, source.domain.unit_from_local(local))
    target.occupancy.copy_(pack_bits(dilate(marked)))


@torch.no_grad()
def _thickness(field: Field, cells: Tensor, stride: Stride, generator: torch.Generator) -> Float[Tensor, " cell"]:
    """Optical thickness of one step at a random point of each cell."""
    parts = [torch.zeros(0, device=cells.device)]
    for some in cells.split(CELLS_AT_ONCE):
        shift = torch.rand(len(some), 3, generator=generator, device=cells.device)
        local = field.domain.local_from_unit((occupancy_cells(some.device)[some] + shift) / OCCUPANCY_RESOLUTION)
        step: float | Tensor = stride.step
        if stride.cone > 0:
            # Steps grow with the distance from the camera, which is about the distance from the middle.
            step = (local - local.new_tensor(field.domain.centre)).norm(dim=-1).mul(stride.cone).clamp_min(stride.step)
        parts.append(field.density(local).float() * step)
    return torch.cat(parts)


def _threshold(thickness: Tensor) -> float:
    # Half the mean, not instant-ngp's whole one: even fog, which some kinds start from, must not vanish at once.
    return min(MIN_THICKNESS, 0.5 * float(thickness.mean())) if len(thickness) else MIN_THICKNESS


def _stratified(total: int, count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """At most `count` of `total` indices in rising order, a random one of each of `count` equal strata."""
    count = min(count, total)
    place = torch.arange(count, device=device) + torch.rand(count, generator=generator, device=device)
    return (place.double() * (total / max(count, 1))).long().clamp_max(max(total - 1, 0))


@contextmanager
def occupancy_filled(scene: Representation) -> Iterator[None]:
    """A context in which the occupancy of a field that marks all cells is filled; it is restored at the end."""
    if not isinstance(scene, Field) or not bool((scene.occupancy == 255).all()):
        yield
        return
    before = scene.occupancy.clone()
    generator = torch.Generator(device=scene.occupancy.device).manual_seed(0)
    try:
        fill_occupancy(scene, stride_for(scene.domain), generator)
        yield
    finally:
        scene.occupancy.copy_(before)
