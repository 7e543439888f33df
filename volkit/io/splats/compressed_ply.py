"""PlayCanvas' `.compressed.ply`: 16 bytes per splat, quantised within the bounds of its chunk of 256 neighbours.

Elements: `chunk`, minimum and maximum of position, log scale and (in newer files) colour; `vertex`, four words:
position and log scale in 11, 10 and 11 bits, rotation as the index of the largest of w, x, y, z and the others in
10 bits each, colour and opacity in four bytes; `sh`, a byte for each f_rest over [-4, 4], channel by channel.
Source: playcanvas/splat-transform `decompress-ply.ts` and `compressed-chunk.ts`.
"""

from pathlib import Path

import numpy as np

from volkit.files.atomic import atomic_write
from volkit.files.errors import FormatError
from volkit.files.ply_file import Table, columns_as_matrix, ply_header, read_elements
from volkit.files.provenance import comments_from_record, provenance_record, record_from_comments
from volkit.io.splats.columns import (
    SplatColumns,
    columns_from_file,
    columns_to_write,
    morton_order,
    read_columns_in_blocks,
    sigmoid_opacities,
)
from volkit.io.splats.quantisation import (
    colour_from_sh_dc,
    decode_smallest_three,
    encode_smallest_three,
    logits_from_bytes,
    quantise,
    quantise_in_blocks,
    sh_dc_from_colour,
)
from volkit.typing import Int
from volkit.version import __version__

__all__ = ["read", "sniff", "write"]

CHUNK_SPLATS = 256  # splats
PACKED_COLUMNS = ("packed_position", "packed_rotation", "packed_scale", "packed_color")
BOUND_COLUMNS = tuple(
    f"{end}_{name}"
    for names in (("x", "y", "z"), ("scale_x", "scale_y", "scale_z"), ("r", "g", "b"))
    for end in ("min", "max")
    for name in names
)
LEGACY_BOUNDS = 12  # columns of bounds in older files, whose colours span [0, 1]
DEGREES = {0: 0, 9: 1, 24: 2, 45: 3}
HARMONIC_RANGE = 4.0  # harmonics are clamped to +-4
MIN_LOG_SCALE, MAX_LOG_SCALE = -20.0, 20.0  # log scales
# The value of each byte: the centre of its step, and the ends for 0 and 255.
HARMONIC_VALUES = ((np.concatenate([[0.0], (np.arange(1, 255) + 0.5) / 256, [1.0]]) - 0.5) * 2 * HARMONIC_RANGE).astype(
    np.float32
)


def sniff(path: Path) -> bool:
    """Whether the file is a `.ply` whose header has chunks and packed columns."""
    head = ply_header(path)
    return b"element chunk " in head and all(word.encode() in head for word in PACKED_COLUMNS)


def read(path: Path) -> SplatColumns:
    """The splats in the file's order; FormatError where it is damaged or shorter than its header says."""
    held = read_elements(path, ("chunk", "vertex", "sh"))
    bounds, words, harmonics = _check_elements(path, held.elements)
    columns = read_columns_in_blocks(len(words), lambda rows: _unpack(bounds, words, harmonics, rows))
    provenance = record_from_comments(held.comments) | {"format": "compressed_ply", "comments": list(held.comments)}
    provenance |= {"notes": held.notes} if held.notes else {}
    return columns_from_file(columns, provenance=provenance)


