"""The bytes of a snapshot: a msgpack map, compressed where the suffix is `.ingp`; and its density grid.

Source: NVlabs/instant-ngp `testbed.cu`, `save_snapshot` and `load_snapshot`.
"""

import zlib
from pathlib import Path
from typing import Any

import msgpack
import torch

from volkit.files.errors import FormatError
from volkit.geometry import morton_cells, morton_codes
from volkit.representations.occupancy_bits import OCCUPANCY_RESOLUTION, pack_bits, unpack_bits
from volkit.typing import Bool, Float, Tensor, UInt8

__all__ = ["density_grid_from_occupancy", "occupancy_from_density_grid", "pack", "pool_cascades", "sniff", "unpack"]


COMPRESSED = (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")  # gzip, zlib
ANY_WBITS = 32 + zlib.MAX_WBITS  # zlib or gzip, detected from the header
GZIP_WBITS = 16 + zlib.MAX_WBITS
MAP_STARTS = (*range(0x80, 0x90), 0xDE, 0xDF)
MARK = b"snapshot"
HEAD_BYTES = 1 << 16  # only configuration precedes the mark
FREE_UNPACKED_BYTES = 64 << 20  # 8 empty density grids, which compress to nothing, take 32 MB
MAX_COMPRESSION = 16  # the ratio that parameters may reach
MAX_ITEMS = 1 << 16  # of a list: one per camera

CELLS = OCCUPANCY_RESOLUTION**3
MIN_OPTICAL_THICKNESS = 0.01  # over instant-ngp's smallest step


def sniff(path: Path) -> bool:
    """Whether the file is a msgpack map with a snapshot, compressed or not."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if head.startswith(COMPRESSED):
            head = zlib.decompressobj(ANY_WBITS).decompress(head, HEAD_BYTES)
    except (OSError, zlib.error):
        return False
    return bool(head) and head[0] in MAP_STARTS and MARK in head


def unpack(path: Path) -> dict[str, Any]:
    """The whole map; FormatError where the file is damaged, or unpacks to more than its size can justify."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FormatError(path, f"cannot be read ({error.strerror or error})", "check the path") from error
    if data.startswith(COMPRESSED):
        data = _decompress(path, data)
    try:
        root = msgpack.unpackb(data, strict_map_key=False, max_array_len=MAX_ITEMS, max_map_len=MAX_ITEMS)
    except (ValueError, msgpack.UnpackException, TypeError, RecursionError, OverflowError) as error:
        reason = f"{type(error).__name__}: {error}".split("\n")[0][:160]
        raise FormatError(path, f"is not a complete msgpack file ({reason})", "copy it again") from error
    if not isinstance(root, dict):
        raise FormatError(path, "does not hold a msgpack map", "give a snapshot of instant-ngp")
    return root


def pack(root: dict[str, Any], compress: bool) -> bytes:
    """The bytes of a snapshot, gzipped on request."""
    data = msgpack.packb(root)
    assert isinstance(data, bytes)
    if not compress:
        return data
    compressor = zlib.compressobj(wbits=GZIP_WBITS)
    return compressor.compress(data) + compressor.flush()


def _decompress(path: Path, data: bytes) -> bytes:
    limit = FREE_UNPACKED_BYTES + MAX_COMPRESSION * len(data)
    stream = zlib.decompressobj(ANY_WBITS)
    try:
        whole = stream.decompress(data, limit)
    except zlib.error as error:
        raise FormatError(path, f"is damaged ({error})", "copy it again") from error
    if stream.unconsumed_tail:
        raise FormatError(path, f"unpacks to more than {limit} bytes", "do not trust it")
    if not stream.eof:
        raise FormatError(path, "ends within its compressed data", "copy it again")
    return whole


def occupancy_from_density_grid(grid: Float[Tensor, " value"]) -> UInt8[Tensor, " byte"]:
    """Occupancy bits of the outermost cascade, with finer cascades pooled into it."""
    threshold = grid[:CELLS].clamp_min(0.0).mean().clamp_max(MIN_OPTICAL_THICKNESS)
    return pack_bits(pool_cascades((grid > threshold).view(-1, CELLS)))


def pool_cascades(cascades: Bool[Tensor, "cascade cell"]) -> Bool[Tensor, " cell"]:
    """The outermost of cascades, each of twice the edge of the one before it, with the finer ones pooled into it."""
    inner, *outer = cascades
    for cascade in outer:
        inner = cascade | _pool_into_next(inner)
    return inner


def density_grid_from_occupancy(occupancy: UInt8[Tensor, " byte"], cascades: int) -> Float[Tensor, " value"]:
    """Cascades that give the same bits, ours the outermost; values are 1 or 0, as only the bits are known."""
    grids = [unpack_bits(occupancy.cpu())]
    middle = morton_codes((morton_cells(torch.arange(CELLS)) >> 1) + OCCUPANCY_RESOLUTION // 4)
    for _ in range(cascades - 1):
        grids.insert(0, grids[0][middle])
    return torch.cat(grids).half()


def _pool_into_next(inner: Bool[Tensor, " cell"]) -> Bool[Tensor, " cell"]:
    """A cascade within the next, of twice its edge: eight cells become one."""
    pooled = inner.view(-1, 8).any(-1)
    cells = morton_cells(torch.arange(len(pooled))) + OCCUPANCY_RESOLUTION // 4
    return torch.zeros_like(inner).index_put_((morton_codes(cells),), pooled)
