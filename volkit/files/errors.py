"""Errors about files; each message names the file, the fact, and the fix."""

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from volkit.choices import ParameterError

__all__ = ["UNZIP_ERRORS", "FormatError", "PlaceError", "TargetError", "format_errors", "read_start"]

# What Python and libraries raise for damaged content. What faults of our own code raise (AttributeError, NameError,
# AssertionError, NotImplementedError) is not among them.
DAMAGE_ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    RuntimeError,
    OSError,
    struct.error,
)
# What damaged zip files raise, whatever compression their members claim.
UNZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
)


class FormatError(ValueError):
    """A file is damaged, of an unknown format, or cannot store the scene: the message is `file: fact; fix`.

    Example:
        >>> str(FormatError("a.ply", "the file is empty", "write it again"))
        'a.ply: the file is empty; write it again'
    """

    def __init__(self, path: Path | str, fact: str, fix: str) -> None:
        super().__init__(f"{path}: {fact}; {fix}")


class TargetError(FormatError, ParameterError):
    """The name of a target is wrong, whatever the scene: no format has its suffix, or it can only be read."""


class PlaceError(FormatError):
    """A file cannot be written at its path: a missing permission, a full disk, or a folder in its place."""


def read_start(path: Path, size: int) -> bytes:
    """The first `size` bytes of a file, or all of a shorter one; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError:
        return b""


@contextmanager
def format_errors(path: Path, kind: str, fix: str = "check where it is from") -> Iterator[None]:
    """Turn errors that damaged content causes into a FormatError for the file; faults of our own code pass through."""
    try:
        yield
    except (FormatError, NotImplementedError):
        raise
    except DAMAGE_ERRORS as error:
        reason = f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise FormatError(path, f"cannot be read as {kind}: {' '.join(reason.split())[:200]}", fix) from error
