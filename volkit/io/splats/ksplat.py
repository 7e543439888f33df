"""mkkellogg's `.ksplat`, levels 0 to 2: sections of splats, with positions relative to the centre of their bucket.

Level 0 is float32; level 1 has positions in 16 bits about the bucket's centre, and scales, rotations (w x y z) and
harmonics in float16; level 2 has harmonics in bytes. Scales are linear, colour and opacity are bytes; harmonics go
degree by degree, within a degree channel by channel, up to degree 2. Full buckets come first, then partial ones, whose
lengths are listed.
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
    columns_from_file,
    columns_to_write,
    concatenate_columns,
    exp_scales,
    normalise_quaternions,
    safe_log,
    sigmoid_opacities,
)
from volkit.io.splats.quantisation import colour_from_sh_dc, logits_from_bytes, quantise, sh_dc_from_colour
from volkit.typing import Int

__all__ = ["read", "sniff", "write"]

FILE_HEADER_BYTES, SECTION_HEADER_BYTES = 4096, 1024  # bytes of the headers
DEFAULT_LEVEL = 1  # compression level that is written by default
NUMBER_TYPES = (
    ("<f4", "<f4", "<f4"),
    ("<u2", "<f2", "<f2"),
    ("<u2", "<f2", "u1"),
)  # positions, scales and rotations, rest
BASIS_SIZES = ((), (3,), (3, 5), (3, 5, 7))  # functions of each band, by degree
MAX_DEGREE = 2  # of the format
BUCKET_SPLATS, BLOCK_EDGE, POSITION_STEPS = 256, 5.0, 32767  # splats; world units; steps from centre to face
DEFAULT_HARMONIC_RANGE = 1.5  # harmonics in bytes span +-1.5 where the header gives no range
FIX = "copy or write it again"


@dataclass(frozen=True)
class Section:
    """The header of a section: its splats, its capacity, its buckets."""

    count: int
    capacity: int
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
        """Unpack a header at a byte offset."""
        count, capacity, bucket, buckets, block, storage = struct.unpack_from("<IIIIfH", data, start)
        steps, _, full, partial, degree = struct.unpack_from("<IIIIH", data, start + 24)
        return cls(count, capacity, bucket, buckets, block, storage, steps or POSITION_STEPS, full, partial, degree)

    def to_bytes(self, size: int) -> bytes:
        """Pack the header; `size` are the bytes of the section, which its own program writes and does not need."""
        first = struct.pack(
            "<IIIIfHH", self.count, self.capacity, self.bucket, self.buckets, self.block, self.storage, 0
        )
        second = struct.pack("<IIIIH", self.steps, size, self.full, self.partial, self.degree)
        return (first + second).ljust(SECTION_HEADER_BYTES, b"\0")


def row_dtype(level: int, degree: int) -> np.dtype:
    """The record of one splat."""
    position, part, rest = NUMBER_TYPES[level]
    columns = [("position", position, 3), ("scale", part, 3), ("rotation", part, 4), ("rgba", "u1", 4)]
    return np.dtype([*columns, ("rest", rest, 3 * sum(BASIS_SIZES[degree]))])


def sniff(path: Path) -> bool:
    """Whether the header has version 0.1 or later, a known level, and sections that fit into the file."""
    head = read_start(path, FILE_HEADER_BYTES)
    if len(head) < FILE_HEADER_BYTES or head[0] != 0 or head[1] < 1:
        return False
    sections, count, level = *struct.unpack_from("<I8xI", head, 4), struct.unpack_from("<H", head, 20)[0]
    size = path.stat().st_size
    return (
        level <= 2
        and sections > 0
        and FILE_HEADER_BYTES + sections * SECTION_HEADER_BYTES <= size
        and 0 < count <= size
    )


def read(path: Path) -> SplatColumns:
    """The splats of all sections; FormatError where the file is damaged or shorter than its headers say."""
    data = path.read_bytes()
    if not sniff(path):
        raise FormatError(path, "has no .ksplat header", FIX)
    sections, count = struct.unpack_from("<I8xI", data, 4)
    level = struct.unpack_from("<H", data, 20)[0]
    low, high = struct.unpack_from("<ff", data, 36)
    span = (low or -DEFAULT_HARMONIC_RANGE, high or DEFAULT_HARMONIC_RANGE)
    at, sections_read = FILE_HEADER_BYTES + sections * SECTION_HEADER_BYTES, []
    for number in range(sections):
        section = Section.at(data, FILE_HEADER_BYTES + number * SECTION_HEADER_BYTES)
        if section.count:
            rows, means, at = _rows(path, data, at, section, level)
            sections_read.append((rows, means, section.degree))
    if sum(len(rows) for rows, _, _ in sections_read) != count:
        raise FormatError(path, f"claims {count} splats, which its sections do not add up to", FIX)
    parts = [_columns(rows, means, degree, span) for rows, means, degree in sections_read]
    return columns_from_file(concatenate_columns(parts), provenance={"format": "ksplat", "level": level})


def _rows(path: Path, data: bytes, at: int, section: Section, level: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Records of a section's splats, their positions, and the offset of the next section."""
    if section.degree >= len(BASIS_SIZES):
        raise FormatError(path, f"claims degree {section.degree}", FIX)
    row = row_dtype(level, section.degree)
    middles = at + 4 * section.partial
    start = middles + section.storage * section.buckets
    end = start + row.itemsize * section.capacity
    if section.count > section.capacity or start + row.itemsize * section.count > len(data):
        raise FormatError(path, f"claims {section.count} splats, which lie beyond its end", FIX)
    rows = np.frombuffer(data, row, section.count, start)
    if level == 0:
        return rows, rows["position"].astype(np.float32), end
    if section.storage < 12 or section.full * section.bucket > section.count:
        raise FormatError(path, "has buckets that do not add up to its splats", FIX)
    lengths = np.frombuffer(data, "<u4", section.partial, at).astype(np.int64)
    left = section.count - section.full * section.bucket
    if lengths.sum() != left or section.full + section.partial > section.buckets:
        raise FormatError(path, "has buckets that do not add up to its splats", FIX)
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
    bands = np.split(rest, np.cumsum([3 * size for size in BASIS_SIZES[degree]])[:-1], 1) if degree else ()
    basis = [band.reshape(len(rows), 3, -1).transpose(0, 2, 1) for band in bands]
    return {
        "means": means,
        "quaternions": rows["rotation"].astype(np.float32),
        "log_scales": safe_log(rows["scale"]),
        "logits": logits_from_bytes(rows["rgba"][:, 3]),
        "sh_dc": sh_dc_from_colour(rows["rgba"][:, :3].astype(np.float32) / 255)[:, None],
        "sh_rest": np.concatenate([np.empty((len(rows), 0, 3), np.float32), *basis], 1),
    }


