"""What one file format is: a row of the table in `formats.py`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from volkit.representations.representation import Representation

__all__ = ["Format", "FormatError"]


class FormatError(ValueError):
    """A file is not what it says or should be: message names the file, the fact and the fix."""

    def __init__(self, path: Path | str, fact: str, fix: str) -> None:
        super().__init__(f"{path}: {fact}; {fix}")


@dataclass(frozen=True)
class Format:
    """Readers take a path and return a representation; writers take both; either may be missing."""

    name: str
    suffixes: tuple[str, ...]
    holds: tuple[str, ...]  # kinds of representation, the preferred one first
    sniff: Callable[[Path], bool]  # by content, bounded read, never raises on foreign bytes
    read: Callable[[Path], Representation] | None
    write: Callable[[Representation, Path], None] | None
    keeps: str  # one line: what survives and what is lost
