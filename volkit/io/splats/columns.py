"""What readers of splats return, and writers take: columns before activation, as arrays, and where they stand.

Nothing here needs torch: a file becomes another one by NumPy alone. `scene.py` makes a scene of columns, and back.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from volkit.choices import Frame
from volkit.files.errors import FormatError
from volkit.files.provenance import about_scene, frame_in
from volkit.geometry.frames import Similarity, turn
from volkit.geometry.gaussians import move_gaussians
from volkit.geometry.morton import morton_codes
from volkit.progress import Progress
from volkit.typing import Bool, Float, Int

__all__ = [
    "COLUMNS",
    "SplatColumns",
    "check_bad",
    "check_count",
    "columns_for",
    "columns_of_file",
    "columns_of_parts",
    "joined",
    "log_of_scales",
    "logits_of",
    "morton_order",
    "opacities_of",
    "scales_of",
    "solid",
    "unit_quaternions",
]

COLUMNS = ("means", "quaternions", "log_scales", "logits", "sh_dc", "sh_rest")
# The log of a surfel's third scale, where a file needs one; findings/splat_transform_flat_scales.sh has why no smaller.
FLAT_LOG_SCALE = -20.0
MIN_SCALE = 1e-30  # of a scale: 0 has no logarithm
LOGIT_MARGIN = 1e-7  # from 0 and 1, where an opacity has no logit
FINEST_CELLS = (1 << 21) - 1  # cells a side

Arrays = Mapping[str, np.ndarray]
HERE = Similarity()


@dataclass(frozen=True)
class SplatColumns:
    """Splats as a file holds them: float32 arrays before activation, in a local frame, and where that stands.

    Attributes:
        means: `[splat, 3]`, local units.
        quaternions: `[splat, 4]`, w x y z, of any length but 0.
        log_scales: `[splat, 3]`, of surfels `[splat, 2]`: logarithms of standard deviations.
        logits: `[splat]`, of opacities.
        sh_dc: `[splat, 1, 3]`, the constant of the colour.
        sh_rest: `[splat, basis, 3]`, harmonics from degree 1.
        mip: whether they are drawn without dilation but with their energy (Mip-Splatting).
        extras: further columns of the file by name and type (`label:u1`), float64, kept but not understood.
        world_from_local: where the local frame stands.
        frame: which axis of the world points up.
        provenance: where they come from, as plain JSON values.
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
        """Of the harmonics."""
        return math.isqrt(self.sh_rest.shape[1] + 1) - 1

    @property
    def surfels(self) -> bool:
        """Whether they are flat."""
        return self.log_scales.shape[1] == 2

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """The columns by name, local frame."""
        return {name: getattr(self, name) for name in COLUMNS}

    @property
    def invalid(self) -> Bool[np.ndarray, " splat"]:
        """Splats that cannot be drawn: a value that is not finite, or a quaternion that is zero."""
        bad = np.einsum("nk,nk->n", self.quaternions, self.quaternions) == 0
        for column in self.columns.values():
            if not _summable(column):
                bad |= ~np.isfinite(column).all(tuple(range(1, column.ndim)))
        return bad

    def keep(self, rows: Bool[np.ndarray, " splat"] | Int[np.ndarray, " row"]) -> "SplatColumns":
        """Some of the splats, with all their columns."""
        extras = {name: values[rows] for name, values in self.extras.items()}
        return replace(self, **{name: column[rows] for name, column in self.columns.items()}, extras=extras)

    def in_frame(self, frame: Frame) -> "SplatColumns":
        """The same in another frame of the world; `world` in the provenance is the one that they had."""
        change = turn(frame, self.frame)
        if change.is_identity:
            return self
        told = {"world": self.frame} | dict(self.provenance)
        return replace(self, world_from_local=change @ self.world_from_local, frame=frame, provenance=told)

    def in_world(self) -> "SplatColumns":
        """The same with the world's frame as their own."""
        return replace(self, **self.columns_in(), world_from_local=Similarity())

    def columns_in(
        self, frame_from_world: Similarity | None = None, rows: slice = slice(None)
    ) -> dict[str, np.ndarray]:
        """The columns, or some rows, in the world's frame, or another: moved, turned and scaled, harmonics and all."""
        place = self.world_from_local if frame_from_world is None else frame_from_world @ self.world_from_local
        return move_gaussians({name: column[rows] for name, column in self.columns.items()}, place)


def columns_of_file(
    columns: Arrays,
    place: Similarity | None = None,
    *,
    mip: bool = False,
    extras: Arrays = MappingProxyType({}),
    provenance: Mapping[str, Any],
    frame: Frame | None = None,
) -> SplatColumns:
    """The value of a file's columns, in float32; two scales make surfels.

    `frame` is the world's; by default the one that the provenance names, else -Y up, as captures have it.
    """
    plain = {name: np.ascontiguousarray(columns[name], np.float32) for name in COLUMNS}
    return SplatColumns(
        **plain, mip=mip, extras=dict(extras), world_from_local=place or Similarity(),
        frame=frame or frame_in(provenance, "frame", "ydown"), provenance=about_scene(provenance),
    )  # fmt: skip


