"""`SplatColumns`: splats as arrays before activation, which readers return and writers take; no torch.

One file of splats becomes another by NumPy alone. `scene.py` converts columns to a scene and back.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from volkit.choices import Frame
from volkit.files.errors import FormatError
from volkit.files.provenance import frame_from_record, without_frames
from volkit.geometry.frames import Similarity, frame_of_up, turn
from volkit.geometry.gaussians import move_gaussians
from volkit.geometry.morton import morton_codes
from volkit.progress import Progress
from volkit.threads import thread_count
from volkit.typing import Bool, Float, Int

__all__ = [
    "COLUMNS",
    "SplatColumns",
    "add_flat_scale",
    "check_count",
    "check_invalid",
    "columns_from_file",
    "columns_from_parts",
    "columns_to_write",
    "concatenate_columns",
    "exp_scales",
    "keep_remainders",
    "map_blocks",
    "morton_order",
    "normalise_quaternions",
    "read_columns_in_blocks",
    "rounding_of",
    "safe_log",
    "safe_logit",
    "sigmoid_opacities",
]


COLUMNS = ("means", "quaternions", "log_scales", "logits", "sh_dc", "sh_rest")
# The third log scale of a surfel where a file needs one; findings/splat_transform_flat_scales.sh says why no smaller.
FLAT_LOG_SCALE = -20.0
MIN_SCALE = 1e-30  # so that the logarithm is finite
LOGIT_MARGIN = 1e-7  # from 0 and 1, so that the logit is finite
SOLID_LOGIT = 100.0  # for an infinite one: its opacity is 1 in float32, or less than 1e-43
MAX_ROUNDING = (
    1e-6  # of the width of a scene: positions that float32 rounds by more are kept as an offset and remainders
)
MORTON_CELLS = (1 << 21) - 1  # per axis: 21 bits

Arrays = Mapping[str, np.ndarray]
HERE = Similarity()

BLOCK_SPLATS = 1 << 14  # processed at a time: their columns stay in the cache
MAX_WAITING_BLOCKS = 4  # finished blocks per thread that wait to be taken

Block = TypeVar("Block")


@dataclass(frozen=True)
class SplatColumns:
    """Splats as files store them: float32 arrays before activation, in a local frame that is placed in the world.

    Attributes:
        means: `[splat, 3]`, local units.
        quaternions: `[splat, 4]`, w x y z, of any length but 0.
        log_scales: `[splat, 3]`, of surfels `[splat, 2]`: logarithms of standard deviations.
        logits: `[splat]`, logits of opacities.
        sh_dc: `[splat, 1, 3]`, harmonics of degree 0.
        sh_rest: `[splat, basis, 3]`, harmonics from degree 1 on.
        mip: whether they were trained with the filter of Mip-Splatting.
        extras: further columns by name and type (`label:u1`), float64, passed on unchanged.
        world_from_local: placement of the local frame.
        frame: the world frame, which says what is up.
        provenance: origin, as plain JSON values.
    """

    means: Float[np.ndarray, "splat 3"]
    quaternions: Float[np.ndarray, "splat 4"]
    log_scales: Float[np.ndarray, "splat axis"]
    logits: Float[np.ndarray, " splat"]
    sh_dc: Float[np.ndarray, "splat 1 3"]
    sh_rest: Float[np.ndarray, "splat basis 3"]
    mip: bool = False
    extras: Arrays = field(default_factory=dict)
    world_from_local: Similarity = HERE
    frame: Frame = "ydown"
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.means)

    @property
    def degree(self) -> int:
        """Degree of the harmonics."""
        return math.isqrt(self.sh_rest.shape[1] + 1) - 1

    @property
    def surfels(self) -> bool:
        """Whether splats have two scales (2DGS)."""
        return self.log_scales.shape[1] == 2

    @property
    def georeferenced(self) -> bool:
        """Whether float32 cannot hold the positions in the world, for they lie far from its origin by their width."""
        far = max(map(abs, self.world_from_local.translation))
        if far == 0.0 or not len(self):
            return False
        width = _width(self.means) + float(np.exp(min(float(self.log_scales.max()), 80.0)))  # of a single one: its own
        return rounding_of(far) > MAX_ROUNDING * self.world_from_local.scale * width

    @property
    def bounds(self) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
        """Least and greatest coordinates in the world, float64; there must be a splat."""
        means = self.means if self.world_from_local.is_identity else self.positions_in()
        axes = np.ascontiguousarray(means.T)  # extremes of a row are found several times faster than those of a column
        return axes.min(1).astype(np.float64), axes.max(1).astype(np.float64)

    @property
    def farthest(self) -> float:
        """The largest coordinate in the world, regardless of its sign."""
        return float(np.abs(self.bounds).max()) if len(self) else 0.0

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """The columns by name, in the local frame."""
        return {name: getattr(self, name) for name in COLUMNS}

    @property
    def invalid(self) -> Bool[np.ndarray, " splat"]:
        """Splats that cannot be drawn: with a value that is not finite, or a zero quaternion."""
        bad = np.einsum("nk,nk->n", self.quaternions, self.quaternions) == 0
        for column in self.columns.values():
            if not _summable(column):
                bad |= ~np.isfinite(column).all(tuple(range(1, column.ndim)))
        return bad

    def keep(self, rows: Bool[np.ndarray, " splat"] | Int[np.ndarray, " row"]) -> "SplatColumns":
        """The splats at these rows, with all their columns."""
        extras = {name: values[rows] for name, values in self.extras.items()}
        return replace(self, **{name: column[rows] for name, column in self.columns.items()}, extras=extras)

    def in_frame(self, frame: Frame) -> "SplatColumns":
        """The same splats in another world frame; `world` in the provenance records the previous one."""
        change = turn(frame, self.frame)
        if change.is_identity:
            return self
        provenance = {"world": self.frame} | dict(self.provenance)
        return replace(self, world_from_local=change @ self.world_from_local, frame=frame, provenance=provenance)

    def in_world(self) -> "SplatColumns":
        """The same splats with the world frame as their local frame."""
        return replace(self, **self.columns_in(), world_from_local=Similarity())

    def positions_in(
        self, frame_from_world: Similarity | None = None, rows: slice = slice(None)
    ) -> Float[np.ndarray, "splat 3"]:
        """Means, or some rows, in the world frame or in `frame_from_world`, in float64."""
        place = self.world_from_local if frame_from_world is None else frame_from_world @ self.world_from_local
        return place.points(self.means[rows].astype(np.float64))

    def without_offset(self) -> tuple["SplatColumns", tuple[float, ...]]:
        """The same splats moved to the world's origin, and by how much they were away: for formats that store both."""
        offset = self.world_from_local.translation
        place = replace(self.world_from_local, translation=(0.0, 0.0, 0.0))
        return replace(self, world_from_local=place), offset

    def columns_in(
        self, frame_from_world: Similarity | None = None, rows: slice = slice(None)
    ) -> dict[str, np.ndarray]:
        """The columns, or some rows, in the world frame or in `frame_from_world`; harmonics are rotated too."""
        place = self.world_from_local if frame_from_world is None else frame_from_world @ self.world_from_local
        return move_gaussians({name: column[rows] for name, column in self.columns.items()}, place)


