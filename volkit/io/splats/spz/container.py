"""What holds an `.spz`: versions 1 to 3 are one gzip stream, version 4 a plain header and six zstd streams.

Legacy: 16 bytes of header, the six parts back to back, records of extensions. Version 4: 32 bytes of header, records
of extensions, a table of (compressed, whole) lengths, the parts. Source: nianticlabs/spz `src/cc/load-spz.cc`.
"""

import struct
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path

import zstandard

from volkit.files.errors import FormatError
from volkit.io.splats.columns import check_count
from volkit.threads import thread_count

__all__ = ["MAGIC", "Header", "Part", "pack", "unpack"]

MAGIC, GZIP = b"NGSP", b"\x1f\x8b"
LEGACY_HEADER, PLAIN_HEADER = struct.Struct("<4sIIBBBB"), struct.Struct("<4sIIBBBBI12x")
RECORD, ENTRY = struct.Struct("<II"), struct.Struct("<QQ")
ANTIALIASED, EXTENDED = 1, 2  # flags
NEWEST = 4
LEVEL = 12  # of zstd, as the format's own writer has it
BLOCK, WINDOW = 1 << 20, 1 << 15  # bytes that are deflated at a time, and that deflate looks back
MIN_BYTES_PER_SPLAT = 0.25  # bytes a splat: positions alone do not compress to less
COMMON = "copy or write it again"

Part = bytes | bytearray | memoryview


@dataclass(frozen=True)
class Header:
    """What the file says of its parts."""

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
    """Header and parts, as long as the header says; FormatError for damage, lies and bombs."""
    data = path.read_bytes()
    try:
        plain = data.startswith(MAGIC) and LEGACY_HEADER.unpack_from(data)[1] >= NEWEST
        return _unpack_plain(path, data) if plain else _unpack_legacy(path, data)
    except (struct.error, zlib.error, zstandard.ZstdError, MemoryError) as error:
        raise FormatError(path, f"is no .spz that can be read: {error}", COMMON) from error


def _unpack_legacy(path: Path, data: bytes) -> tuple[Header, list[Part]]:
    """Gzip, or what it would hold: some programs leave it to the transport to compress."""
    stream = zlib.decompressobj(31) if data.startswith(GZIP) else None
    head = stream.decompress(data, LEGACY_HEADER.size) if stream else data[: LEGACY_HEADER.size]
    magic, version, count, degree, bits, flags, _ = LEGACY_HEADER.unpack(head)
    if magic != MAGIC or not 1 <= version < NEWEST:
        raise FormatError(path, f"says version {version}", f"1 to {NEWEST} are read")
    header = Header(version, count, degree, bits, bool(flags & ANTIALIASED))
    _check(path, header, len(data))
    size = sum(header.sizes)
    body = (
        stream.decompress(stream.unconsumed_tail, size)
        if stream
        else data[LEGACY_HEADER.size : LEGACY_HEADER.size + size]
    )
    if len(body) != size:
        raise FormatError(path, f"promises {count} splats, {size} bytes, and holds {len(body)}", COMMON)
    rest = b""
    if flags & EXTENDED:
        rest = stream.decompress(stream.unconsumed_tail, len(data)) if stream else data[LEGACY_HEADER.size + size :]
    ends = [0, *accumulate(header.sizes)]
    parts: list[Part] = [memoryview(body)[start:end] for start, end in pairwise(ends)]
    return replace(header, extensions=_records(rest)), parts


