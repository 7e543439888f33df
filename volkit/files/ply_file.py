"""The container of a `.ply`: the header is parsed by plyfile, the body read once the claimed size fits the file."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from plyfile import PlyData, PlyElement, PlyListProperty, PlyParseError

from volkit.files.archive import describe_archive
from volkit.files.errors import FormatError, read_start

__all__ = [
    "MAX_HEADER_BYTES",
    "PlyTables",
    "Table",
    "columns_as_matrix",
    "ply_header",
    "read_elements",
    "read_lists",
    "white_level",
]

MAX_HEADER_BYTES = 1 << 16  # within which the header must end


@dataclass(frozen=True)
class Rows:
    """Rows of a binary file, read on access; unlike plyfile's memory map, safe if the file changes meanwhile."""

    path: Path
    dtype: np.dtype
    count: int
    offset: int  # bytes

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(self.count)
        found = np.fromfile(self.path, self.dtype, stop - start, offset=self.offset + start * self.dtype.itemsize)
        if len(found) != stop - start:
            raise FormatError(self.path, "was truncated while it was read", "read it again")
        return found


Table = Rows | np.ndarray


@dataclass(frozen=True)
class PlyTables:
    """What a `.ply` holds: tables of the elements that were asked for, names of the others, comments."""

    elements: dict[str, Table]
    others: tuple[str, ...]
    comments: tuple[str, ...]

    @property
    def notes(self) -> list[str]:
        """What of the file was left out, in words."""
        return [f"its elements {', '.join(self.others)} were left out"] if self.others else []


@dataclass(frozen=True)
class PlyHeader:
    """The header of a file: its lines without comments, which may hold any bytes; the comments; its size in bytes."""

    plain: bytes
    comments: tuple[str, ...]
    size: int


def _split_header(head: bytes) -> PlyHeader | None:
    """The header at the start of a file; None where it does not end, or there is none."""
    newline = b"\r\n" if head[3:5] == b"\r\n" else head[3:4]
    end = head.find(newline + b"end_header" + newline) if head.startswith(b"ply") and newline.strip() == b"" else -1
    if end < 0 or not newline:
        return None
    lines = head[:end].split(newline)
    plain = [line for line in lines if not line.startswith((b"comment", b"obj_info"))]
    comments = [line.partition(b" ")[2] for line in lines if line.startswith(b"comment")]
    text = newline.join([*plain, b"end_header", b""])
    return PlyHeader(
        text, tuple(c.decode(errors="backslashreplace") for c in comments), end + 2 * len(newline) + len(b"end_header")
    )


def ply_header(path: Path) -> bytes:
    """The header of a `.ply` without its comments; empty where the file is not one."""
    head = read_start(path, MAX_HEADER_BYTES)
    header = _split_header(head)
    return header.plain if header else head if head.startswith(b"ply") else b""


def read_elements(path: Path, wanted: Collection[str]) -> PlyTables:
    """Tables of the wanted elements, and comments; FormatError for lists in them, for damage and for wrong sizes.

    Comments may hold any bytes: what is no UTF-8 comes as escapes. Other elements may hold lists.
    """
    try:
        with path.open("rb") as file:
            header = _split_header(file.read(MAX_HEADER_BYTES))
            if header is None:
                if archive := describe_archive(path):
                    raise FormatError(path, archive, "unpack it first")
                raise FormatError(path, f"has no end of header within {MAX_HEADER_BYTES} bytes", "copy it again")
            parsed = _parse_header(header)
            tables = _read_tables(path, file, header, parsed, wanted)
    except FormatError:
        raise
    except (PlyParseError, ValueError, KeyError, OverflowError) as error:
        raise FormatError(path, f"is not a readable .ply: {error}", "copy or write it again") from error
    others = tuple(element.name for element in parsed.elements if element.name not in wanted)
    return PlyTables(tables, others, header.comments)


