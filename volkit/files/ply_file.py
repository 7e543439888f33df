"""The container of a `.ply`, its header read by plyfile, its body once the promise fits the file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from plyfile import PlyData, PlyListProperty, PlyParseError

from volkit.files.errors import FormatError, read_start

__all__ = ["HEADER", "Table", "columns_as_matrix", "ply_header", "read_elements"]

HEADER = 1 << 16  # bytes in which a header must end


@dataclass(frozen=True)
class Rows:
    """Rows in a binary file, read when they are asked for: plyfile maps it, and a mapped file must not change."""

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
            raise FormatError(self.path, "became shorter while it was read", "read it again")
        return found


Table = Rows | np.ndarray


def ply_header(path: Path) -> bytes:
    """The header of a `.ply`, or nothing where the file is none."""
    head = read_start(path, HEADER)
    return head.partition(b"end_header")[0] if head.startswith(b"ply") else b""


def read_elements(path: Path) -> tuple[dict[str, Table], tuple[str, ...]]:
    """Tables by their elements' names, and comments; FormatError for lists, damage and lies about the size."""
    try:
        with path.open("rb") as file:
            if b"end_header" not in file.read(HEADER):
                raise FormatError(path, f"has no end of its header in {HEADER} bytes", "copy it again")
            file.seek(0)
            header = _header(file)
            tables = _tables(path, file, header)
    except FormatError:
        raise
    except (PlyParseError, ValueError, KeyError, OverflowError) as error:
        raise FormatError(path, f"is no .ply that can be read: {error}", "copy or write it again") from error
    comments = [*header.comments, *(comment for element in header.elements for comment in element.comments)]
    return tables, tuple(comments)


def _header(file: BinaryIO) -> PlyData:
    try:
        return PlyData._parse_header(file)
    except AttributeError as error:  # plyfile's way to say that a property belongs to no element
        raise ValueError(f"its header is damaged ({error})") from error


def _tables(path: Path, file: BinaryIO, header: PlyData) -> dict[str, Table]:
    if any(isinstance(p, PlyListProperty) for element in header.elements for p in element.properties):
        raise FormatError(path, "has a column of lists", "write one number a splat and column")
    rows, body = sum(element.count for element in header.elements), path.stat().st_size - file.tell()
    if rows > body:  # also where rows have no columns
        raise FormatError(path, f"promises {rows} splats, {body} bytes are there", "copy or write it again")
    if header.text:
        file.seek(0)
        return {element.name: element.data for element in PlyData.read(file).elements}
    tables, at = {}, file.tell()
    for element in header.elements:
        tables[element.name] = table = Rows(path, element.dtype(header.byte_order), element.count, at)
        at += table.dtype.itemsize * table.count
    if (promised := at - file.tell()) != body:
        fact = f"promises {rows} splats, {promised} bytes, and holds {body} bytes"
        raise FormatError(path, fact, "copy or write it again")
    return tables


def columns_as_matrix(table: np.ndarray, names: Sequence[str], kind: str) -> np.ndarray:
    """Columns as numbers of one kind, [row, column]; without a copy where they are the whole table as it stands."""
    if table.dtype == np.dtype([(name, kind) for name in names]):
        return table.view(kind).reshape(len(table), len(names))
    whole = np.empty((len(table), len(names)), kind)
    for column, name in enumerate(names):
        whole[:, column] = table[name]
    return whole
