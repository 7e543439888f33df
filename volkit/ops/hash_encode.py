"""Multiresolution hash encoding (Müller et al. 2022), in the layout of tiny-cuda-nn and instant-ngp."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch

from volkit.ops import backend
from volkit.ops.deposit import deposit
from volkit.ops.library import torch_op
from volkit.typing import Float, Int, Tensor

__all__ = ["HashLevels", "hash_encode"]

_PRIMES = (1, 2654435761, 805459861)
_FEATURES = (1, 2, 4, 8)


@dataclass(frozen=True)
class HashLevels:
    """The shape of a hash grid's table.

    Level i has scale s = base bⁱ - 1 (float32, as tiny-cuda-nn computes it), resolution r = ceil(s) + 1 and
    min(r³ rounded up to 8, 2^log2_table) entries; it is dense where r³ entries fit, hashed otherwise.

    `lookup` torch-ngp counts one vertex more along an edge, r = ceil(s) + 2, so that the outermost cells of dense
    levels do not wrap (ashawkey/torch-ngp `gridencoder.cu`). nerfstudio is that of its networks in plain torch: s =
    floor(base bⁱ), cells begin at whole numbers, every level has 2^log2_table entries and is hashed. It takes the
    reference (nerfstudio `encodings.py`, HashEncoding).

    Attributes:
        levels: number of resolutions, 1 to 32.
        features: numbers an entry holds: 1, 2, 4 or 8.
        log2_table: binary logarithm of the most entries of a level, 3 to 24.
        base_resolution: cells along an edge at the coarsest level, at least 2.
        per_level_scale: resolution of a level over that of the one before it, 1 to 16.
        lookup: how an entry is found, see above.

    Raises:
        ValueError: a number is out of range, or the finest level is finer than float32 positions resolve.

    Example:
        >>> levels = HashLevels(levels=2, log2_table=15)
        >>> levels.sizes, levels.entries
        ([4096, 13824], 17920)
    """

    levels: int = 16
    features: int = 2
    log2_table: int = 19
    base_resolution: int = 16
    per_level_scale: float = 2.0 ** (8 / 15)  # 16 to 4096 in 16 levels
    lookup: Literal["tcnn", "torch-ngp", "nerfstudio"] = "tcnn"

    def __post_init__(self) -> None:
        """Refuse shapes that the kernels cannot index."""
        if self.features not in _FEATURES:
            raise ValueError(f"HashLevels: features must be one of {_FEATURES}, got {self.features}")
        if not 1 <= self.levels <= 32:
            raise ValueError(f"HashLevels: levels must be 1 to 32, got {self.levels}")
        if not 3 <= self.log2_table <= 24:
            raise ValueError(f"HashLevels: log2_table must be 3 to 24, got {self.log2_table}")
        if self.base_resolution < 2 or not 1.0 <= self.per_level_scale <= 16.0:
            raise ValueError(
                f"HashLevels: base_resolution must be at least 2 and per_level_scale 1 to 16, got "
                f"{self.base_resolution} and {self.per_level_scale}"
            )
        if self.scales[-1] >= 2**22:
            raise ValueError(f"HashLevels: the finest scale {self.scales[-1]:g} leaves no bits for positions")

    @classmethod
    def with_finest(
        cls,
        finest: float,
        *,
        levels: int = 16,
        features: int = 2,
        log2_table: int = 19,
        base_resolution: int = 16,
    ) -> "HashLevels":
        """Choose the growth b = (finest / base)^(1 / (levels - 1)) so that the last level has scale finest -
        1."""
        growth = math.exp(math.log(finest / base_resolution) / max(levels - 1, 1))
        return cls(levels, features, log2_table, base_resolution, growth)

    @property
    def scales(self) -> list[float]:
        """Cells per unit length, one number per level."""
        if self.lookup == "nerfstudio":
            growth = torch.tensor(self.per_level_scale) ** torch.arange(self.levels)  # float32, as there
            return torch.floor(self.base_resolution * growth).tolist()
        log2_growth = np.log2(np.float32(self.per_level_scale), dtype=np.float32)
        powers = np.exp2(np.arange(self.levels, dtype=np.float32) * log2_growth, dtype=np.float32)
        return (powers * np.float32(self.base_resolution) - np.float32(1)).tolist()

    @property
    def resolutions(self) -> list[int]:
        """Vertices per axis that a dense table of each level counts."""
        return [math.ceil(scale) + 1 + (self.lookup == "torch-ngp") for scale in self.scales]

    @property
    def sizes(self) -> list[int]:
        """Entries of each level."""
        if self.lookup == "nerfstudio":
            return [2**self.log2_table] * self.levels
        return [min(-(-(r**3) // 8) * 8, 2**self.log2_table) for r in self.resolutions]

    @property
    def offsets(self) -> list[int]:
        """First entry of each level."""
        sizes = self.sizes
        return [sum(sizes[:i]) for i in range(self.levels)]

    @property
    def entries(self) -> int:
        """Rows of the table."""
        return sum(self.sizes)


def hash_encode(
    positions: Float[Tensor, "point 3"],
    table: Float[Tensor, "entry feature"],
    levels: HashLevels,
    *,
    table_grad: Float[Tensor, "entry feature"] | None = None,
) -> Float[Tensor, "point level*feature"]:
    """Look positions in [0, 1]³ up in every level of a hash grid.

    p = x s + ½, cell = floor(p); the value is trilinear in p - cell between the 8 corners. A corner's entry
    is x + y r + z r² on a dense level (wrapped at the table's end), (x ⊕ 2654435761 y ⊕ 805459861 z) mod size
    on a hashed one. Outside the box the nearest point of the box is looked up; NaN gives NaN.

    Returns [point, level * feature] with strides (1, point): each feature lies contiguous, as the kernels
    write it and `fused_mlp` reads it. Gradients reach `table` and `positions`, once (no second derivatives).
    With `table_grad`, a float32 buffer, the table's gradient is added into it in place and autograd returns
    none for the table, so that nothing of the table's size is allocated or cleared in a step. `table` may be
    float16 (a copy of float32 parameters, with half the memory traffic); its gradient then needs
    `table_grad`. On a CPU the result does not depend on the number of threads; on CUDA the table's gradient
    is summed by atomics. float64 takes the reference.

    Args:
        positions: in the unit cube.
        table: rows of all levels, one level after another.
        levels: the table's shape.
        table_grad: float32 buffer into which the table's gradient is added, instead of returning one.

    Raises:
        ValueError: shapes or dtypes do not fit each other.

    Example:
        >>> levels = HashLevels(log2_table=15)
        >>> table = torch.zeros(levels.entries, levels.features, requires_grad=True)
        >>> hash_encode(torch.rand(5, 3), table, levels).shape
        torch.Size([5, 32])

    Source: tiny-cuda-nn `grid.h` (indexing), instant-ngp (defaults).
    """
    _check(positions, table, levels, table_grad)
    kind = backend.choose("hash_encode", positions, *([] if table.dtype == torch.float16 else [table]))
    if kind == "reference" or levels.lookup == "nerfstudio":
        return _reference(positions, table, levels, table_grad)
    return _encode(positions.contiguous(), table.contiguous(), _level_rows(levels), table_grad)


def _reference(
    positions: Tensor, table: Tensor, levels: HashLevels, table_grad: Tensor | None = None
) -> Float[Tensor, "point level*feature"]:
    table = deposit(table.to(positions.dtype), table_grad)
    planes = []
    for scale, r, offset, size in zip(levels.scales, levels.resolutions, levels.offsets, levels.sizes, strict=True):
        place = positions.clamp(0, 1) * scale + (0.0 if levels.lookup == "nerfstudio" else 0.5)
        cell = torch.where(place >= 0, place, 0).detach().floor()
        fraction = place - cell
        value = 0.0
        for corner in range(8):
            step = torch.tensor([corner >> axis & 1 for axis in range(3)], device=positions.device)
            x, y, z = (cell.long() + step).unbind(1)
            if r**3 <= size and levels.lookup != "nerfstudio":
                entry = (x + y * r + z * r * r) % size
            else:
                entry = (x * _PRIMES[0] ^ y * _PRIMES[1] ^ z * _PRIMES[2]) % size
            weight = torch.where(step.bool(), fraction, 1 - fraction).prod(1, keepdim=True)
            value = value + weight * table[offset + entry]
        planes.append(value)
    return torch.cat(planes, 1).t().contiguous().t()


@lru_cache
def _level_rows(levels: HashLevels) -> Int[Tensor, "level 4"]:
    """Rows of struct HashLevel: scale (as bits), resolution, offset, size."""
    bits = np.array(levels.scales, np.float32).view(np.int32)
    return torch.from_numpy(np.stack([bits, levels.resolutions, levels.offsets, levels.sizes], 1).astype(np.int32))


@torch_op("hash_encode")
def _encode(positions: Tensor, table: Tensor, rows: Tensor, table_grad: Tensor | None) -> Tensor:
    points, features = positions.shape[0], table.shape[1]
    out = positions.new_empty(len(rows) * features, points)
    _run("hash_encode", positions, rows, *table.shape, table=table, half=table.dtype == torch.float16, out=out)
    return out.t()


@_encode.register_fake
def _(positions: Tensor, table: Tensor, rows: Tensor, table_grad: Tensor | None) -> Tensor:
    return positions.new_empty(rows.shape[0] * table.shape[1], positions.shape[0]).t()


@torch.library.custom_op("volkit::hash_scatter", mutates_args=("table_grad",))
def _scatter(grad: Tensor, positions: Tensor, table_grad: Tensor, rows: Tensor) -> None:
    _run("hash_scatter", positions, rows, *table_grad.shape, grad_out=grad.t(), grad_table=table_grad)


@torch_op("hash_slopes", gradient=False)
def _slopes(grad: Tensor, positions: Tensor, table: Tensor, rows: Tensor) -> Tensor:
    out = torch.empty_like(positions)
    given = {"table": table, "half": table.dtype == torch.float16, "grad_out": grad.t()}
    _run("hash_slopes", positions, rows, *table.shape, **given, grad_positions=out)
    return out


@_slopes.register_fake
def _(grad: Tensor, positions: Tensor, table: Tensor, rows: Tensor) -> Tensor:
    return torch.empty_like(positions)


def _run(op: str, positions: Tensor, rows: Tensor, entries: int, features: int, **others: Tensor | bool) -> None:
    """Call a kernel; positions [point, 3] and the rows of levels, in host memory, are fields of all three."""
    backend.run(
        op,
        positions,
        positions=positions,
        levels=rows.numpy(),
        points=positions.shape[0],
        level_count=len(rows),
        entries=entries,
        features=features,
        **others,
    )


def _remember(ctx, inputs: tuple, output: Tensor) -> None:
    positions, table, rows, table_grad = inputs
    ctx.save_for_backward(positions, table, rows)
    # Not saved: two lookups may add to one buffer, and saving would refuse that.
    ctx.table_grad = table_grad


def _backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
    positions, table, rows = ctx.saved_tensors
    planar = grad.t().contiguous().t()
    slopes = _slopes(planar, positions, table, rows) if ctx.needs_input_grad[0] else None
    if not ctx.needs_input_grad[1]:
        return slopes, None, None, None
    into = ctx.table_grad if ctx.table_grad is not None else torch.zeros_like(table)
    _scatter(planar, positions, into, rows)
    return slopes, into if ctx.table_grad is None else None, None, None


_encode.register_autograd(_backward, setup_context=_remember)


def _check(positions: Tensor, table: Tensor, levels: HashLevels, table_grad: Tensor | None) -> None:
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise ValueError(f"hash_encode: positions must be [point, 3], got {tuple(positions.shape)}")
    if tuple(table.shape) != (levels.entries, levels.features):
        raise ValueError(
            f"hash_encode: table must be [{levels.entries}, {levels.features}] here, got {tuple(table.shape)}"
        )
    if positions.dtype not in (torch.float32, torch.float64) or table.dtype not in (
        positions.dtype,
        torch.float16,
    ):
        raise ValueError(
            f"hash_encode: positions {positions.dtype} and table {table.dtype}; both float32 or both "
            "float64, or a float16 table"
        )
    if table_grad is None:
        if table.dtype == torch.float16 and table.requires_grad and torch.is_grad_enabled():
            raise ValueError("hash_encode: the gradient of a float16 table needs table_grad, a float32 buffer")
    elif table_grad.shape != table.shape or table_grad.dtype != positions.dtype or not table_grad.is_contiguous():
        raise ValueError(
            f"hash_encode: table_grad must be a contiguous {positions.dtype} {tuple(table.shape)}, got "
            f"{table_grad.dtype} {tuple(table_grad.shape)}"
        )