def columns_of_parts(
    found: Sequence[tuple[Arrays, Similarity]], zup_from_file: Similarity, provenance: Mapping[str, Any]
) -> SplatColumns:
    """Splats of a file's parts and their places: of one part in its own frame, of several in the file's.

    The world is as it was when they were written, where the provenance says so, else -Y up.
    """
    world = frame_in(provenance, "world", "ydown")
    world_from_file = turn(world, "zup") @ zup_from_file
    if len(found) == 1:
        columns, place = found[0]
        return columns_of_file(columns, world_from_file @ place, provenance=provenance, frame=world)
    moved = [move_gaussians(columns, place) for columns, place in found]
    return columns_of_file(joined(moved), world_from_file, provenance=provenance, frame=world)


def joined(found: Sequence[Arrays]) -> dict[str, np.ndarray]:
    """One table of several; harmonics of lower degrees are filled up by zeros."""
    basis = max(columns["sh_rest"].shape[1] for columns in found)
    rests = [np.pad(c["sh_rest"], ((0, 0), (0, basis - c["sh_rest"].shape[1]), (0, 0))) for c in found]
    return {name: np.concatenate([columns[name] for columns in found]) for name in COLUMNS[:-1]} | {
        "sh_rest": np.concatenate(rests)
    }


def solid(log_scales: Float[np.ndarray, "splat axis"]) -> Float[np.ndarray, "splat 3"]:
    """With a third scale of nearly nothing, where there are two."""
    return np.pad(log_scales, ((0, 0), (0, 3 - log_scales.shape[1])), constant_values=FLAT_LOG_SCALE)


def log_of_scales(scales: Float[np.ndarray, "splat axis"]) -> Float[np.ndarray, "splat axis"]:
    """Finite logarithms; what is not a number stays none."""
    with np.errstate(invalid="ignore"):
        return np.log(np.maximum(scales, MIN_SCALE, dtype=np.float64)).astype(np.float32)


def scales_of(log_scales: Float[np.ndarray, "splat axis"]) -> Float[np.ndarray, "splat axis"]:
    """Standard deviations, to the last bit of float32."""
    with np.errstate(over="ignore"):  # as large as they are said to be: infinite
        return np.exp(log_scales.astype(np.float64)).astype(np.float32)


def logits_of(opacities: Float[np.ndarray, " splat"]) -> Float[np.ndarray, " splat"]:
    """Finite logits."""
    shares = np.clip(opacities.astype(np.float64), LOGIT_MARGIN, 1 - LOGIT_MARGIN)
    return (np.log(shares) - np.log1p(-shares)).astype(np.float32)


def opacities_of(logits: Float[np.ndarray, " splat"]) -> Float[np.ndarray, " splat"]:
    """`1 / (1 + exp(-logit))`, to the last bit of float32."""
    with np.errstate(over="ignore"):  # of a splat that nobody sees: 1 / (1 + inf) is 0
        return (1.0 / (1.0 + np.exp(-logits.astype(np.float64)))).astype(np.float32)


def unit_quaternions(quaternions: Float[np.ndarray, "splat 4"]) -> Float[np.ndarray, "splat 4"]:
    """Of length 1; those of length 0 stay."""
    length = np.sqrt(np.einsum("nk,nk->n", quaternions, quaternions))
    return quaternions / np.maximum(length, np.float32(1e-12))[:, None]


def columns_for(
    splats: SplatColumns, path: Path, degree: int, file_from_world: Similarity | None = None
) -> dict[str, np.ndarray]:
    """The columns in the file's frame, with three scales and harmonics up to a degree; finite, or a FormatError."""
    columns = splats.columns_in(file_from_world)
    if not all(map(_summable, columns.values())) and (count := int(splats.invalid.sum())):
        raise FormatError(path, f"cannot hold values that are not finite, as {count} splats have", "drop them")
    if splats.surfels:
        columns["log_scales"] = solid(columns["log_scales"])
    columns["sh_rest"] = columns["sh_rest"][:, : (degree + 1) ** 2 - 1]
    return columns


def _summable(column: np.ndarray) -> bool:
    """A sum is finite where all values are, but for overflow; to look at each costs ten times as much."""
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(column.sum())


def morton_order(positions: Float[np.ndarray, "splat 3"]) -> Int[np.ndarray, " splat"]:
    """Splats so that neighbours in the file are neighbours in space."""
    low = positions.min(0)
    span = np.maximum((positions.max(0) - low).astype(np.float64), 1e-30)
    unit = (positions - low).astype(np.float64) / span
    return morton_codes((unit * FINEST_CELLS).astype(np.int64)).argsort(kind="stable")


def check_bad(path: Path, count: int, progress: Progress | None) -> None:
    """Say that so many splats that cannot be drawn are dropped: in a note, or without a progress as a FormatError."""
    if progress is None:
        raise FormatError(path, f"holds {count} splats with values that are not finite", "have bad splats dropped")
    progress.note(f"{path}: {count} splats that are not finite were dropped")


def check_count(path: Path, count: int, held: int, each: float = 1.0) -> None:
    """FormatError where a header promises more splats than so many bytes can hold at `each` bytes a splat."""
    if not 0 < count <= held / each:
        raise FormatError(path, f"promises {count} splats in {held} bytes", "copy or write it again")
