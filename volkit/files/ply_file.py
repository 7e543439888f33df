"""The container of a `.ply`: the header is parsed by plyfile, the body read once the claimed size fits the file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from plyfile import PlyData, PlyListProperty, PlyParseError

from volkit.files.errors import FormatError, read_start

__all__ = ["MAX_HEADER_BYTES", "Table", "columns_as_matrix", "ply_header", "read_elements"]

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


def ply_header(path: Path) -> bytes:
    """The header of a `.ply`; empty where the file is not one."""
    head = read_start(path, MAX_HEADER_BYTES)
    return head.partition(b"end_header")[0] if head.startswith(b"ply") else b""


def read_elements(path: Path) -> tuple[dict[str, Table], tuple[str, ...]]:
    """Tables by the names of elements, and comments; FormatError for list properties, damage and wrong sizes."""
    try:
        with path.open("rb") as file:
            if b"end_header" not in file.read(MAX_HEADER_BYTES):
                raise FormatError(path, f"has no end of header within {MAX_HEADER_BYTES} bytes", "copy it again")
            file.seek(0)
            header = _parse_header_of(file)
            tables = _tables(path, file, header)
    except FormatError:
        raise
    except (PlyParseError, ValueError, KeyError, OverflowError) as error:
        raise FormatError(path, f"is not a readable .ply: {error}", "copy or write it again") from error
    comments = [*header.comments, *(comment for element in header.elements for comment in element.comments)]
    return tables, tuple(comments)


def _parse_header_of(file: BinaryIO) -> PlyData:
    try:
        return PlyData._parse_header(file)
    except AttributeError as error:  # plyfile's error for a property without an element
        raise ValueError(f"its header is damaged ({error})") from error


def _tables(path: Path, file: BinaryIO, header: PlyData) -> dict[str, Table]:
    if any(isinstance(p, PlyListProperty) for element in header.elements for p in element.properties):
        raise FormatError(path, "has a list property", "write one number per splat and property")
    rows, body = sum(element.count for element in header.elements), path.stat().st_size - file.tell()
    if rows > body:  # even rows without columns are counted
        raise FormatError(path, f"claims {rows} splats, and holds {body} bytes", "copy or write it again")
    if header.text:
        file.seek(0)
        return {element.name: element.data for element in PlyData.read(file).elements}
    tables, at = {}, file.tell()
    for element in header.elements:
        tables[element.name] = table = Rows(path, element.dtype(header.byte_order), element.count, at)
        at += table.dtype.itemsize * table.count
    if (claimed := at - file.tell()) != body:
        fact = f"claims {rows} splats of {claimed} bytes, and holds {body} bytes"
        raise FormatError(path, fact, "copy or write it again")
    return tables


def columns_as_matrix(table: np.ndarray, names: Sequence[str], kind: str) -> np.ndarray:
    """Columns of a table as one array [row, column] of a dtype; a view where they are the whole table."""
    if table.dtype == np.dtype([(name, kind) for name in names]):
        return table.view(kind).reshape(len(table), len(names))
    whole = np.empty((len(table), len(names)), kind)
    for column, name in enumerate(names):
        whole[:, column] = table[name]
    return whole
