"""`Format`: what volkit knows about one file format. `formats.py` lists them all."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volkit.choices import Frame
from volkit.extras import advice
from volkit.files.errors import FormatError

if TYPE_CHECKING:  # listing the formats must not import torch, which takes seconds
    from volkit.io.splats.columns import SplatColumns
    from volkit.representations.representation import Representation

__all__ = ["Format", "FormatFunctions", "Reader", "Sniffer", "Writer", "from_module"]

Sniffer = Callable[[Path], bool]
Reader = Callable[[Path], "Representation | SplatColumns"]
Writer = Callable[[Any, Path], Any]
FormatFunctions = tuple[Sniffer, Reader | None, Writer | None]


@dataclass(frozen=True)
class Format:
    """One file format: its name and suffixes, what it stores, and the functions that sniff, read and write it.

    `read(path)` returns a representation and raises `FormatError` for a damaged file; `write(representation, path)`
    leaves either a whole file or none. Either may be None. With `columns`, both handle splats as `SplatColumns`, arrays
    that need no torch; the writer returns the order in which it wrote them, None where it kept theirs.

    `frame` is the frame that every file of this format is in: `save` turns a scene to it. None means that files hold
    the world frame as it is, and need not say which that is. With `folders`, `sniff` and `read` also take a folder that
    a trainer left.

    >>> row = Format("points", (".pts",), ("splats",), None, sniff, read, write, "positions; nothing else")
    >>> register_format(row)
    """

    name: str
    suffixes: tuple[str, ...]
    holds: tuple[str, ...]  # kinds of representation that it stores, the preferred one first
    frame: Frame | None  # of every such file; None: the world's own
    sniff: Sniffer  # by content; reads a bounded number of bytes and raises nothing
    read: Reader | None
    write: Writer | None
    keeps: str  # one line: what a round trip keeps, and what it loses
    every_kind: bool = False  # also those that plug-ins add
    columns: bool = False  # whether splats are read and written as SplatColumns
    folders: bool = False  # whether a trainer's folder is read too
    reorders: bool = False  # whether writing changes the order of splats
    georeferenced: bool = False  # whether splats far from the origin keep positions that float32 would round
    needs: tuple[str, ...] = ()  # modules, one of which must be installed
    extra: str = ""  # volkit's extra that installs it
    install_hint: str = ""  # how to install it where no extra does

    def can_hold(self, kind: str) -> bool:
        """Whether the format stores this kind of representation."""
        if kind in self.holds or not self.every_kind:
            return kind in self.holds
        from volkit.representations.kinds import WRAPPERS, kinds

        return kind in kinds() or kind in WRAPPERS

    def check_needs(self, path: Path) -> None:
        """Raise FormatError, with the command that installs it, where a module that the format needs is missing."""
        if self.needs and not any(map(find_spec, self.needs)):
            fix = advice(self.extra) if self.extra else self.install_hint
            raise FormatError(path, f"needs the module {' or '.join(self.needs)}, which is not installed", fix)


def from_module(
    module: str, sniff: str | None = "sniff", read: str | None = "read", write: str | None = "write"
) -> FormatFunctions:
    """`sniff`, `read` and `write` of a module below `volkit.io`, which is imported at the first call.

    A name with dots is that of another module: `meshes.gltf_file.sniff_gltf`.
    """

    def lazy(name: str) -> Callable[..., Any]:
        place, _, function = name.rpartition(".")
        return lambda *arguments: getattr(import_module(f"volkit.io.{place or module}"), function)(*arguments)

    sniffer: Sniffer = lazy(sniff) if sniff else lambda path: False
    return sniffer, lazy(read) if read else None, lazy(write) if write else None
