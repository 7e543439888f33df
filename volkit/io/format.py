"""What one file format is: a row of the table in `formats.py`."""

import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from volkit.geometry import Frame
from volkit.representations.representation import Representation

__all__ = ["UNZIPPING", "Format", "FormatError", "PlaceError", "start_of", "understood"]

# What damaged content makes Python and the libraries that read it say.
DAMAGED = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RuntimeError, AssertionError, OSError,
    struct.error,
)  # fmt: skip
# What damaged zip files raise, whatever method their members are said to be packed by.
UNZIPPING = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, OSError, EOFError, ValueError, RuntimeError)


class FormatError(ValueError):
    """A file is not what it says or should be: message names the file, the fact and the fix."""

    def __init__(self, path: Path | str, fact: str, fix: str) -> None:
        super().__init__(f"{path}: {fact}; {fix}")


class PlaceError(FormatError):
    """A file cannot be written where it was to be, whatever it holds."""


def start_of(path: Path, size: int) -> bytes:
    """As many of the first bytes of a file as it has; none where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError:
        return b""


@contextmanager
def understood(path: Path, kind: str, fix: str = "check where it is from") -> Iterator[None]:
    """Whatever damaged content leads to inside, as a FormatError of the file."""
    try:
        yield
    except FormatError:
        raise
    except DAMAGED as error:
        said = f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise FormatError(path, f"cannot be read as {kind}: {' '.join(said.split())[:200]}", fix) from None


@dataclass(frozen=True)
class Format:
    """Readers take a path and return a representation; writers take both; either may be missing."""

    name: str
    suffixes: tuple[str, ...]
    holds: tuple[str, ...]  # kinds of representation, the preferred one first
    frame: Frame | None  # that its files demand; None: they hold the world's own, and may not say which
    sniff: Callable[[Path], bool]  # by content, bounded read, never raises on foreign bytes
    read: Callable[[Path], Representation] | None
    write: Callable[[Representation, Path], None] | None
    keeps: str  # one line: what survives and what is lost
    sorts: bool = False  # whether splats are written in an order of the format's own
    needs: tuple[str, ...] = ()  # modules, of which one must be there
    offer: str = ""  # how to come by them

    def check_needs(self, path: Path) -> None:
        """FormatError where what reads and writes such files is not installed."""
        if self.needs and not any(map(find_spec, self.needs)):
            raise FormatError(path, f"needs the module {' or '.join(self.needs)}, which is not installed", self.offer)
