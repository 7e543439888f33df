"""Niantic's `.spz`: positions in 24 bits, scales, colours, opacities and harmonics in bytes, rotations in four.

Positions: whole steps of `2^-bits`; log scale `u / 16 - 10`; constant `(u / 255 - 0.5) / 0.15`; harmonics
`(u - 128) / 128`, basis by basis; rotations x y z w: which is largest, then sign and 9 bits of `|q| sqrt(2)` of the
others. Source: nianticlabs/spz `src/cc/load-spz.cc` and `splat-utils.h`.

A file holds right, up, back (RUB) by its documents, while a `.ply` holds right, down, front (RDF); other programs store
the `.ply`'s own axes (findings/splat_transform_spz_axes.sh). `rub` and `ply` name the two, `auto` follows the file's
record of its axes, RUB without one.
"""

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from volkit.choices import SpzFrame
from volkit.files.atomic import atomic_write
from volkit.files.errors import FormatError
from volkit.geometry.frames import Similarity
from volkit.io.splats.columns import SplatColumns, columns_for, columns_of_file, opacities_of
from volkit.io.splats.quantised import by_blocks, coded, from_smallest_three, logits_of_bytes, smallest_three
from volkit.io.splats.spz.container import MAGIC, Header, Part, pack, unpack

__all__ = ["read", "sniff", "write"]

AXES = 0xADBE0003  # the record that names the file's axes
RDF, RUB = 6, 4  # names of axes in that record: 1 to 8 are right, down and front, or not, by bits; then y and z change
VERSION = 4  # that is written unless asked otherwise
BITS = 12  # of a position's fraction
MAX_FIXED_POINT = (1 << 23) - 1  # steps
COLOUR = 0.15
STEPS = {1: 8}  # of harmonics of degree 1; 16 of the others: 5 bits and 4


def sniff(path: Path) -> bool:
    """Whether the file begins as version 4, or is gzip that begins as an older one."""
    try:
        with path.open("rb") as file:
            head = file.read(1 << 10)
        return head.startswith(MAGIC) or (
            head.startswith(b"\x1f\x8b") and zlib.decompressobj(31).decompress(head, 4) == MAGIC
        )
    except (OSError, zlib.error):
        return False


def read(path: Path, frame: SpzFrame = "rub") -> SplatColumns:
    """Splats in the file's frame; `frame` says how that lies in a `.ply`'s, which is the world's."""
    header, parts = unpack(path)
    used = _axes_of(path, header) if frame == "auto" else {"rub": RUB, "ply": RDF}[frame]
    positions, alphas, colours, scales, rotations, harmonics = (np.frombuffer(part, np.uint8) for part in parts)
    rows = lambda values: values.astype(np.float32).reshape(header.count, -1)  # noqa: E731
    columns = {
        "means": _positions(positions, header),
        "quaternions": _rotations(rotations, header),
        "log_scales": rows(scales) / 16 - 10,
        "logits": logits_of_bytes(alphas),
        "sh_dc": ((rows(colours) / 255 - 0.5) / COLOUR)[:, None],
        "sh_rest": ((rows(harmonics) - 128) / 128).reshape(header.count, -1, 3),
    }
    told = {"format": "spz", "version": header.version, "spz_frame": "ply" if used == RDF else "rub"}
    if used not in (RDF, RUB):
        told["spz_frame"] = f"axes {used}"
    place = _ply_from(used)
    return columns_of_file(columns, place, mip=header.antialiased, provenance=told)


def _axes_of(path: Path, header: Header) -> int:
    """The record's axes; RUB where there is none, or it says nothing. FormatError for mirrored ones."""
    named = [data for kind, data in header.extensions if kind == AXES and len(data) >= 4]
    axes = struct.unpack_from("<I", named[-1])[0] if named else RUB
    axes = axes or RUB
    if axes > 16 or np.linalg.det(_matrix(axes)) < 0:
        raise FormatError(
            path,
            f"names the axes {axes}, a mirror image of a .ply's",
            "say which: rub or ply",
        )
    return axes


