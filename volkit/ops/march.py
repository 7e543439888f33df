"""Ray marching through an occupancy bitfield: the intervals of rays at which a field is worth evaluating."""

import math
from dataclasses import dataclass

import torch

from volkit.ops import backend
from volkit.ops.library import torch_op
from volkit.typing import Float, Int, Tensor, UInt8

__all__ = ["MarchGrid", "Stride", "march"]


@dataclass(frozen=True)
class MarchGrid:
    """The lattice of occupancy bits: `resolution`^3 cells (a power of two, 8 to 1024) over a box of the local frame.

    unit = (x - lower) / (upper - lower). With `contracted`, y = (x - centre) / half extent is first contracted
    to [-2, 2]^3 by c = y where n = max|y| <= 1 and c = (2 - 1/n) y/n beyond, and unit = (c + 2) / 4: the
    box fills the middle half of the cube and infinity is its face (nerfstudio's SceneContraction,
    L-infinity).

    Attributes:
        lower: corner of the box with the smallest coordinates, local units.
        upper: corner with the largest.
        contracted: whether all of space is covered, contracted outside the box.
        resolution: cells along an edge.

    Raises:
        ValueError: the resolution is not 8, 16, ... or 1024, or the box is empty.
    """

    lower: tuple[float, float, float]
    upper: tuple[float, float, float]
    contracted: bool = False
    resolution: int = 128

    def __post_init__(self):
        size = self.resolution
        if size & (size - 1) or not 8 <= size <= 1024:
            raise ValueError(f"an occupancy lattice has 8, 16, ... or 1024 cells a side, not {size}")
        if not all(low < high for low, high in zip(self.lower, self.upper, strict=True)):
            raise ValueError(f"an occupancy lattice needs lower < upper, got {self.lower} and {self.upper}")


@dataclass(frozen=True)
class Stride:
    """The spacing of samples: dt = max(step, cone t), in local units; at most `limit` samples a ray.

    Attributes:
        step: shortest distance between samples.
        cone: growth of that distance with the distance from the origin, as pixels widen.
        limit: largest number of samples of a ray.

    Raises:
        ValueError: one of them is not positive; the cone may be 0.
    """

    step: float
    cone: float = 0.0
    limit: int = 1024

    def __post_init__(self):
        if not (self.step > 0 and self.cone >= 0 and self.limit > 0):
            raise ValueError(f"a stride needs step > 0, cone >= 0 and limit > 0, got {self}")


_MAX_INTERVALS = 2**22  # beyond it float32 no longer tells neighbouring ones apart
_CORNERS = ("lower_x", "lower_y", "lower_z", "upper_x", "upper_y", "upper_z")
_RUN_COUNT = 8  # kMarchRuns in cuda_ext/include/volkit/march.h

Samples = tuple[Float[Tensor, " sample"], Float[Tensor, " sample"], Int[Tensor, " sample"], Int[Tensor, " ends"]]


