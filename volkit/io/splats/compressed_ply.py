"""PlayCanvas' `.compressed.ply`: 16 bytes a splat, within the bounds of the 256 neighbours that it shares a chunk with.

Elements: `chunk`, lowest and highest position, log scale and (newer files) colour; `vertex`, four words: position and
log scale as 11, 10 and 11 bits, rotation as the number of the largest of w, x, y, z and the other three in 10 bits,
colour and opacity as four bytes; `sh`, a byte for each f_rest, [-4, 4], channel by channel.
Source: playcanvas/splat-transform `decompress-ply.ts` and `compressed-chunk.ts`.
"""

from pathlib import Path

import numpy as np

from volkit.files.atomic import atomic_write
from volkit.files.errors import FormatError
from volkit.files.ply_file import Table, head_of, matrix, read_elements
from volkit.files.provenance import comments_of, provenance_in, provenance_of
from volkit.io.splats.chunked import read_columns_chunked
from volkit.io.splats.columns import SplatColumns, columns_for, columns_of_file, morton_order, opacities_of
from volkit.io.splats.quantised import (
    by_blocks,
    coded,
    colour_of_constant,
    constant_of_colour,
    from_smallest_three,
    logits_of_bytes,
    smallest_three,
)
from volkit.typing import Int
from volkit.version import __version__

__all__ = ["read", "sniff", "write"]

CHUNK = 256  # splats
WORDS = ("packed_position", "packed_rotation", "packed_scale", "packed_color")
BOUNDS = tuple(
    f"{end}_{name}"
    for names in (("x", "y", "z"), ("scale_x", "scale_y", "scale_z"), ("r", "g", "b"))
    for end in ("min", "max")
    for name in names
)
OLD = 12  # bounds in files whose colours span [0, 1]
DEGREES = {0: 0, 9: 1, 24: 2, 45: 3}
HARMONIC_RANGE = 4.0  # of the harmonics
MIN_LOG_SCALE, MAX_LOG_SCALE = -20.0, 20.0  # log scales
# Of a byte: the middle of its step, and the ends themselves.
HARMONICS = ((np.concatenate([[0.0], (np.arange(1, 255) + 0.5) / 256, [1.0]]) - 0.5) * 2 * HARMONIC_RANGE).astype(
    np.float32
)


def sniff(path: Path) -> bool:
    """Whether the file is a `.ply` whose header names packed columns."""
    head = head_of(path)
    return b"element chunk " in head and all(word.encode() in head for word in WORDS)


def read(path: Path) -> SplatColumns:
    """Splats as they are packed; FormatError for damaged files and those that lie about their size."""
    elements, comments = read_elements(path)
    bounds, words, harmonics = _checked(path, elements)
    columns = read_columns_chunked(len(words), lambda rows: _unpacked(bounds, words, harmonics, rows))
    told = provenance_in(comments) | {"format": "compressed_ply", "comments": list(comments)}
    return columns_of_file(columns, provenance=told)


