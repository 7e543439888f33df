"""Niantic's `.spz`: positions in 24 bits, scales, colours, opacities and harmonics in bytes, rotations in four.

Positions are integer multiples of `2^-bits`; log scales `u / 16 - 10`; degree-0 harmonics `(u / 255 - 0.5) / 0.15`,
the others `(u - 128) / 128`, basis by basis; rotations x y z w: the index of the largest, then sign and 9 bits of
`|q| sqrt(2)` of the others. Source: nianticlabs/spz `src/cc/load-spz.cc` and `splat-utils.h`.

Versions 1 to 3 are one gzip stream: 16 bytes of header, six parts back to back, records of extensions. Version 4 has 32
bytes of plain header, the records, a table of (compressed, whole) lengths, and six zstd streams.

By its documentation a file has the axes right, up, back (RUB), while a `.ply` has right, down, front (RDF); some
programs store the axes of the `.ply` (findings/splat_transform_spz_axes.sh). `rub` and `ply` name the two; `auto`
follows the file's own record of its axes, and takes RUB where there is none: programs of both ways write by the same
library, so that nothing else in a file tells them apart. A record is written in version 4 alone, because viewers of
versions 1 to 3 refuse bytes after the sixth part (mkkellogg/GaussianSplats3D `src/loaders/spz/SpzLoader.js`).
"""

import struct
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import zstandard

from volkit.choices import SpzFrame, SpzVersion
from volkit.files.atomic import atomic_write
from volkit.files.errors import FormatError
from volkit.geometry.frames import Similarity
from volkit.geometry.quaternions import HALF_TURN_ORDER, HALF_TURN_SIGNS
from volkit.io.splats.columns import (
    SplatColumns,
    check_count,
    columns_from_file,
    columns_to_write,
    normalise_quaternions,
    sigmoid_opacities,
)
from volkit.io.splats.quantisation import (
    decode_smallest_three,
    encode_smallest_three,
    logits_from_bytes,
    quantise,
    quantise_in_blocks,
)
from volkit.threads import thread_count

__all__ = ["FRACTION_BITS", "MAGIC", "Header", "Part", "fraction_bits", "pack", "read", "sniff", "unpack", "write"]


MAGIC, GZIP = b"NGSP", b"\x1f\x8b"
LEGACY_STRUCT, PLAIN_STRUCT = struct.Struct("<4sIIBBBB"), struct.Struct("<4sIIBBBBI12x")
RECORD_STRUCT, STREAM_STRUCT = struct.Struct("<II"), struct.Struct("<QQ")
ANTIALIASED_FLAG, EXTENDED_FLAG = 1, 2  # flags
NEWEST_VERSION = 4
ZSTD_LEVEL = 12  # as in the format's own writer
DEFLATE_BLOCK, DEFLATE_WINDOW = 1 << 20, 1 << 15  # bytes compressed at a time, and the window of deflate
MIN_BYTES_PER_SPLAT = 0.25  # even equal positions take more: a smaller file is a bomb
DAMAGE_FIX = "copy or write it again"

Part = bytes | bytearray | memoryview

AXES_RECORD = 0xADBE0003  # the record that names the file's axes
RDF, RUB = 6, 4  # values of that record: bits of (value - 1) say right, up, front; above 8, y and z are swapped
DEFAULT_VERSION = 2  # which most viewers open
OLD_DEGREE = 3  # the highest degree of harmonics that readers of version 2 know
DEFLATE_LEVEL = 4  # takes a third of the time of 6, for files that are 2 per cent larger
FRACTION_BITS = 12  # of positions: steps of 1/4096
MAX_FIXED_POINT = (1 << 23) - 1  # steps
SH_DC_SCALE = 0.15  # of the degree-0 harmonic in a byte
STEPS = {1: 8}  # of harmonics of degree 1; 16 for higher degrees: 5 bits and 4


