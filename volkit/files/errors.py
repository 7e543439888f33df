"""What is said of a file that cannot be read or written: its name, the fact, the fix."""

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from volkit.choices import ParameterError

__all__ = ["UNZIP_ERRORS", "FormatError", "PlaceError", "TargetError", "format_errors", "read_start"]

# What damaged content makes Python and the libraries that read it say. A wrong name or a broken promise of our own code
# (AttributeError, NameError, AssertionError, NotImplementedError) is not among them.
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
# What damaged zip files raise, whatever method their members are said to be packed by.
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
    """A file is not what it says or should be: message names the file, the fact and the fix."""

    def __init__(self, path: Path | str, fact: str, fix: str) -> None:
        super().__init__(f"{path}: {fact}; {fix}")


class TargetError(FormatError, ParameterError):
    """A target cannot mean anything, whatever is to be written: no format has its suffix, or none that is written."""


class PlaceError(FormatError):
    """A file cannot be written where it was to be, whatever it holds."""


def read_start(path: Path, size: int) -> bytes:
    """As many of the first bytes of a file as it has; none where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError:
        return b""


@contextmanager
def format_errors(path: Path, kind: str, fix: str = "check where it is from") -> Iterator[None]:
    """Turn what damaged content leads to inside into a FormatError of the file; faults of ours stay what they are."""
    try:
        yield
    except (FormatError, NotImplementedError):
        raise
    except DAMAGE_ERRORS as error:
        said = f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise FormatError(path, f"cannot be read as {kind}: {' '.join(said.split())[:200]}", fix) from error