def _unpack(bounds: np.ndarray, words: np.ndarray, harmonics: np.ndarray, rows: slice) -> dict[str, np.ndarray]:
    """Columns of a slice of rows, which starts at a chunk."""
    order = np.arange(harmonics.shape[1]).reshape(3, -1).T.ravel()  # from channel by channel to basis by basis
    position, rotation, scale, colour = (np.ascontiguousarray(words[rows, k]) for k in range(4))
    shares = (
        _split_words(position),
        _split_words(scale),
        colour.view(np.uint8).reshape(-1, 4)[:, :0:-1] / np.float32(255),
    )
    chunks = bounds[rows.start // CHUNK_SPLATS : -(-rows.stop // CHUNK_SPLATS)].reshape(-1, 3, 2, 3)
    means, log_scales, rgb = (_dequantise(share, chunks[:, k]) for k, share in enumerate(shares))
    three = np.stack([rotation >> 20 & 1023, rotation >> 10 & 1023, rotation & 1023], -1).astype(np.float32)
    quaternions = decode_smallest_three((rotation >> 30).astype(np.int64), three * np.float32(2 / 1023) - 1)
    return {
        "means": means,
        "quaternions": quaternions,
        "log_scales": log_scales,
        "logits": logits_from_bytes((colour & 255).astype(np.uint8)),
        "sh_dc": sh_dc_from_colour(rgb)[:, None],
        "sh_rest": HARMONIC_VALUES.take(harmonics[rows].take(order, 1), mode="clip").reshape(len(position), -1, 3),
    }


def _check_elements(path: Path, elements: dict[str, Table]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bounds [chunk, 18], words [splat, 4] and bytes of harmonics [splat, f_rest]."""
    fix = "copy or write it again"
    if not {"chunk", "vertex"} <= set(elements):
        raise FormatError(path, f"holds the elements {', '.join(elements)}", "write chunk, vertex and optionally sh")
    chunks, vertices = elements["chunk"], elements["vertex"]
    count = len(vertices)
    if len(chunks) != -(-count // CHUNK_SPLATS):
        raise FormatError(path, f"holds {len(chunks)} chunks for {count} splats", fix)
    named = set(chunks.dtype.names or ())
    wanted = BOUND_COLUMNS if set(BOUND_COLUMNS) <= named else BOUND_COLUMNS[:LEGACY_BOUNDS]
    if not set(wanted) <= named or not set(PACKED_COLUMNS) <= set(vertices.dtype.names or ()):
        raise FormatError(path, "lacks packed columns", fix)
    bounds = columns_as_matrix(chunks[:], wanted, "<f4")
    if len(wanted) == LEGACY_BOUNDS:
        bounds = np.concatenate([bounds, np.tile(np.array([0, 0, 0, 1, 1, 1], np.float32), (len(bounds), 1))], 1)
    words = columns_as_matrix(vertices[:], PACKED_COLUMNS, "<u4")
    rest = elements.get("sh", np.zeros(count, np.dtype([])))
    names = [f"f_rest_{k}" for k in range(len(rest.dtype.names or ()))]
    if len(rest) != count or len(names) not in DEGREES or set(names) != set(rest.dtype.names or ()):
        raise FormatError(path, f"holds {len(names)} harmonics of {len(rest)} splats", fix)
    if any(rest.dtype[name] != np.uint8 for name in names):
        raise FormatError(path, "holds harmonics that are not bytes", fix)
    return bounds, words, columns_as_matrix(rest[:], names, "u1")


def _dequantise(shares: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Values from shares of the range of each splat's chunk; `ends` are minimum and maximum [chunk, 2, 3]."""
    low, span = (part.repeat(CHUNK_SPLATS, 0)[: len(shares)] for part in (ends[:, 0], ends[:, 1] - ends[:, 0]))
    return shares * span + low


def _split_words(words: np.ndarray) -> np.ndarray:
    """Words of 11, 10 and 11 bits as shares in [0, 1], float32 [splat, 3]."""
    parts = words >> 21, words >> 11 & 1023, words & 2047
    return np.stack([part.astype(np.float32) / most for part, most in zip(parts, (2047, 1023, 2047), strict=True)], -1)


def write(splats: SplatColumns, path: Path) -> Int[np.ndarray, " splat"]:
    """Write splats in Morton order, which is returned, in the world frame, up to degree 3."""
    columns = columns_to_write(splats, path, 3)
    order = morton_order(columns["means"])
    harmonics = quantise_in_blocks(columns.pop("sh_rest"), lambda rest: _harmonic_bytes(rest).transpose(0, 2, 1))
    columns = {name: column.take(order, 0) for name, column in columns.items()}
    whole = (
        columns["means"],
        columns["log_scales"].clip(MIN_LOG_SCALE, MAX_LOG_SCALE),
        colour_from_sh_dc(columns["sh_dc"][:, 0]),
    )
    ends, shares = zip(*map(_chunk_bounds, whole), strict=True)
    largest, three = encode_smallest_three(columns["quaternions"])
    words = np.empty((len(order), 4), "<u4")
    words[:, 0], words[:, 2] = _join_words(shares[0]), _join_words(shares[1])
    turns = quantise(three * 0.5 + 0.5, 1023).astype(np.uint32)
    words[:, 1] = largest.astype(np.uint32) << 30 | turns[:, 0] << 20 | turns[:, 1] << 10 | turns[:, 2]
    light = np.concatenate([shares[2], sigmoid_opacities(columns["logits"])[None]])
    words[:, 3] = np.ascontiguousarray(quantise(light, 255).astype(np.uint8).T).view(">u4")[:, 0]
    with atomic_write(path) as place, place.open("wb") as file:
        file.write(_header(len(order), harmonics.shape[1], comments_from_record(provenance_record(splats))))
        for part in (np.concatenate(ends, 1).astype("<f4", order="C"), words, harmonics.take(order, 0)):
            file.write(part.data if part.size else b"")
    return order


def _harmonic_bytes(values: np.ndarray) -> np.ndarray:
    """Harmonics in 256 steps over [-4, 4]."""
    return (values * (128 / HARMONIC_RANGE) + 128).clip(0, 255)


def _chunk_bounds(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Minimum and maximum of each chunk [chunk, 6], and the values as shares of that range [3, splat]."""
    count = len(values)
    filled = np.concatenate([values, values[-1:].repeat(-count % CHUNK_SPLATS, 0)])
    # Axis by axis: along rows extremes are found several times faster.
    filled = np.ascontiguousarray(filled.T).reshape(3, -1, CHUNK_SPLATS)
    low, high = filled.min(2, keepdims=True), filled.max(2, keepdims=True)
    filled -= low
    # Where a chunk is flat along an axis, shares are 0.
    filled /= np.maximum(high - low, np.finfo(np.float32).tiny)
    return np.concatenate([low[..., 0], high[..., 0]]).T, filled.reshape(3, -1)[:, :count]


def _join_words(shares: np.ndarray) -> np.ndarray:
    whole = np.rint(shares * np.array([[2047], [1023], [2047]], np.float32)).astype(np.uint32)
    return whole[0] << 21 | whole[1] << 11 | whole[2]


def _header(count: int, rest: int, comments: list[str]) -> bytes:
    lines = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment Generated by volkit {__version__}",
        *(f"comment {comment}" for comment in comments),
        f"element chunk {-(-count // CHUNK_SPLATS)}",
        *(f"property float {name}" for name in BOUND_COLUMNS),
        f"element vertex {count}",
        *(f"property uint {word}" for word in PACKED_COLUMNS),
    ]
    if rest:
        lines += [f"element sh {count}", *(f"property uchar f_rest_{k}" for k in range(rest))]
    return "\n".join([*lines, "end_header", ""]).encode()