def _matrix(axes: int) -> np.ndarray:
    """RDF from the axes that a number names: bits say right, up, front; above 8 the second is front, the third up."""
    number = axes - 1
    right, down = 1.0 if number & 1 else -1.0, -1.0 if number & 2 else 1.0
    front = 1.0 if bool(number & 4) == (number < 8) else -1.0
    return np.array([[right, 0, 0], [0, down, 0], [0, 0, front]] if number < 8 else
                    [[right, 0, 0], [0, 0, down], [0, front, 0]])  # fmt: skip


def _ply_from(axes: int) -> Similarity:
    return Similarity(tuple(map(tuple, _matrix(axes).tolist())))


def _positions(data: np.ndarray, header: Header) -> np.ndarray:
    if header.version == 1:
        return data.view("<f2").astype(np.float32).reshape(-1, 3)
    wide = np.zeros((3 * header.count, 4), np.uint8)
    wide[:, 1:] = data.reshape(-1, 3)  # the high bytes, so that the sign is that of the word
    return (wide.view("<i4") >> 8).reshape(-1, 3).astype(np.float32) * np.float32(2.0**-header.fraction_bits)


def _rotations(data: np.ndarray, header: Header) -> np.ndarray:
    """w x y z."""
    if header.version < 3:
        three = data.reshape(-1, 3).astype(np.float32) / np.float32(127.5) - 1
        return np.concatenate([np.sqrt(np.maximum(1 - np.square(three).sum(-1, keepdims=True), 0)), three], 1)
    words = data.view("<u4").astype(np.int64)
    turns = np.stack([words >> shift for shift in (20, 10, 0)], -1)
    sizes = (turns & 511).astype(np.float32) / 511
    return np.roll(from_smallest_three(words >> 30 & 3, np.where(turns & 512, -sizes, sizes)), 1, -1)


def write(splats: SplatColumns, path: Path, frame: SpzFrame = "rub", version: int = VERSION) -> None:
    """Splats of version 3 or 4, with axes `rub` or `ply`; `auto` writes RUB and a record that says so."""
    axes = RDF if frame == "ply" else RUB
    columns = columns_for(splats if frame == "ply" else splats.in_frame("ydown"), path, 4, _ply_from(axes).inverse())
    far = float(np.abs(columns["means"]).max(initial=0.0))
    bits = BITS if far * 2.0**BITS <= MAX_FIXED_POINT else int(np.floor(np.log2(MAX_FIXED_POINT / far)))
    if bits < 0:
        raise FormatError(path, f"cannot hold positions as far as {far:.3g}", "scale the scene down")
    records = ((AXES, struct.pack("<I", axes)),) if frame == "auto" else ()
    header = Header(version, len(splats), splats.degree, bits, splats.mip, records)
    data = pack(header, _parts(columns, bits))
    with atomic_write(path) as place:
        place.write_bytes(data)


def _parts(columns: dict[str, np.ndarray], bits: int) -> Sequence[Part]:
    """Positions, alphas, colours, scales, rotations, harmonics."""
    steps = np.rint(columns["means"] * np.float32(2.0**bits)).astype("<i4")
    largest, three = smallest_three(np.roll(columns["quaternions"], -1, -1))
    turns = coded(np.abs(three), 511).astype(np.uint32) | (three < 0).astype(np.uint32) << 9
    words = largest.astype(np.uint32) << 30 | turns[:, 0] << 20 | turns[:, 1] << 10 | turns[:, 2]
    parts = (
        steps.reshape(-1, 1).view(np.uint8).reshape(-1, 4)[:, :3],
        coded(opacities_of(columns["logits"]), 255).astype(np.uint8),
        coded(columns["sh_dc"] * COLOUR + 0.5, 255).astype(np.uint8),
        np.rint((columns["log_scales"] + 10) * 16).clip(0, 255).astype(np.uint8),
        words.astype("<u4", copy=False),
        _harmonics(columns["sh_rest"]),
    )
    return [part.tobytes() for part in parts]


def _harmonics(values: np.ndarray) -> np.ndarray:
    """Middles of 32 or 16 steps over [-1, 1]."""
    step = np.full((values.shape[1], 1), 16, np.float32)
    step[:3] = STEPS[1]
    return by_blocks(values, lambda rest: (np.rint(rest / (step / 128)) * step + 128).clip(0, 255))
