"""What one file format is: a row of the table in `formats.py`."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from volkit.extras import advice
from volkit.files.errors import FormatError
from volkit.geometry import Frame
from volkit.representations.kinds import WRAPPERS, kinds
from volkit.representations.representation import Representation

__all__ = ["Format"]


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
    every_kind: bool = False  # whether it holds kinds, too, that packages add
    sorts: bool = False  # whether splats are written in an order of the format's own
    needs: tuple[str, ...] = ()  # modules, of which one must be there
    extra: str = ""  # of volkit, that brings them
    offer: str = ""  # how to come by them where no extra does

    def can_hold(self, kind: str) -> bool:
        """Whether its files hold this kind."""
        return kind in self.holds or (self.every_kind and (kind in kinds() or kind in WRAPPERS))

    def check_needs(self, path: Path) -> None:
        """FormatError where what reads and writes such files is not installed."""
        if self.needs and not any(map(find_spec, self.needs)):
            fix = advice(self.extra) if self.extra else self.offer
            raise FormatError(path, f"needs the module {' or '.join(self.needs)}, which is not installed", fix)