def march(
    origins: Float[Tensor, "ray 3"],
    directions: Float[Tensor, "ray 3"],
    near: Float[Tensor, " ray"],
    far: Float[Tensor, " ray"],
    bits: UInt8[Tensor, " byte"],
    grid: MarchGrid,
    stride: Stride,
    jitter: Float[Tensor, " ray"] | None = None,
) -> Samples:
    """The intervals of every ray whose midpoint lies in an occupied cell.

    A ray's intervals are fixed beforehand: t_{k+1} = t_k + dt(t_k) from t_0 = near + jitter dt(near), that
    is t_k = near + (k + jitter) step, and t_m (1 + cone)^(k - m) from the first t_m >= step / cone on;
    interval k is [t_k, min(t_{k+1}, far)]. It is kept where the bit of its midpoint is set, so that skipping
    empty space changes the time taken and nothing else. Bits are in Morton order, cell
    i = spread(x) | spread(y) << 1 | spread(z) << 2 at bit i & 7 of byte i >> 3 (instant-ngp's density grid).

    Rays that miss, and rays with a NaN, have no samples. Not differentiable.

    Args:
        origins: where rays start, in the lattice's frame.
        directions: unit.
        near: distance at which each ray begins.
        far: distance at which it ends.
        bits: occupancy, one bit a cell.
        lattice: where the bits lie.
        stride: how far apart samples are.
        jitter: shift of each ray's samples, 0 to 1 of its first interval; None: 0.

    Returns:
        `t0`, `t1` and `ray` (int32) of each sample, sorted by ray, and `offsets` (int64), one of each ray and the
        total.

    Example:
        >>> full = torch.full((8**3 // 8,), 255, dtype=torch.uint8)
        >>> grid = MarchGrid((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), resolution=8)
        >>> origin, direction = torch.tensor([[0.5, 0.5, -1.0]]), torch.tensor([[0.0, 0.0, 1.0]])
        >>> near, far = torch.tensor([1.0]), torch.tensor([2.0])
        >>> t0, t1, ray, offsets = march(origin, direction, near, far, full, grid, Stride(step=0.5))
        >>> t0.tolist(), t1.tolist(), offsets.tolist()
        ([1.0, 1.5], [1.5, 2.0], [0, 2])
    """
    _check(origins, directions, near, far, bits, grid)
    jitter = torch.zeros_like(near) if jitter is None else jitter
    if backend.choose("march", origins, directions, near, far, jitter, bits) == "reference":
        return _reference(origins, directions, near, far, bits, grid, stride, jitter)
    box = [*grid.lower, *grid.upper, float(grid.contracted), float(grid.resolution)]
    pace = [stride.step, stride.cone, float(stride.limit)]
    return _march(origins, directions, near, far, bits, jitter, box, pace)