def write(splats: SplatColumns, path: Path, level: int = DEFAULT_LEVEL) -> Int[np.ndarray, " splat"]:
    """Write one section at a compression level, in the world frame; returns the order, which is by buckets."""
    columns = columns_to_write(splats, path, MAX_DEGREE)
    order, section, lengths, middles = _fill_buckets(columns["means"], splats.degree)
    columns = {name: column.take(order, 0) for name, column in columns.items()}
    rows = np.empty(len(order), row_dtype(level, section.degree))
    means = columns["means"]
    if level:
        sizes = np.concatenate([np.full(section.full, BUCKET_SPLATS), lengths])
        steps = (means - middles.repeat(sizes, 0)) * np.float32(2 * POSITION_STEPS / BLOCK_EDGE)
        means = np.rint(steps + POSITION_STEPS).clip(0, 2 * POSITION_STEPS)
    with np.errstate(over="ignore"):  # half floats end at 65504
        rows["position"], rows["scale"] = means, exp_scales(columns["log_scales"])
    rows["rotation"] = normalise_quaternions(columns["quaternions"])
    light = np.concatenate(
        [colour_from_sh_dc(columns["sh_dc"][:, 0]), sigmoid_opacities(columns["logits"])[:, None]], 1
    )
    rows["rgba"] = quantise(light, 255)
    bands = np.split(columns["sh_rest"], np.cumsum(BASIS_SIZES[section.degree])[:-1], 1) if section.degree else ()
    flat = [band.transpose(0, 2, 1).reshape(len(order), -1) for band in bands]
    rest = np.concatenate([np.empty((len(order), 0), np.float32), *flat], 1)
    span = float(np.abs(rest).max(initial=0.0)) or DEFAULT_HARMONIC_RANGE
    rows["rest"] = quantise((rest / np.float32(span) + 1) / 2, 255) if level == 2 else rest
    head = bytearray(FILE_HEADER_BYTES)
    struct.pack_into("<BB2xIIIIH", head, 0, 0, 1, 1, 1, len(order), len(order), level)
    struct.pack_into("<3fff", head, 24, *columns["means"].mean(0).tolist(), -span, span)
    buckets = lengths.astype("<u4").tobytes() + middles.astype("<f4").tobytes()
    with atomic_write(path) as place, place.open("wb") as file:
        file.write(bytes(head) + section.to_bytes(len(buckets) + rows.nbytes) + buckets)
        rows.tofile(file)
    return order


def _fill_buckets(means: np.ndarray, degree: int) -> tuple[np.ndarray, Section, np.ndarray, np.ndarray]:
    """Order of splats by block, full buckets first; the section; lengths of partial buckets; centres of all."""
    low = means.min(0)
    cells = np.floor((means - low) / BLOCK_EDGE).astype(np.int64)
    order = np.lexsort(cells.T[::-1])
    first = np.concatenate([[True], (np.diff(cells[order], axis=0) != 0).any(1)])
    starts = np.flatnonzero(first)
    counts = np.diff(starts, append=len(means))
    within = np.arange(len(means)) - starts.repeat(counts)
    whole = within < (counts // BUCKET_SPLATS * BUCKET_SPLATS).repeat(counts)
    middle = low + (cells[order[starts]] + np.float32(0.5)).astype(np.float32) * np.float32(BLOCK_EDGE)
    order = np.concatenate([order[whole], order[~whole]])
    lengths = (counts % BUCKET_SPLATS)[counts % BUCKET_SPLATS > 0]
    middles = np.concatenate([middle.repeat(counts // BUCKET_SPLATS, 0), middle[counts % BUCKET_SPLATS > 0]])
    count, full = len(means), int((counts // BUCKET_SPLATS).sum())
    section = Section(
        count,
        count,
        BUCKET_SPLATS,
        len(middles),
        BLOCK_EDGE,
        12,
        POSITION_STEPS,
        full,
        len(lengths),
        min(degree, MAX_DEGREE),
    )
    return order, section, lengths, middles
