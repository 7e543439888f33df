"""Which cells of a field hold matter: a running maximum of its density on a lattice (instant-ngp, appendix E.2)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from volkit.ops.march import Stride
from volkit.representations.field import Field
from volkit.representations.occupancy_bits import (
    OCCUPANCY_RESOLUTION,
    dilated,
    occupancy_cells,
    occupied_at,
    pack_bits,
    unpack_bits,
)
from volkit.representations.representation import Representation
from volkit.sampling.hull import visible_cells
from volkit.sampling.occupancy import stride_for
from volkit.typing import Bool, Float, Tensor

__all__ = ["OccupancyGrid", "copy_occupancy", "fill_occupancy", "marked", "unpack_bits", "visible_cells"]

CELLS = OCCUPANCY_RESOLUTION**3
THICKNESS = 0.01  # optical thickness of one step below which a cell counts as empty: instant-ngp's bound
CHUNK = 1 << 18  # cells asked at once: their features stay in the cache
REFRESH_INTERVAL = 16  # steps between refreshes
WARM_UP = 256  # steps during which twice as many cells are asked
WARM_DECAY = 0.8  # in the warm-up: an untrained field's fog must not be remembered for hundreds of steps


class OccupancyGrid:
    """Keeps `field.occupancy` up to date while the field learns.

    A cell's value is `max(decay * value, density at a random point of it)` whenever it is asked, and it is occupied
    where the optical thickness of one step exceeds `min(0.01, half the mean)`. Cells that were never asked are
    occupied, cells outside `visible` never are. Half of the questions go anywhere, half to occupied cells.
    """

    def __init__(
        self, field: Field, stride: Stride, *, decay: float = 0.95, visible: Bool[Tensor, " cell"] | None = None
    ) -> None:
        self.stride, self.decay = stride, decay
        everywhere = torch.ones(CELLS, dtype=torch.bool, device=field.device)
        self.cells = (everywhere if visible is None else visible).nonzero()[:, 0]
        self.thickness = torch.full((len(self.cells),), torch.inf, device=field.device)
        self.write(field)

    def refresh(self, field: Field, step: int, generator: torch.Generator) -> None:
        """Look again, at every 16th step: at `field.occupancy_questions` cells, twice as many in the beginning."""
        if step % REFRESH_INTERVAL:
            return
        questions = field.occupancy_questions * (2 if step <= WARM_UP else 1)
        decay = WARM_DECAY if step <= WARM_UP else self.decay
        total = len(self.cells)
        if questions >= total or self.unknown:
            self._ask(field, torch.arange(total, device=self.cells.device), decay, generator)
        else:
            self._ask(field, _spread(total, questions // 2, generator, self.cells.device), decay, generator)
            occupied = self._occupied().nonzero()[:, 0]
            chosen = _spread(len(occupied), questions // 2, generator, self.cells.device)
            self._ask(field, occupied[chosen], decay, generator)
        self.write(field)

    @property
    def unknown(self) -> bool:
        """Whether there are cells that were never asked."""
        return bool(self.thickness.isinf().any())

    def write(self, field: Field) -> None:
        """Turn values into the field's bits."""
        marked = torch.zeros(CELLS, dtype=torch.bool, device=self.cells.device)
        marked[self.cells] = self._occupied()
        field.occupancy.copy_(pack_bits(marked))

    def state(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"thickness": self.thickness}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up `state()`."""
        self.thickness.copy_(state["thickness"])

    def _ask(self, field: Field, chosen: Tensor, decay: float, generator: torch.Generator) -> None:
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
    """Fill `field.occupancy` once, for a field that does not change: trained, foreign or analytic.

    The largest of `samples` random densities a cell decides, against a tenth of the bound that holds in training: what
    is cut off here is lost. The result grows by one cell in every direction, for matter between the questions.
    """
    cells = torch.arange(CELLS, device=field.device) if visible is None else visible.nonzero()[:, 0]
    largest = torch.zeros(len(cells), device=field.device)
    for _ in range(samples):
        largest = torch.maximum(largest, _thickness(field, cells, stride, generator))
    marked = torch.zeros(CELLS, dtype=torch.bool, device=field.device)
    marked[cells] = largest > 0.1 * _threshold(largest)
    marked = dilated(marked)
    field.occupancy.copy_(pack_bits(marked if visible is None else marked & visible))


@torch.no_grad()
def copy_occupancy(source: Field, target: Field) -> None:
    """Mark the cells of one field where another of the same local frame is marked; they may differ in domain.

    Eight points of every cell are looked up; where domains differ the result grows by one cell.
    """
    if source.domain == target.domain:
        target.occupancy.copy_(source.occupancy)
        return
    cells = occupancy_cells(target.device)
    marked = torch.zeros(CELLS, dtype=torch.bool, device=target.device)
    for corner in range(8):
        shift = torch.tensor([corner & 1, corner >> 1 & 1, corner >> 2 & 1], device=target.device) * 0.5 + 0.25
        local = target.domain.local_from_unit((cells + shift) / OCCUPANCY_RESOLUTION)
        marked |= occupied_at(source.occupancy, source.domain.unit_from_local(local))
    target.occupancy.copy_(pack_bits(dilated(marked)))


@torch.no_grad()
def _thickness(field: Field, cells: Tensor, stride: Stride, generator: torch.Generator) -> Float[Tensor, " cell"]:
    """Optical thickness of one step at a random point of each cell."""
    parts = [torch.zeros(0, device=cells.device)]
    for some in cells.split(CHUNK):
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
    return min(THICKNESS, 0.5 * float(thickness.mean())) if len(thickness) else THICKNESS


def _spread(total: int, count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """At most `count` of `total` places in rising order, one at random in each of equal stretches."""
    count = min(count, total)
    place = torch.arange(count, device=device) + torch.rand(count, generator=generator, device=device)
    return (place.double() * (total / max(count, 1))).long().clamp_max(max(total - 1, 0))


@contextmanager
def marked(scene: Representation) -> Iterator[None]:
    """While a field is asked that never said where it is empty, its occupancy is filled; then it is as it was."""
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
