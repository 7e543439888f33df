"""What one file format is: a row of the table in `formats.py`."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volkit.choices import Frame
from volkit.extras import advice
from volkit.files.errors import FormatError

if TYPE_CHECKING:  # a row is told without what reads and writes its files: torch takes seconds to import
    from volkit.representations.representation import Representation

__all__ = ["Doors", "Format", "Reader", "Sniffer", "Writer", "doors"]

Sniffer = Callable[[Path], bool]
Reader = Callable[[Path], "Representation"]
Writer = Callable[[Any, Path], None]  # of a scene of a kind that the row holds
Doors = tuple[Sniffer, Reader | None, Writer | None]


@dataclass(frozen=True)
class Format:
    """Readers take a path and return a representation; writers take both; either may be missing."""

    name: str
    suffixes: tuple[str, ...]
    holds: tuple[str, ...]  # kinds of representation, the preferred one first
    frame: Frame | None  # that its files demand; None: they hold the world's own, and may not say which
    sniff: Sniffer  # by content, bounded read, never raises on foreign bytes
    read: Reader | None
    write: Writer | None
    keeps: str  # one line: what survives and what is lost
    every_kind: bool = False  # whether it holds kinds, too, that packages add
    sorts: bool = False  # whether splats are written in an order of the format's own
    needs: tuple[str, ...] = ()  # modules, of which one must be there
    extra: str = ""  # of volkit, that brings them
    offer: str = ""  # how to come by them where no extra does

    def can_hold(self, kind: str) -> bool:
        """Whether its files hold this kind."""
        if kind in self.holds or not self.every_kind:
            return kind in self.holds
        from volkit.representations.kinds import WRAPPERS, kinds

        return kind in kinds() or kind in WRAPPERS

    def check_needs(self, path: Path) -> None:
        """FormatError where what reads and writes such files is not installed."""
        if self.needs and not any(map(find_spec, self.needs)):
            fix = advice(self.extra) if self.extra else self.offer
            raise FormatError(path, f"needs the module {' or '.join(self.needs)}, which is not installed", fix)


def doors(module: str, sniff: str | None = "sniff", read: str | None = "read", write: str | None = "write") -> Doors:
    """The functions of a module of this room by name, which is imported when one of them is called."""

    def on_use(name: str) -> Callable[..., Any]:
        return lambda *given: getattr(import_module(f"volkit.io.{module}"), name)(*given)

    looks: Sniffer = on_use(sniff) if sniff else lambda path: False
    return looks, on_use(read) if read else None, on_use(write) if write else None
