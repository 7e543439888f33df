"""mkkellogg's `.ksplat`, levels 0 to 2: sections of splats whose positions count from the middle of their buckets.

Level 0 holds float32; level 1 positions in 16 bits about a bucket's middle, scales, rotations (w x y z) and harmonics
as float16; level 2 harmonics in bytes. Scales are no logarithms, colour and opacity bytes; harmonics go degree by
degree and within one channel by channel, to degree 2. Full buckets stand first, then those with a length of their own.
Source: mkkellogg/GaussianSplats3D `src/loaders/SplatBuffer.js`.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from volkit.files.atomic import atomic_write
from volkit.files.errors import FormatError, read_start
from volkit.io.splats.columns import (
    SplatColumns,
    columns_for,
    columns_of_file,
    joined,
    log_of_scales,
    opacities_of,
    scales_of,
    unit_quaternions,
)
from volkit.io.splats.quantised import coded, colour_of_constant, constant_of_colour, logits_of_bytes
from volkit.typing import Int

__all__ = ["read", "sniff", "write"]

FILE, SECTION = 4096, 1024  # bytes of the headers
LEVEL = 1  # that is written unless asked otherwise
NUMBERS = (("<f4", "<f4", "<f4"), ("<u2", "<f2", "<f2"), ("<u2", "<f2", "u1"))  # positions, scales and rotations, rest
BASES = ((), (3,), (3, 5), (3, 5, 7))  # functions by degree
MOST_DEGREE = 2  # that is written; the format has no more
BUCKET, BLOCK, RANGE = 256, 5.0, 32767  # splats, units, steps from the middle to a side
SPAN = 1.5  # of harmonics in bytes, where the header names none
FIX = "copy or write it again"


@dataclass(frozen=True)
class Section:
    """One header: so many splats, at most so many, in buckets of such a size."""

    count: int
    most: int
    bucket: int
    buckets: int
    block: float
    storage: int
    steps: int
    full: int
    partial: int
    degree: int

    @classmethod
    def at(cls, data: bytes, start: int) -> "Section":
        """As it stands in the file."""
        count, most, bucket, buckets, block, storage = struct.unpack_from("<IIIIfH", data, start)
        steps, _, full, partial, degree = struct.unpack_from("<IIIIH", data, start + 24)
        return cls(count, most, bucket, buckets, block, storage, steps or RANGE, full, partial, degree)

    def packed(self) -> bytes:
        """As it stands in the file."""
        first = struct.pack("<IIIIfHH", self.count, self.most, self.bucket, self.buckets, self.block, self.storage, 0)
        second = struct.pack("<IIIIH", self.steps, 0, self.full, self.partial, self.degree)
        return (first + second).ljust(SECTION, b"\0")


def row_of(level: int, degree: int) -> np.dtype:
    """One splat."""
    position, part, rest = NUMBERS[level]
    return np.dtype([("position", position, 3), ("scale", part, 3), ("rotation", part, 4), ("rgba", "u1", 4),
                     ("rest", rest, 3 * sum(BASES[degree]))])  # fmt: skip


def sniff(path: Path) -> bool:
    """Whether the header says version 0.1 or later, a level that there is, and sections that fit the file."""
    head = read_start(path, FILE)
    if len(head) < FILE or head[0] != 0 or head[1] < 1:
        return False
    sections, count, level = *struct.unpack_from("<I8xI", head, 4), struct.unpack_from("<H", head, 20)[0]
    size = path.stat().st_size
    return level <= 2 and sections > 0 and FILE + sections * SECTION <= size and 0 < count <= size


def read(path: Path) -> SplatColumns:
    """All sections as one; FormatError for damaged files and those that lie about their size."""
    data = path.read_bytes()
    if not sniff(path):
        raise FormatError(path, "has no header of a .ksplat", FIX)
    sections, count = struct.unpack_from("<I8xI", data, 4)
    level = struct.unpack_from("<H", data, 20)[0]
    low, high = struct.unpack_from("<ff", data, 36)
    span = (low or -SPAN, high or SPAN)
    at, found = FILE + sections * SECTION, []
    for number in range(sections):
        section = Section.at(data, FILE + number * SECTION)
        if section.count:
            rows, means, at = _rows(path, data, at, section, level)
            found.append((rows, means, section.degree))
    if sum(len(rows) for rows, _, _ in found) != count:
        raise FormatError(path, f"promises {count} splats, and its sections hold others", FIX)
    parts = [_columns(rows, means, degree, span) for rows, means, degree in found]
    return columns_of_file(joined(parts), provenance={"format": "ksplat", "level": level})


def _rows(path: Path, data: bytes, at: int, section: Section, level: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Splats, their positions and where the next section begins."""
    if section.degree >= len(BASES):
        raise FormatError(path, f"says degree {section.degree}", FIX)
    row = row_of(level, section.degree)
    middles = at + 4 * section.partial
    start = middles + section.storage * section.buckets
    end = start + row.itemsize * section.most
    if section.count > section.most or start + row.itemsize * section.count > len(data):
        raise FormatError(path, f"promises {section.count} splats beyond its end", FIX)
    rows = np.frombuffer(data, row, section.count, start)
    if level == 0:
        return rows, rows["position"].astype(np.float32), end
    if section.storage < 12 or section.full * section.bucket > section.count:
        raise FormatError(path, "has buckets that hold other splats than there are", FIX)
    lengths = np.frombuffer(data, "<u4", section.partial, at).astype(np.int64)
    left = section.count - section.full * section.bucket
    if lengths.sum() != left or section.full + section.partial > section.buckets:
        raise FormatError(path, "has buckets that hold other splats than there are", FIX)
    sizes = np.concatenate([np.full(section.full, section.bucket), lengths])
    stored = np.frombuffer(data, np.uint8, section.storage * section.buckets, middles).reshape(section.buckets, -1)
    middle = np.ascontiguousarray(stored[: len(sizes), :12]).view("<f4")
    step = np.float32(section.block / 2 / section.steps)
    steps = rows["position"].astype(np.float32) - section.steps
    return rows, steps * step + np.repeat(middle, sizes, 0), end