@dataclass(frozen=True)
class Header:
    """Version, number of splats, and the layout of the parts."""

    version: int
    count: int
    degree: int
    fraction_bits: int
    antialiased: bool = False
    extensions: tuple[tuple[int, bytes], ...] = ()

    @property
    def sizes(self) -> tuple[int, ...]:
        """Bytes of positions, alphas, colours, scales, rotations and harmonics."""
        each = (6 if self.version == 1 else 9, 1, 3, 3, 3 if self.version < 3 else 4, 3 * (self.degree + 1) ** 2 - 3)
        return tuple(self.count * size for size in each)


def unpack(path: Path) -> tuple[Header, list[Part]]:
    """Header and parts; FormatError where the file is damaged, or unpacks to more than its size can justify."""
    data = path.read_bytes()
    try:
        plain = data.startswith(MAGIC) and LEGACY_STRUCT.unpack_from(data)[1] >= NEWEST_VERSION
        return _unpack_plain(path, data) if plain else _unpack_legacy(path, data)
    except (struct.error, zlib.error, zstandard.ZstdError, MemoryError) as error:
        raise FormatError(path, f"is not a readable .spz: {error}", DAMAGE_FIX) from error


def _unpack_legacy(path: Path, data: bytes) -> tuple[Header, list[Part]]:
    """Versions 1 to 3, gzipped or not: some programs leave compression to the transport."""
    stream = zlib.decompressobj(31) if data.startswith(GZIP) else None
    head = stream.decompress(data, LEGACY_STRUCT.size) if stream else data[: LEGACY_STRUCT.size]
    magic, version, count, degree, bits, flags, _ = LEGACY_STRUCT.unpack(head)
    if magic != MAGIC or not 1 <= version < NEWEST_VERSION:
        raise FormatError(path, f"has version {version}", f"1 to {NEWEST_VERSION} are read")
    header = Header(version, count, degree, bits, bool(flags & ANTIALIASED_FLAG))
    _check(path, header, len(data))
    size = sum(header.sizes)
    body = (
        stream.decompress(stream.unconsumed_tail, size)
        if stream
        else data[LEGACY_STRUCT.size : LEGACY_STRUCT.size + size]
    )
    if len(body) != size:
        raise FormatError(path, f"claims {count} splats in {size} bytes, and holds {len(body)}", DAMAGE_FIX)
    rest = b""
    if flags & EXTENDED_FLAG:
        rest = stream.decompress(stream.unconsumed_tail, len(data)) if stream else data[LEGACY_STRUCT.size + size :]
    ends = [0, *accumulate(header.sizes)]
    parts: list[Part] = [memoryview(body)[start:end] for start, end in pairwise(ends)]
    return replace(header, extensions=_records(rest)), parts


def _unpack_plain(path: Path, data: bytes) -> tuple[Header, list[Part]]:
    _, version, count, degree, bits, flags, streams, table = PLAIN_STRUCT.unpack_from(data)
    if version != NEWEST_VERSION:
        raise FormatError(path, f"has version {version}", f"1 to {NEWEST_VERSION} are read")
    records = _records(data[PLAIN_STRUCT.size : table]) if flags & EXTENDED_FLAG else ()
    header = Header(version, count, degree, bits, bool(flags & ANTIALIASED_FLAG), records)
    _check(path, header, len(data))
    wanted = [size for size in header.sizes if size]
    if streams != len(wanted) or table < PLAIN_STRUCT.size:
        raise FormatError(path, f"lists {streams} streams at byte {table}", DAMAGE_FIX)
    entries = [STREAM_STRUCT.unpack_from(data, table + number * STREAM_STRUCT.size) for number in range(streams)]
    at, packed = table + streams * STREAM_STRUCT.size, []
    for (size, whole), promised in zip(entries, wanted, strict=True):
        if whole != promised or at + size > len(data):
            raise FormatError(path, f"holds a stream of {whole} bytes in {size}, not of {promised}", DAMAGE_FIX)
        packed.append(memoryview(data)[at : at + size])
        at += size
    with ThreadPoolExecutor(thread_count()) as pool:
        found = iter(list(pool.map(partial(_inflate, path), packed, wanted)))
    return header, [next(found) if size else b"" for size in header.sizes]