def columns_from_file(
    columns: Arrays,
    place: Similarity | None = None,
    *,
    mip: bool = False,
    extras: Arrays = MappingProxyType({}),
    provenance: Mapping[str, Any],
    frame: Frame | None = None,
) -> SplatColumns:
    """Splats of a file's columns, converted to float32; two scales make surfels.

    `place` is world_from_file. `frame` is the world frame, by default the one that the provenance names, else -Y up, as
    in captures; a vertical axis that it names is turned upright. Infinite logits count as opaque or transparent, a
    scale of 0 as a tiny one.
    """
    place = place or Similarity()
    if frame is None and "vertical_axis" in provenance:
        frame, upright = frame_of_up(provenance["vertical_axis"])
        place = upright @ place
    plain = {name: np.ascontiguousarray(columns[name], np.float32) for name in COLUMNS}
    if not _summable(plain["logits"]):
        plain["logits"] = np.nan_to_num(plain["logits"], nan=np.nan, posinf=SOLID_LOGIT, neginf=-SOLID_LOGIT)
    if not _summable(plain["log_scales"]):
        smallest = math.log(MIN_SCALE)
        plain["log_scales"] = np.nan_to_num(plain["log_scales"], nan=np.nan, posinf=np.inf, neginf=smallest)
    return SplatColumns(
        **plain,
        mip=mip,
        extras=dict(extras),
        world_from_local=place,
        frame=frame or frame_from_record(provenance, "frame", "ydown"),
        provenance=without_frames(provenance),
    )