def _unpack_plain(path: Path, data: bytes) -> tuple[Header, list[Part]]:
    _, version, count, degree, bits, flags, streams, table = PLAIN_HEADER.unpack_from(data)
    if version != NEWEST:
        raise FormatError(path, f"says version {version}", f"1 to {NEWEST} are read")
    records = _records(data[PLAIN_HEADER.size : table]) if flags & EXTENDED else ()
    header = Header(version, count, degree, bits, bool(flags & ANTIALIASED), records)
    _check(path, header, len(data))
    wanted = [size for size in header.sizes if size]
    if streams != len(wanted) or table < PLAIN_HEADER.size:
        raise FormatError(path, f"holds {streams} streams at {table}", COMMON)
    entries = [ENTRY.unpack_from(data, table + number * ENTRY.size) for number in range(streams)]
    at, packed = table + streams * ENTRY.size, []
    for (size, whole), promised in zip(entries, wanted, strict=True):
        if whole != promised or at + size > len(data):
            raise FormatError(path, f"holds a stream of {whole} bytes in {size}, not {promised}", COMMON)
        packed.append(memoryview(data)[at : at + size])
        at += size
    with ThreadPoolExecutor(thread_count()) as pool:
        found = iter(list(pool.map(partial(_inflated, path), packed, wanted)))
    return header, [next(found) if size else b"" for size in header.sizes]


def _inflated(path: Path, part: memoryview, size: int) -> bytes:
    # The library trusts the size that a frame states, whatever it is told to stop at.
    stated = zstandard.frame_content_size(part)
    if stated not in (size, -1):
        raise FormatError(path, f"holds a frame of {stated} bytes where {size} belong", COMMON)
    whole = zstandard.ZstdDecompressor().decompress(part, max_output_size=size)
    if len(whole) != size:
        raise FormatError(path, f"holds a frame of {len(whole)} bytes where {size} belong", COMMON)
    return whole


def _check(path: Path, header: Header, size: int) -> None:
    check_count(path, header.count, size, MIN_BYTES_PER_SPLAT)
    if header.degree > 4 or header.fraction_bits > 23:
        raise FormatError(path, f"says degree {header.degree}, {header.fraction_bits} bits of fraction", COMMON)


def _records(data: bytes) -> tuple[tuple[int, bytes], ...]:
    """Extensions by number; a record that is cut off ends them, as in the format's own reader."""
    found, at = [], 0
    while at + RECORD.size <= len(data):
        kind, size = RECORD.unpack_from(data, at)
        at += RECORD.size + size
        if at > len(data):
            break
        found.append((kind, data[at - size : at]))
    return tuple(found)


def pack(header: Header, parts: Sequence[Part]) -> bytes:
    """A file of version 3 or 4."""
    records = b"".join(RECORD.pack(kind, len(data)) + data for kind, data in header.extensions)
    flags = ANTIALIASED * header.antialiased | EXTENDED * bool(records)
    about = (MAGIC, header.version, header.count, header.degree, header.fraction_bits, flags)
    if header.version < NEWEST:
        return _gzipped(b"".join((LEGACY_HEADER.pack(*about, 0), *parts, records)))
    held = [part for part in parts if len(part)]
    threads = thread_count()
    packer = zstandard.ZstdCompressor(level=LEVEL, threads=threads if threads > 1 else 0)
    streams = [packer.compress(part) for part in held]
    table = b"".join(ENTRY.pack(len(s), len(part)) for s, part in zip(streams, held, strict=True))
    return b"".join((PLAIN_HEADER.pack(*about, len(held), PLAIN_HEADER.size + len(records)), records, table, *streams))


def _gzipped(data: bytes) -> bytes:
    """One gzip member, its blocks deflated side by side, each looking back into the one before (as pigz does)."""

    def deflated(start: int) -> bytes:
        seen = data[max(0, start - WINDOW) : start]
        packer = zlib.compressobj(6, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, seen)
        last = start + BLOCK >= len(data)
        return packer.compress(data[start : start + BLOCK]) + packer.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)

    with ThreadPoolExecutor(thread_count()) as pool:
        blocks = list(pool.map(deflated, range(0, len(data), BLOCK)))
    ends = struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)
    return b"".join((b"\x1f\x8b\x08\0\0\0\0\0\0\xff", *blocks, ends))