def _inflate(path: Path, part: memoryview, size: int) -> bytes:
    # The library allocates the size that a frame states, whatever its output limit.
    stated = zstandard.frame_content_size(part)
    if stated not in (size, -1):
        raise FormatError(path, f"holds a frame of {stated} bytes where {size} belong", DAMAGE_FIX)
    whole = zstandard.ZstdDecompressor().decompress(part, max_output_size=size)
    if len(whole) != size:
        raise FormatError(path, f"holds a frame of {len(whole)} bytes where {size} belong", DAMAGE_FIX)
    return whole


def _check(path: Path, header: Header, size: int) -> None:
    if header.count:  # a scene may be empty
        check_count(path, header.count, size, MIN_BYTES_PER_SPLAT)
    if header.degree > 4 or header.fraction_bits > 23:
        raise FormatError(path, f"claims degree {header.degree} and {header.fraction_bits} fraction bits", DAMAGE_FIX)


def _records(data: bytes) -> tuple[tuple[int, bytes], ...]:
    """Records of extensions by number; a truncated record ends them, as in the format's own reader."""
    found, at = [], 0
    while at + RECORD_STRUCT.size <= len(data):
        kind, size = RECORD_STRUCT.unpack_from(data, at)
        at += RECORD_STRUCT.size + size
        if at > len(data):
            break
        found.append((kind, data[at - size : at]))
    return tuple(found)


def pack(header: Header, parts: Sequence[Part]) -> bytes:
    """The bytes of a file of version 2, 3 or 4."""
    records = b"".join(RECORD_STRUCT.pack(kind, len(data)) + data for kind, data in header.extensions)
    flags = ANTIALIASED_FLAG * header.antialiased | EXTENDED_FLAG * bool(records)
    about = (MAGIC, header.version, header.count, header.degree, header.fraction_bits, flags)
    if header.version < NEWEST_VERSION:
        return _gzip(b"".join((LEGACY_STRUCT.pack(*about, 0), *parts, records)))
    held = [part for part in parts if len(part)]
    threads = thread_count()
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, threads=threads if threads > 1 else 0)
    streams = [compressor.compress(part) for part in held]
    table = b"".join(STREAM_STRUCT.pack(len(s), len(part)) for s, part in zip(streams, held, strict=True))
    return b"".join((PLAIN_STRUCT.pack(*about, len(held), PLAIN_STRUCT.size + len(records)), records, table, *streams))


def _gzip(data: bytes) -> bytes:
    """One gzip member; blocks are compressed in parallel, each with the previous one as its dictionary (like pigz)."""

    def deflate(start: int) -> bytes:
        dictionary = data[max(0, start - DEFLATE_WINDOW) : start]
        compressor = zlib.compressobj(DEFLATE_LEVEL, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, dictionary)
        last = start + DEFLATE_BLOCK >= len(data)
        body = compressor.compress(data[start : start + DEFLATE_BLOCK])
        return body + compressor.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)

    with ThreadPoolExecutor(thread_count()) as pool:
        blocks = list(pool.map(deflate, range(0, len(data), DEFLATE_BLOCK)))
    ends = struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)
    return b"".join((b"\x1f\x8b\x08\0\0\0\0\0\0\xff", *blocks, ends))


def sniff(path: Path) -> bool:
    """Whether the file begins with the magic bytes, plain or within gzip."""
    try:
        with path.open("rb") as file:
            head = file.read(1 << 10)
        return head.startswith(MAGIC) or (
            head.startswith(b"\x1f\x8b") and zlib.decompressobj(31).decompress(head, 4) == MAGIC
        )
    except (OSError, zlib.error):
        return False