def columns_from_parts(
    parts: Sequence[tuple[Arrays, Similarity]], zup_from_file: Similarity, provenance: Mapping[str, Any]
) -> SplatColumns:
    """Splats of a file's parts, each with its transform: a single part keeps its own frame, several get the file's.

    The world frame is the one that the provenance names, else -Y up.
    """
    world = frame_from_record(provenance, "world", "ydown")
    world_from_file = turn(world, "zup") @ zup_from_file
    if len(parts) == 1:
        columns, place = parts[0]
        return columns_from_file(columns, world_from_file @ place, provenance=provenance, frame=world)
    far = Similarity(translation=parts[0][1].translation)  # of parts that lie far away together float32 holds the rest
    far = far if rounding_of(max(map(abs, far.translation))) > MAX_ROUNDING else Similarity()
    moved = [move_gaussians(columns, far.inverse() @ place) for columns, place in parts]
    return columns_from_file(concatenate_columns(moved), world_from_file @ far, provenance=provenance, frame=world)


def keep_remainders(positions: Float[np.ndarray, "splat 3"]) -> tuple[Float[np.ndarray, "splat 3"], Similarity]:
    """Positions in float64 as float32 and the placement of their frame: an offset where float32 alone would lose them.

    The offset is a multiple of a power of two, so that adding it back is exact.
    """
    finite = positions[np.isfinite(positions).all(1)]
    width = _width(finite)
    if not len(finite) or rounding_of(float(np.abs(finite).max())) <= MAX_ROUNDING * width:
        return positions.astype(np.float32), Similarity()
    step = 2.0 ** np.floor(np.log2(width)) if width > 0 else 1.0
    offset = np.rint(0.5 * (finite.min(0) + finite.max(0)) / step) * step
    return (positions - offset).astype(np.float32), Similarity(translation=tuple(offset.tolist()))


def rounding_of(far: float) -> float:
    """How far float32 may round a number of this size; 0 of 0."""
    return 0.5 * float(np.spacing(np.float32(min(far, 1e38))))


def _width(positions: np.ndarray) -> float:
    """The longest side of the box about positions, without those that are not finite."""
    if not _summable(positions):
        positions = positions[np.isfinite(positions).all(1)]
    return float((positions.max(0) - positions.min(0)).max()) if len(positions) else 0.0


def concatenate_columns(parts: Sequence[Arrays]) -> dict[str, np.ndarray]:
    """Concatenate tables of columns; harmonics of lower degrees are padded with zeros."""
    basis = max(columns["sh_rest"].shape[1] for columns in parts)
    rests = [np.pad(c["sh_rest"], ((0, 0), (0, basis - c["sh_rest"].shape[1]), (0, 0))) for c in parts]
    return {name: np.concatenate([columns[name] for columns in parts]) for name in COLUMNS[:-1]} | {
        "sh_rest": np.concatenate(rests)
    }


def add_flat_scale(log_scales: Float[np.ndarray, "splat axis"]) -> Float[np.ndarray, "splat 3"]:
    """Log scales with a third, tiny one where there are two."""
    return np.pad(log_scales, ((0, 0), (0, 3 - log_scales.shape[1])), constant_values=FLAT_LOG_SCALE)


def safe_log(scales: Float[np.ndarray, "splat axis"]) -> Float[np.ndarray, "splat axis"]:
    """Logarithms of scales, finite also for 0; NaN stays NaN."""
    with np.errstate(invalid="ignore"):
        return np.log(np.maximum(scales, MIN_SCALE, dtype=np.float64)).astype(np.float32)


def exp_scales(log_scales: Float[np.ndarray, "splat axis"]) -> Float[np.ndarray, "splat axis"]:
    """Scales of log scales, correctly rounded to float32."""
    with np.errstate(over="ignore"):  # overflow is infinite, as stored
        return np.exp(log_scales.astype(np.float64)).astype(np.float32)


def safe_logit(opacities: Float[np.ndarray, " splat"]) -> Float[np.ndarray, " splat"]:
    """Logits of opacities, finite also for 0 and 1."""
    shares = np.clip(opacities.astype(np.float64), LOGIT_MARGIN, 1 - LOGIT_MARGIN)
    return (np.log(shares) - np.log1p(-shares)).astype(np.float32)


