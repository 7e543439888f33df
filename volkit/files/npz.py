"""Untrusted NumPy archives (`.npz`): named arrays of numbers, limited by the size of the file."""

import math
import tokenize
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import numpy as np

from volkit.files.errors import UNZIP_ERRORS, FormatError

__all__ = ["array_names", "read_arrays"]

FREE_UNPACKED_BYTES = 64 << 20  # that any archive may unpack to
MAX_COMPRESSION = 64  # of larger ones: empty grids nearly vanish
MAX_MEMBERS = 1 << 10
# Headers are parsed as Python literals, hence the last two.
READ_ERRORS = (*UNZIP_ERRORS, MemoryError, KeyError, tokenize.TokenError, SyntaxError)
SUFFIX = ".npy"


def array_names(path: Path) -> set[str]:
    """Names of the arrays in an archive; empty where the file is not an archive."""
    try:
        with path.open("rb") as file:
            if file.read(4) != b"PK\x03\x04":
                return set()
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except UNZIP_ERRORS:
        return set()
    return {name.removesuffix(SUFFIX) for name in names[:MAX_MEMBERS] if name.endswith(SUFFIX)}


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """The arrays by name, of those that exist; FormatError for damaged archives, arrays of objects, and bombs."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {m.filename.removesuffix(SUFFIX): m for m in archive.infolist() if m.filename.endswith(SUFFIX)}
            wanted = [name for name in names if name in members]
            unpacked = sum(members[name].file_size for name in wanted)
            if unpacked > FREE_UNPACKED_BYTES + MAX_COMPRESSION * path.stat().st_size:
                raise FormatError(path, f"unpacks to {unpacked} bytes, far more than its size", "do not trust it")
            return {name: _array(archive, members[name]) for name in wanted}
    except FormatError:
        raise
    except OSError as error:
        raise FormatError(path, f"cannot be read ({error.strerror or error})", "check the path") from error
    except READ_ERRORS as error:
        reason = f"{type(error).__name__}: {error}".split("\n")[0][:160]
        raise FormatError(path, f"is not a complete archive of arrays ({reason})", "copy it again") from error


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        shape, by_columns, dtype = _header(file)
        size = math.prod(shape) * dtype.itemsize
        # A false header must not make us allocate more than the archive claims to hold.
        if dtype.kind not in "biuf" or size > member.file_size:
            raise ValueError(f"{member.filename} is not an array of numbers of its size")
        data = file.read(size)
        if len(data) != size or file.read(1):
            raise ValueError(f"{member.filename} does not have the size that its header gives")
    return np.frombuffer(bytearray(data), dtype).reshape(shape, order="F" if by_columns else "C")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)  # type: ignore[arg-type]
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)  # type: ignore[arg-type]
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)  # type: ignore[arg-type]
    raise ValueError(f"arrays of version {version} are not supported")