def read(path: Path, frame: SpzFrame = "auto") -> SplatColumns:
    """Splats in the file's axes, placed in the world by `frame`: `rub`, `ply`, or `auto` (the file's own record).

    Where `auto` finds no record, `notes` in the provenance says what was taken.
    """
    header, parts = unpack(path)
    named = _axes_of(path, header) if frame == "auto" else None
    used = named or {"rub": RUB, "ply": RDF, "auto": RUB}[frame]
    positions, alphas, colours, scales, rotations, harmonics = (np.frombuffer(part, np.uint8) for part in parts)
    rows = lambda values, *shape: values.astype(np.float32).reshape(header.count, *shape)  # noqa: E731
    basis = (header.degree + 1) ** 2 - 1
    columns = {
        "means": _positions(positions, header),
        "quaternions": _rotations(rotations, header),
        "log_scales": rows(scales, 3) / 16 - 10,
        "logits": logits_from_bytes(alphas),
        "sh_dc": (rows(colours, 1, 3) / 255 - 0.5) / SH_DC_SCALE,
        "sh_rest": rows(harmonics, basis, 3),
    }
    columns["sh_rest"] -= 128  # in place: they are most of a scene
    columns["sh_rest"] /= 128
    provenance = {"format": "spz", "version": header.version, "spz_frame": "ply" if used == RDF else "rub"}
    if used not in (RDF, RUB):
        provenance["spz_frame"] = f"axes {used}"
    if frame == "auto" and named is None:
        taken = "right, up, back were taken, as its format says"
        others = "where a program stored those of a .ply, read it by spz_frame ply"
        provenance["notes"] = [f"has no record of its axes: {taken}; {others}"]
    place = _ply_from(used)
    return columns_from_file(columns, place, mip=header.antialiased, provenance=provenance)


def _axes_of(path: Path, header: Header) -> int | None:
    """The axes in the file's record, None without one; FormatError where they are a mirror image."""
    named = [data for kind, data in header.extensions if kind == AXES_RECORD and len(data) >= 4]
    axes = struct.unpack_from("<I", named[-1])[0] if named else 0
    if axes > 16 or (axes and np.linalg.det(_matrix(axes)) < 0):
        raise FormatError(
            path,
            f"names the axes {axes}, which mirror those of a .ply",
            "read it as rub or ply",
        )
    return axes or None


def _matrix(axes: int) -> np.ndarray:
    """RDF from the axes that a number names, [3, 3]; see `RDF` and `RUB` for the coding."""
    number = axes - 1
    right, down = 1.0 if number & 1 else -1.0, -1.0 if number & 2 else 1.0
    front = 1.0 if bool(number & 4) == (number < 8) else -1.0
    if number < 8:
        return np.array([[right, 0, 0], [0, down, 0], [0, 0, front]])
    return np.array([[right, 0, 0], [0, 0, down], [0, front, 0]])


def _ply_from(axes: int) -> Similarity:
    return Similarity(tuple(map(tuple, _matrix(axes).tolist())))


def _positions(data: np.ndarray, header: Header) -> np.ndarray:
    if header.version == 1:
        return data.view("<f2").astype(np.float32).reshape(-1, 3)
    wide = np.zeros((3 * header.count, 4), np.uint8)
    wide[:, 1:] = data.reshape(-1, 3)  # shifted to the high bytes, which keeps the sign
    return (wide.view("<i4") >> 8).reshape(-1, 3).astype(np.float32) * np.float32(2.0**-header.fraction_bits)


def _rotations(data: np.ndarray, header: Header) -> np.ndarray:
    """Quaternions w x y z, not normalised."""
    if header.version < 3:
        three = data.reshape(-1, 3).astype(np.float32) / np.float32(127.5) - 1
        return np.concatenate([np.sqrt(np.maximum(1 - np.square(three).sum(-1, keepdims=True), 0)), three], 1)
    words = data.view("<u4").astype(np.int64)
    turns = np.stack([words >> shift for shift in (20, 10, 0)], -1)
    sizes = (turns & 511).astype(np.float32) / 511
    return np.roll(decode_smallest_three(words >> 30 & 3, np.where(turns & 512, -sizes, sizes)), 1, -1)