def sigmoid_opacities(logits: Float[np.ndarray, " splat"]) -> Float[np.ndarray, " splat"]:
    """`1 / (1 + exp(-logit))`, correctly rounded to float32."""
    with np.errstate(over="ignore"):  # 1 / (1 + inf) is 0
        return (1.0 / (1.0 + np.exp(-logits.astype(np.float64)))).astype(np.float32)


def normalise_quaternions(quaternions: Float[np.ndarray, "splat 4"]) -> Float[np.ndarray, "splat 4"]:
    """Quaternions of length 1; zero ones stay zero."""
    length = np.sqrt(np.einsum("nk,nk->n", quaternions, quaternions))
    return quaternions / np.maximum(length, np.float32(1e-12))[:, None]


def columns_to_write(
    splats: SplatColumns, path: Path, degree: int, file_from_world: Similarity | None = None, empty: bool = False
) -> dict[str, np.ndarray]:
    """The columns in the file's frame, with three scales and harmonics up to `degree`.

    FormatError where there are none and the format cannot be `empty`, or values are not finite.
    """
    if not len(splats) and not empty:
        raise FormatError(path, "cannot hold a scene without splats", "write .ply, .spz, .safetensors or .csv")
    columns = splats.columns_in(file_from_world)
    if not all(map(_summable, columns.values())) and (count := int(splats.invalid.sum())):
        raise FormatError(path, f"cannot hold the values of {count} splats, which are not finite", "drop them")
    if splats.surfels:
        columns["log_scales"] = add_flat_scale(columns["log_scales"])
    columns["sh_rest"] = columns["sh_rest"][:, : (degree + 1) ** 2 - 1]
    return columns


def _summable(column: np.ndarray) -> bool:
    """Whether a column's sum is finite: then all values are; checking each of them costs ten times as much."""
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(column.sum())


def morton_order(positions: Float[np.ndarray, "splat 3"]) -> Int[np.ndarray, " splat"]:
    """The order along a Morton curve: neighbours in the file are neighbours in space."""
    axes = np.ascontiguousarray(positions.T)  # extremes of a row are found several times faster than those of a column
    low = axes.min(1)
    span = np.maximum((axes.max(1) - low).astype(np.float64), 1e-30)
    unit = (positions - low).astype(np.float64) / span
    return morton_codes((unit * MORTON_CELLS).astype(np.int64)).argsort(kind="stable")


def check_invalid(path: Path, splats: SplatColumns, progress: Progress | None) -> None:
    """Note on `progress` that bad splats are dropped; without a progress raise FormatError, which says what is bad."""
    count = int(splats.invalid.sum())
    bad = [name for name, column in splats.columns.items() if not np.isfinite(column).all()]
    where = f" ({', '.join(bad)})" if bad else " (quaternions of length 0)"
    if progress is None:
        raise FormatError(path, f"holds {count} splats with values that are not finite{where}", "remove them first")
    progress.note(f"{path}: {count} splats that are not finite were dropped{where}")


def check_count(path: Path, count: int, held: int, each: float = 1.0) -> None:
    """Raise FormatError where a header claims more splats than `held` bytes can store at `each` bytes per splat."""
    if not 0 < count <= held / each:
        raise FormatError(path, f"claims {count} splats in {held} bytes", "copy or write it again")


def map_blocks(count: int, make: Callable[[slice], Block]) -> Iterator[Block]:
    """Yield `make(rows)` for each block of rows in order; blocks run in threads."""
    if count <= BLOCK_SPLATS:
        yield make(slice(0, count))
        return
    threads = thread_count()
    waiting = deque()
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, count, BLOCK_SPLATS):
            waiting.append(pool.submit(make, slice(start, min(start + BLOCK_SPLATS, count))))
            if len(waiting) > MAX_WAITING_BLOCKS * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def read_columns_in_blocks(count: int, make: Callable[[slice], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """All columns, read block by block: `make(rows)` returns the columns of a block."""
    few = make(slice(0, min(count, 1)))
    whole = {name: np.empty((count, *part.shape[1:]), part.dtype) for name, part in few.items()}

    def fill(rows: slice) -> None:
        for name, part in make(rows).items():
            whole[name][rows] = part

    deque(map_blocks(count, fill), maxlen=0)
    return whole