def _unpacked(bounds: np.ndarray, words: np.ndarray, harmonics: np.ndarray, rows: slice) -> dict[str, np.ndarray]:
    """Columns of some rows, which begin with a chunk."""
    order = np.arange(harmonics.shape[1]).reshape(3, -1).T.ravel()  # channel by channel to basis by basis
    position, rotation, scale, colour = (np.ascontiguousarray(words[rows, k]) for k in range(4))
    shares = _split(position), _split(scale), colour.view(np.uint8).reshape(-1, 4)[:, :0:-1] / np.float32(255)
    chunks = bounds[rows.start // CHUNK : -(-rows.stop // CHUNK)].reshape(-1, 3, 2, 3)
    means, log_scales, rgb = (_within(share, chunks[:, k]) for k, share in enumerate(shares))
    three = np.stack([rotation >> 20 & 1023, rotation >> 10 & 1023, rotation & 1023], -1).astype(np.float32)
    quaternions = from_smallest_three((rotation >> 30).astype(np.int64), three * np.float32(2 / 1023) - 1)
    return {
        "means": means,
        "quaternions": quaternions,
        "log_scales": log_scales,
        "logits": logits_of_bytes((colour & 255).astype(np.uint8)),
        "sh_dc": constant_of_colour(rgb)[:, None],
        "sh_rest": HARMONICS.take(harmonics[rows].take(order, 1), mode="clip").reshape(len(position), -1, 3),
    }


def _checked(path: Path, elements: dict[str, Table]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bounds [chunk, 18], words [splat, 4] and bytes of harmonics [splat, f_rest]."""
    fix = "copy or write it again"
    if not {"chunk", "vertex"} <= set(elements) <= {"chunk", "vertex", "sh"}:
        raise FormatError(path, f"holds the elements {', '.join(elements)}", "chunk, vertex and perhaps sh are packed")
    chunks, vertices = elements["chunk"], elements["vertex"]
    count = len(vertices)
    if len(chunks) != -(-count // CHUNK):
        raise FormatError(path, f"holds {len(chunks)} chunks for {count} splats", fix)
    named = set(chunks.dtype.names or ())
    wanted = BOUNDS if set(BOUNDS) <= named else BOUNDS[:OLD]
    if not set(wanted) <= named or not set(WORDS) <= set(vertices.dtype.names or ()):
        raise FormatError(path, "lacks columns of packed splats", fix)
    bounds = matrix(chunks[:], wanted, "<f4")
    if len(wanted) == OLD:
        bounds = np.concatenate([bounds, np.tile(np.array([0, 0, 0, 1, 1, 1], np.float32), (len(bounds), 1))], 1)
    words = matrix(vertices[:], WORDS, "<u4")
    rest = elements.get("sh", np.zeros(count, np.dtype([])))
    names = [f"f_rest_{k}" for k in range(len(rest.dtype.names or ()))]
    if len(rest) != count or len(names) not in DEGREES or set(names) != set(rest.dtype.names or ()):
        raise FormatError(path, f"holds {len(names)} harmonics of {len(rest)} splats", fix)
    if any(rest.dtype[name] != np.uint8 for name in names):
        raise FormatError(path, "holds harmonics that are no bytes", fix)
    return bounds, words, matrix(rest[:], names, "u1")


def _within(shares: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Of the interval of each splat's chunk; lowest and highest [chunk, 2, 3]."""
    low, span = (part.repeat(CHUNK, 0)[: len(shares)] for part in (ends[:, 0], ends[:, 1] - ends[:, 0]))
    return shares * span + low


def _split(words: np.ndarray) -> np.ndarray:
    """11, 10 and 11 bits as shares of 1, float32 [splat, 3]."""
    parts = words >> 21, words >> 11 & 1023, words & 2047
    return np.stack([part.astype(np.float32) / most for part, most in zip(parts, (2047, 1023, 2047), strict=True)], -1)


def write(splats: SplatColumns, path: Path) -> Int[np.ndarray, " splat"]:
    """Pack splats in Morton order, which is answered, in the world frame."""
    columns = columns_for(splats, path, 3)
    order = morton_order(columns["means"])
    harmonics = by_blocks(columns.pop("sh_rest"), lambda rest: _coded(rest).transpose(0, 2, 1))
    columns = {name: column.take(order, 0) for name, column in columns.items()}
    whole = (
        columns["means"],
        columns["log_scales"].clip(MIN_LOG_SCALE, MAX_LOG_SCALE),
        colour_of_constant(columns["sh_dc"][:, 0]),
    )
    ends, shares = zip(*map(_bounded, whole), strict=True)
    largest, three = smallest_three(columns["quaternions"])
    words = np.empty((len(order), 4), "<u4")
    words[:, 0], words[:, 2] = _joined(shares[0]), _joined(shares[1])
    turns = coded(three * 0.5 + 0.5, 1023).astype(np.uint32)
    words[:, 1] = largest.astype(np.uint32) << 30 | turns[:, 0] << 20 | turns[:, 1] << 10 | turns[:, 2]
    light = np.concatenate([shares[2], opacities_of(columns["logits"])[:, None]], 1)
    words[:, 3] = coded(light, 255).astype(np.uint8).view(">u4")[:, 0]
    with atomic_write(path) as place, place.open("wb") as file:
        file.write(_header(len(order), harmonics.shape[1], comments_of(provenance_of(splats))))
        for part in (np.concatenate(ends, 1).astype("<f4"), words, harmonics.take(order, 0)):
            file.write(part.data if part.size else b"")
    return order


def _coded(values: np.ndarray) -> np.ndarray:
    """Steps of 256 over [-4, 4]."""
    return (values * (128 / HARMONIC_RANGE) + 128).clip(0, 255)


def _bounded(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest of each chunk [chunk, 6], and all values as shares of what lies between."""
    count = len(values)
    filled = np.concatenate([values, values[-1:].repeat(-count % CHUNK, 0)]).reshape(-1, CHUNK, 3)
    low, high = filled.min(1, keepdims=True), filled.max(1, keepdims=True)
    # A chunk that is flat along an axis has no shares: 0.
    shares = (filled - low) / np.maximum(high - low, np.finfo(np.float32).tiny)
    return np.concatenate([low[:, 0], high[:, 0]], 1), shares.reshape(-1, 3)[:count]


def _joined(shares: np.ndarray) -> np.ndarray:
    whole = np.rint(shares * np.array([2047, 1023, 2047], np.float32)).astype(np.uint32)
    return whole[:, 0] << 21 | whole[:, 1] << 11 | whole[:, 2]


def _header(count: int, rest: int, comments: list[str]) -> bytes:
    lines = ["ply", "format binary_little_endian 1.0", f"comment Generated by volkit {__version__}",
             *(f"comment {comment}" for comment in comments),
             f"element chunk {-(-count // CHUNK)}", *(f"property float {name}" for name in BOUNDS),
             f"element vertex {count}", *(f"property uint {word}" for word in WORDS)]  # fmt: skip
    if rest:
        lines += [f"element sh {count}", *(f"property uchar f_rest_{k}" for k in range(rest))]
    return "\n".join([*lines, "end_header", ""]).encode()