def write(splats: SplatColumns, path: Path, frame: SpzFrame = "rub", version: SpzVersion | None = None) -> None:
    """Write version 2, 3 or 4 in the axes `ply`, or else RUB; version 4 has a record that says which.

    Without a version it is the one that most viewers open: 2, of harmonics of degree 4, which those do not know, 4.
    """
    version = version or (DEFAULT_VERSION if splats.degree <= OLD_DEGREE else NEWEST_VERSION)
    axes = RDF if frame == "ply" else RUB
    splats = splats if frame == "ply" else splats.in_frame("ydown")
    columns = columns_to_write(splats, path, 4, _ply_from(axes).inverse(), empty=True)
    bits = fraction_bits(float(np.abs(columns["means"]).max(initial=0.0)))
    if bits < 0:
        raise FormatError(path, "cannot hold positions so far from the origin", "scale the scene down")
    records = ((AXES_RECORD, struct.pack("<I", axes)),) if version == NEWEST_VERSION else ()
    header = Header(version, len(splats), splats.degree, bits, splats.mip, records)
    data = pack(header, _parts(columns, bits, version))
    with atomic_write(path) as place:
        place.write_bytes(data)


def fraction_bits(far: float) -> int:
    """Bits after the point of coordinates up to `far`: 12, or fewer where they would not fit; below 0 none do."""
    if far * 2.0**FRACTION_BITS <= MAX_FIXED_POINT:
        return FRACTION_BITS
    return int(np.floor(np.log2(MAX_FIXED_POINT / far)))


def _parts(columns: dict[str, np.ndarray], bits: int, version: int) -> Sequence[Part]:
    """The six parts: positions, alphas, colours, scales, rotations, harmonics."""
    steps = np.rint(columns["means"] * np.float32(2.0**bits)).astype("<i4")
    parts = (
        steps.reshape(-1, 1).view(np.uint8).reshape(-1, 4)[:, :3],
        quantise(sigmoid_opacities(columns["logits"]), 255).astype(np.uint8),
        quantise(columns["sh_dc"] * SH_DC_SCALE + 0.5, 255).astype(np.uint8),
        np.rint((columns["log_scales"] + 10) * 16).clip(0, 255).astype(np.uint8),
        _rotation_bytes(columns["quaternions"]) if version < 3 else _rotation_words(columns["quaternions"]),
        _harmonics(columns["sh_rest"]),
    )
    return [part.tobytes() for part in parts]


def _rotation_words(quaternions: np.ndarray) -> np.ndarray:
    """Of versions 3 and 4: the index of the largest component, then sign and 9 bits of the others."""
    largest, three = encode_smallest_three(np.roll(quaternions, -1, -1))
    turns = quantise(np.abs(three), 511).astype(np.uint32) | (three < 0).astype(np.uint32) << 9
    words = largest.astype(np.uint32) << 30 | turns[:, 0] << 20 | turns[:, 1] << 10 | turns[:, 2]
    return words.astype("<u4", copy=False)


def _rotation_bytes(quaternions: np.ndarray) -> np.ndarray:
    """Of versions 1 and 2: x, y, z in bytes, from which a reader takes w as the root of the rest.

    Where w is small that root is far off, by up to 13 degrees. So it is made the largest component: half a turn of an
    ellipsoid about an axis of its own changes nothing, and moves another component to its place.
    """
    unit = normalise_quaternions(quaternions)
    largest = np.abs(unit).argmax(-1)
    turned = np.take_along_axis(unit, HALF_TURN_ORDER[largest], 1) * HALF_TURN_SIGNS[largest]
    turned *= np.where(turned[:, :1] < 0, np.float32(-1), np.float32(1))
    return quantise(turned[:, 1:] * np.float32(0.5) + np.float32(0.5), 255).astype(np.uint8)


def _harmonics(values: np.ndarray) -> np.ndarray:
    """Harmonics in 32 (degree 1) or 16 steps over [-1, 1]."""
    step = np.full((values.shape[1], 1), 16, np.float32)
    step[:3] = STEPS[1]
    return quantise_in_blocks(values, lambda rest: (np.rint(rest / (step / 128)) * step + 128).clip(0, 255))