def _columns(rows: np.ndarray, means: np.ndarray, degree: int, span: tuple[float, float]) -> dict[str, np.ndarray]:
    rest = rows["rest"].astype(np.float32)
    if rows["rest"].dtype == np.uint8:
        rest = rest * np.float32((span[1] - span[0]) / 255) + np.float32(span[0])
    bands = np.split(rest, np.cumsum([3 * size for size in BASES[degree]])[:-1], 1) if degree else ()
    basis = [band.reshape(len(rows), 3, -1).transpose(0, 2, 1) for band in bands]
    return {
        "means": means,
        "quaternions": rows["rotation"].astype(np.float32),
        "log_scales": log_of_scales(rows["scale"]),
        "logits": logits_of_bytes(rows["rgba"][:, 3]),
        "sh_dc": constant_of_colour(rows["rgba"][:, :3].astype(np.float32) / 255)[:, None],
        "sh_rest": np.concatenate([np.empty((len(rows), 0, 3), np.float32), *basis], 1),
    }


def write(splats: SplatColumns, path: Path, level: int = LEVEL) -> Int[np.ndarray, " splat"]:
    """One section of a level, in the world frame, splats bucket by bucket: that order is answered."""
    columns = columns_for(splats, path, MOST_DEGREE)
    order, section, lengths, middles = _bucketed(columns["means"], splats.degree)
    columns = {name: column.take(order, 0) for name, column in columns.items()}
    rows = np.empty(len(order), row_of(level, section.degree))
    means = columns["means"]
    if level:
        sizes = np.concatenate([np.full(section.full, BUCKET), lengths])
        steps = (means - middles.repeat(sizes, 0)) * np.float32(2 * RANGE / BLOCK)
        means = np.rint(steps + RANGE).clip(0, 2 * RANGE)
    with np.errstate(over="ignore"):  # half floats end at 65504
        rows["position"], rows["scale"] = means, scales_of(columns["log_scales"])
    rows["rotation"] = unit_quaternions(columns["quaternions"])
    light = np.concatenate([colour_of_constant(columns["sh_dc"][:, 0]), opacities_of(columns["logits"])[:, None]], 1)
    rows["rgba"] = coded(light, 255)
    bands = np.split(columns["sh_rest"], np.cumsum(BASES[section.degree])[:-1], 1) if section.degree else ()
    flat = [band.transpose(0, 2, 1).reshape(len(order), -1) for band in bands]
    rest = np.concatenate([np.empty((len(order), 0), np.float32), *flat], 1)
    span = float(np.abs(rest).max(initial=0.0)) or SPAN
    rows["rest"] = coded((rest / np.float32(span) + 1) / 2, 255) if level == 2 else rest
    head = bytearray(FILE)
    struct.pack_into("<BB2xIIIIH", head, 0, 0, 1, 1, 1, len(order), len(order), level)
    struct.pack_into("<3fff", head, 24, *columns["means"].mean(0).tolist(), -span, span)
    buckets = lengths.astype("<u4").tobytes() + middles.astype("<f4").tobytes()
    with atomic_write(path) as place, place.open("wb") as file:
        file.write(bytes(head) + section.packed() + buckets)
        rows.tofile(file)
    return order


def _bucketed(means: np.ndarray, degree: int) -> tuple[np.ndarray, Section, np.ndarray, np.ndarray]:
    """Splats block by block, first as many as fill whole buckets; the rest's lengths, and the middles of all."""
    low = means.min(0)
    cells = np.floor((means - low) / BLOCK).astype(np.int64)
    order = np.lexsort(cells.T[::-1])
    first = np.concatenate([[True], (np.diff(cells[order], axis=0) != 0).any(1)])
    starts = np.flatnonzero(first)
    counts = np.diff(starts, append=len(means))
    within = np.arange(len(means)) - starts.repeat(counts)
    whole = within < (counts // BUCKET * BUCKET).repeat(counts)
    middle = low + (cells[order[starts]] + np.float32(0.5)).astype(np.float32) * np.float32(BLOCK)
    order = np.concatenate([order[whole], order[~whole]])
    lengths = (counts % BUCKET)[counts % BUCKET > 0]
    middles = np.concatenate([middle.repeat(counts // BUCKET, 0), middle[counts % BUCKET > 0]])
    count, full = len(means), int((counts // BUCKET).sum())
    section = Section(
        count, count, BUCKET, len(middles), BLOCK, 12, RANGE, full, len(lengths), min(degree, MOST_DEGREE)
    )
    return order, section, lengths, middles
