"""Which cells of a field hold matter: a running maximum of its density on a lattice (instant-ngp, appendix E.2)."""

from typing import Any

import torch

from volkit.geometry import Cameras, morton_cells, morton_codes
from volkit.ops.march import Stride
from volkit.representations.field import OCCUPANCY_RESOLUTION, Field
from volkit.typing import Bool, Float, Tensor, UInt8

__all__ = ["OccupancyGrid", "copy_occupancy", "fill_occupancy", "unpack_bits", "visible_cells"]

CELLS = OCCUPANCY_RESOLUTION**3
THICKNESS = 0.01  # optical thickness of one step below which a cell counts as empty: instant-ngp's bound
CHUNK = 1 << 18  # cells asked at once: their features stay in the cache


class OccupancyGrid:
    """Keeps `field.occupancy` up to date while the field learns.

    A cell's value is `max(decay * value, density at a random point of it)`; it is occupied where the optical thickness
    of one step exceeds `min(0.01, mean over the cells)`. Cells outside `visible` are never occupied.
    """

    def __init__(
        self, field: Field, stride: Stride, *, decay: float = 0.95, visible: Bool[Tensor, " cell"] | None = None
    ) -> None:
        self.stride, self.decay, self.visible = stride, decay, visible
        self.thickness = torch.zeros(CELLS, device=field.device)

    def refresh(self, field: Field, step: int, generator: torch.Generator, *, warm_up: int = 256) -> None:
        """Ask every cell while `step < warm_up`, later a quarter at random and as many occupied ones."""
        device = self.thickness.device
        if step < warm_up:
            cells = torch.arange(CELLS, device=device) if self.visible is None else self.visible.nonzero()[:, 0]
        else:
            occupied = unpack_bits(field.occupancy).nonzero()[:, 0]
            count = CELLS // 8
            anywhere = torch.randint(CELLS, (count,), generator=generator, device=device)
            if len(occupied) > count:
                occupied = occupied[torch.randint(len(occupied), (count,), generator=generator, device=device)]
            # In Morton order neighbouring questions share their memory.
            cells = torch.cat([anywhere, occupied]).unique()
            if self.visible is not None:
                cells = cells[self.visible[cells]]
        self.thickness *= self.decay
        self.thickness[cells] = torch.maximum(self.thickness[cells], _thickness(field, cells, self.stride, generator))
        self.write(field)

    def write(self, field: Field) -> None:
        """Turn values into the field's bits."""
        occupied = _occupied(self.thickness)
        if self.visible is not None:
            occupied &= self.visible
        field.occupancy.copy_(_packed(occupied))

    def state(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"thickness": self.thickness.clone()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up `state()`."""
        self.thickness.copy_(state["thickness"])


def fill_occupancy(
    field: Field,
    stride: Stride,
    generator: torch.Generator,
    *,
    samples: int = 4,
    visible: Bool[Tensor, " cell"] | None = None,
) -> None:
    """Fill `field.occupancy` once, for a field that does not change: trained, foreign or analytic.

    The largest of `samples` random densities a cell decides; the result grows by one cell in every direction, so that
    matter between the questions is not cut off.
    """
    cells = torch.arange(CELLS, device=field.device) if visible is None else visible.nonzero()[:, 0]
    thickness = torch.zeros(CELLS, device=field.device)
    for _ in range(samples):
        thickness[cells] = torch.maximum(thickness[cells], _thickness(field, cells, stride, generator))
    occupied = _dilated(_occupied(thickness))
    field.occupancy.copy_(_packed(occupied if visible is None else occupied & visible))


@torch.no_grad()
def copy_occupancy(source: Field, target: Field) -> None:
    """Mark the cells of `target` that overlap an occupied one of `source`; both fields share their local frame.

    Equal domains share their bits exactly; else 27 points of every cell are looked up.
    """
    if source.domain == target.domain:
        target.occupancy.copy_(source.occupancy)
        return
    bits = unpack_bits(source.occupancy)
    cells = morton_cells(torch.arange(CELLS, device=bits.device))
    occupied = torch.zeros(CELLS, dtype=torch.bool, device=bits.device)
    steps = torch.tensor([0.02, 0.5, 0.98], device=bits.device)
    for shift in torch.cartesian_prod(steps, steps, steps):
        local = target.domain.local_from_unit((cells + shift) / OCCUPANCY_RESOLUTION)
        unit = source.domain.unit_from_local(local)
        inside = ((unit >= 0) & (unit < 1)).all(-1)
        found = morton_codes((unit[inside] * OCCUPANCY_RESOLUTION).long())
        occupied[inside] |= bits[found]
    target.occupancy.copy_(_packed(occupied))


@torch.no_grad()
def visible_cells(field: Field, cameras: Cameras, *, near: float = 0.0) -> Bool[Tensor, " cell"]:
    """Cells (Morton order) that at least one camera sees beyond `near` (world units), with a margin of two cells.

    Asked on a lattice of half the resolution; whether something hides a cell is not considered.
    """
    coarse = OCCUPANCY_RESOLUTION // 2
    device = field.device
    cells = morton_cells(torch.arange(coarse**3, device=device))
    local = field.domain.local_from_unit((cells + 0.5) / coarse)
    world = field.world_from_local.points(local)
    seen = torch.zeros(coarse**3, dtype=torch.bool, device=device)
    for index in range(len(cameras)):
        pixels, depth = cameras.project(index, world)
        size = cameras.size[index].to(pixels)
        seen |= ((pixels >= 0) & (pixels <= size)).all(-1) & (depth > near)
    dense = torch.zeros(1, 1, coarse, coarse, coarse, device=device)
    dense[0, 0, cells[:, 0], cells[:, 1], cells[:, 2]] = seen.float()
    grown = torch.nn.functional.max_pool3d(dense, 3, 1, 1)[0, 0] > 0
    # The eight children of a coarse cell follow each other in Morton order.
    return grown[cells[:, 0], cells[:, 1], cells[:, 2]].repeat_interleave(8)


@torch.no_grad()
def _thickness(field: Field, cells: Tensor, stride: Stride, generator: torch.Generator) -> Float[Tensor, " cell"]:
    """Optical thickness of one step at a random point of each cell."""
    parts = [torch.zeros(0, device=cells.device)]
    for some in cells.split(CHUNK):
        shift = torch.rand(len(some), 3, generator=generator, device=cells.device)
        local = field.domain.local_from_unit((morton_cells(some) + shift) / OCCUPANCY_RESOLUTION)
        step: float | Tensor = stride.step
        if stride.cone > 0:
            # Steps grow with the distance from the camera, which is about the distance from the middle.
            step = (local - local.new_tensor(field.domain.centre)).norm(dim=-1).mul(stride.cone).clamp_min(stride.step)
        parts.append(field.density(local).float() * step)
    return torch.cat(parts)


def _occupied(thickness: Tensor) -> Bool[Tensor, " cell"]:
    return thickness > thickness.mean().clamp_max(THICKNESS)


def _packed(occupied: Tensor) -> Tensor:
    weights = 1 << torch.arange(8, device=occupied.device)
    return (occupied.view(-1, 8) * weights).sum(-1).to(torch.uint8)


def unpack_bits(bits: UInt8[Tensor, " byte"]) -> Bool[Tensor, " cell"]:
    """One truth value a cell, in the bits' own order."""
    return ((bits[:, None] >> torch.arange(8, device=bits.device, dtype=torch.uint8)) & 1).bool().flatten()


def _dilated(occupied: Tensor) -> Tensor:
    cells = morton_cells(torch.arange(CELLS, device=occupied.device))
    linear = (cells[:, 0] * OCCUPANCY_RESOLUTION + cells[:, 1]) * OCCUPANCY_RESOLUTION + cells[:, 2]
    dense = torch.zeros(CELLS, device=occupied.device)
    dense[linear] = occupied.float()
    dense = dense.view(1, 1, *(OCCUPANCY_RESOLUTION,) * 3)
    for axis in range(3):  # one axis at a time: 9 comparisons a cell instead of 27
        size, margin = [1, 1, 1], [0, 0, 0]
        size[axis], margin[axis] = 3, 1
        dense = torch.nn.functional.max_pool3d(dense, size, 1, margin)
    return dense.flatten()[linear] > 0