@torch_op("march", gradient=False)
def _march(
    origins: Tensor,
    directions: Tensor,
    near: Tensor,
    far: Tensor,
    bits: Tensor,
    jitter: Tensor,
    box: list[float],
    pace: list[float],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    bits = bits.contiguous()
    if bits.data_ptr() % 4:  # a view into a larger tensor; the kernel reads words
        bits = bits.clone()
    device, rays = origins.device, origins.shape[0]
    counts = torch.empty(rays, dtype=torch.int32, device=device)
    step, cone, limit = pace
    *corners, contracted, resolution = box
    fields = {
        "origins": origins.contiguous(),
        "directions": directions.contiguous(),
        "near": near.contiguous(),
        "far": far.contiguous(),
        "jitter": jitter.contiguous(),
        "bits": bits,
        "rays": rays,
        **dict(zip(_CORNERS, corners, strict=True)),
        "contracted": int(contracted),
        "resolution": int(resolution),
        "step": step,
        "cone": cone,
        "rate": math.log2(1 + cone),
        "limit": int(limit),
        "coarse": torch.empty(bits.shape[0] // 64 + 3, dtype=torch.uint8, device=device),
        "counts": counts,
        "runs": torch.empty(rays, _RUN_COUNT, 2, dtype=torch.int32, device=device),
    }
    backend.run("march_count", origins, **fields, samples=0)
    offsets = torch.zeros(rays + 1, dtype=torch.int64, device=device)
    torch.cumsum(counts, 0, dtype=torch.int64, out=offsets[1:])
    samples = int(offsets[-1])
    t0, t1 = (torch.empty(samples, device=device) for _ in range(2))
    ray = torch.empty(samples, dtype=torch.int32, device=device)
    backend.run("march_write", origins, **fields, samples=samples, offsets=offsets, t0=t0, t1=t1, ray=ray)
    return t0, t1, ray, offsets


@_march.register_fake
def _(origins, directions, near, far, bits, jitter, box, pace):
    samples = torch.library.get_ctx().new_dynamic_size()
    offsets = near.new_empty(near.shape[0] + 1, dtype=torch.int64)
    return (
        near.new_empty(samples),
        near.new_empty(samples),
        near.new_empty(samples, dtype=torch.int32),
        offsets,
    )


def _check(origins, directions, near, far, bits, grid: MarchGrid) -> None:
    rays = origins.shape[0]
    if origins.shape != (rays, 3) or directions.shape != (rays, 3) or near.shape != (rays,) or far.shape != (rays,):
        shapes = [tuple(each.shape) for each in (origins, directions, near, far)]
        raise ValueError(f"march takes origins and directions [ray, 3], near and far [ray], got {shapes}")
    if bits.dtype != torch.uint8 or bits.numel() * 8 != grid.resolution**3:
        raise ValueError(
            f"{grid.resolution}^3 cells take {grid.resolution**3 // 8} bytes (uint8), "
            f"got {bits.numel()} of {bits.dtype}"
        )


def _unit(positions: Tensor, grid: MarchGrid) -> Tensor:
    lower, upper = positions.new_tensor(grid.lower), positions.new_tensor(grid.upper)
    if not grid.contracted:
        return (positions - lower) / (upper - lower)
    inner = (positions - 0.5 * (lower + upper)) / (0.5 * (upper - lower))
    norm = inner.abs().amax(-1, keepdim=True)
    return torch.where(norm <= 1, inner, (2 - 1 / norm) * (inner / norm)) * 0.25 + 0.5


def _spread(cells: Tensor) -> Tensor:
    """Move bit i of a 10-bit number to bit 3 i."""
    for shift, mask in ((16, 0x30000FF), (8, 0x300F00F), (4, 0x30C30C3), (2, 0x9249249)):
        cells = (cells | cells << shift) & mask
    return cells


def _occupied(positions: Tensor, bits: Tensor, grid: MarchGrid) -> Tensor:
    unit = _unit(positions, grid)
    inside = ((unit >= 0) & (unit <= 1 if grid.contracted else unit < 1)).all(-1)
    cells = (torch.where(inside[:, None], unit, 0) * grid.resolution).long().clamp_max(grid.resolution - 1)
    x, y, z = _spread(cells).unbind(-1)
    cell = x | y << 1 | z << 2
    return inside & ((bits[cell >> 3].long() >> (cell & 7) & 1) == 1)


def _reference(origins, directions, near, far, bits, grid: MarchGrid, stride: Stride, jitter) -> Samples:
    rays = origins.shape[0]
    end = far if grid.contracted else torch.minimum(far, _leaving(origins, directions, grid))
    alive = (origins.isfinite() & directions.isfinite()).all(-1) & near.isfinite() & jitter.isfinite()
    # Where the cone takes over from the fixed step; from there on intervals grow by 1 + cone.
    cone_from = torch.zeros_like(near)
    if stride.cone:
        cone_from = ((stride.step / stride.cone - near) / stride.step - jitter).ceil().clamp_min(0)
    cone_start = near + cone_from * stride.step + jitter * torch.clamp_min(stride.cone * near, stride.step)

    def interval_start(index: int) -> Tensor:
        even = near + (index + jitter) * stride.step
        if stride.cone == 0:
            return even
        return torch.where(index >= cone_from, cone_start * (1 + stride.cone) ** (index - cone_from), even)

    counts = torch.zeros(rays, dtype=torch.int64, device=origins.device)
    parts = [(near[:0], near[:0], counts[:0])]
    for index in range(_MAX_INTERVALS):
        t, next_t = interval_start(index), interval_start(index + 1)
        alive = alive & (t < end) & (next_t > t) & (counts < stride.limit)
        if not alive.any():
            break
        t1 = torch.minimum(next_t, far)
        occupied = alive & _occupied(origins + (0.5 * (t + t1))[:, None] * directions, bits, grid)
        parts.append((t[occupied], t1[occupied], occupied.nonzero()[:, 0]))
        counts += occupied
    t0, t1, ray = (torch.cat(each) for each in zip(*parts, strict=True))
    order = ray.argsort(stable=True)
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return t0[order], t1[order], ray[order].int(), offsets


def _leaving(origins: Tensor, directions: Tensor, grid: MarchGrid) -> Tensor:
    """The distance at which a ray is out of the box for certain, one cell late because of rounding."""
    lower, upper = origins.new_tensor(grid.lower), origins.new_tensor(grid.upper)
    cell = (upper - lower) / grid.resolution
    ends = torch.where(directions > 0, upper + cell - origins, lower - cell - origins) / directions
    return torch.where(directions == 0, torch.inf, ends).amin(-1)