def read_lists(path: Path, triples: Collection[str]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Tables of all elements, lists of numbers in them, and comments; ValueError for damage.

    A list named in `triples` is a column of three where every row has three, which is much faster to read.
    """
    with path.open("rb") as file:
        header = _split_header(file.read(MAX_HEADER_BYTES))
        if header is None:
            raise ValueError(f"it has no end of header within {MAX_HEADER_BYTES} bytes")
        try:
            parsed = _parse_header(header)
        except PlyParseError as error:
            raise ValueError(str(error)) from error
        rows, body = sum(element.count for element in parsed.elements), path.stat().st_size - header.size
        if rows > body:
            raise ValueError(f"it claims {rows} rows, and holds {body} bytes")
        lengths = {element.name: {one.name: 3 for one in element.properties if isinstance(one, PlyListProperty)
                                  and one.name in triples} for element in parsed.elements}  # fmt: skip
        # plyfile reads lists fast in a binary file alone, whose every list is known and whose header is plain.
        known = all(len(lengths[element.name]) == sum(isinstance(one, PlyListProperty) for one in element.properties)
                    for element in parsed.elements)  # fmt: skip
        with suppress(PlyParseError, ValueError):
            if known and not parsed.text:
                return _copied(PlyData.read(path, known_list_len=lengths)), header.comments
        file.seek(header.size)
        try:
            return _copied(PlyData.read(BytesIO(header.plain + file.read()), mmap="")), header.comments
        except (PlyParseError, StopIteration) as error:
            raise ValueError(str(error) or "it ends too early") from error


def _copied(found: PlyData) -> dict[str, np.ndarray]:
    return {element.name: np.array(element.data) for element in found.elements}  # not mapped: the file may change


def white_level(kind: np.dtype, colours: np.ndarray) -> np.float32:
    """The number that stands for 1 in columns of colours.

    Of floats it is 1, of integers the largest of their type; but where all are at most 255 or 65535, wider types hold
    colours of 8 or 16 bits, and floats above 2 are bytes too.
    """
    largest = float(colours.max(initial=0.0))
    if kind.kind == "f":
        return np.float32(1.0 if largest <= 2.0 else 255.0)
    limits = (255, 65535, np.iinfo(kind).max)
    return np.float32(next(limit for limit in limits if largest <= limit or limit == limits[-1]))


def _parse_header(header: PlyHeader) -> PlyData:
    try:
        return PlyData._parse_header(BytesIO(header.plain))
    except AttributeError as error:  # plyfile's error for a property without an element
        raise ValueError(f"its header is damaged ({error})") from error


def _read_tables(
    path: Path, file: BinaryIO, header: PlyHeader, parsed: PlyData, wanted: Collection[str]
) -> dict[str, Table]:
    """Tables by name; the rows of elements after the last wanted one are not looked at where they hold lists."""
    if any(_has_lists(element) for element in parsed.elements if element.name in wanted):
        raise FormatError(path, "has a list property", "write one number per splat and property")
    rows, body = sum(element.count for element in parsed.elements), path.stat().st_size - header.size
    if rows > body:  # even rows without columns are counted
        raise FormatError(path, f"claims {rows} splats, and holds {body} bytes", "copy or write it again")
    last = max((k for k, element in enumerate(parsed.elements) if element.name in wanted), default=-1)
    if parsed.text or any(map(_has_lists, parsed.elements[: last + 1])):
        file.seek(header.size)
        whole = PlyData.read(BytesIO(header.plain + file.read()), mmap="")
        return {element.name: element.data for element in whole.elements if element.name in wanted}
    tables, at, sized = {}, header.size, True
    for element in parsed.elements:
        if not (sized := not _has_lists(element)):
            break
        table = Rows(path, element.dtype(parsed.byte_order), element.count, at)
        at += table.dtype.itemsize * table.count
        if element.name in wanted:
            tables[element.name] = table
    claimed = at - header.size
    if claimed > body or (sized and claimed != body):
        fact = f"claims {rows} splats of {claimed} bytes, and holds {body} bytes"
        raise FormatError(path, fact, "copy or write it again")
    return tables


def _has_lists(element: PlyElement) -> bool:
    return any(isinstance(one, PlyListProperty) for one in element.properties)


def columns_as_matrix(table: np.ndarray, names: Sequence[str], kind: str) -> np.ndarray:
    """Columns of a table as one array [row, column] of a dtype; a view where they are the whole table."""
    if table.dtype == np.dtype([(name, kind) for name in names]):
        return table.view(kind).reshape(len(table), len(names))
    whole = np.empty((len(table), len(names)), kind)
    for column, name in enumerate(names):
        whole[:, column] = table[name]
    return whole
