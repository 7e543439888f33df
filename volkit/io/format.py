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
    from volkit.io.splats.columns import SplatColumns
    from volkit.representations.representation import Representation

__all__ = ["Doors", "Format", "Reader", "Sniffer", "Writer", "doors"]

Sniffer = Callable[[Path], bool]
Reader = Callable[[Path], "Representation | SplatColumns"]
Writer = Callable[[Any, Path], Any]
Doors = tuple[Sniffer, Reader | None, Writer | None]


@dataclass(frozen=True)
class Format:
    """Readers take a path and return a scene; writers take both; either may be missing.

    A scene is a representation; where `columns` is set, writers take splats as SplatColumns, and so readers return
    them: arrays, for which torch need not be loaded. Such writers answer the order that they wrote splats in, or None.
    """

    name: str
    suffixes: tuple[str, ...]
    holds: tuple[str, ...]  # kinds of representation, the preferred one first
    frame: Frame | None  # that its files demand; None: they hold the world's own, and may not say which
    sniff: Sniffer  # by content, bounded read, never raises on foreign bytes
    read: Reader | None
    write: Writer | None
    keeps: str  # one line: what survives and what is lost
    every_kind: bool = False  # whether it holds kinds, too, that packages add
    columns: bool = False  # whether it is read and written as SplatColumns
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
    """The functions of a module of this room by name, which is imported when one of them is called.

    A name with a dot is that of another module's: `meshes.gltf_container.sniff_gltf`.
    """

    def on_use(name: str) -> Callable[..., Any]:
        place, _, own = name.rpartition(".")
        return lambda *given: getattr(import_module(f"volkit.io.{place or module}"), own)(*given)

    looks: Sniffer = on_use(sniff) if sniff else lambda path: False
    return looks, on_use(read) if read else None, on_use(write) if write else None
