"""Plug-ins: entry points of installed packages that add kinds and formats."""

import warnings
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Any

__all__ = ["plug_ins"]


def plug_ins(group: str, name: str | None = None) -> Iterator[tuple[EntryPoint, Any]]:
    """The entry points of a group, or of one name in it, and what they load; each is imported when it is reached.

    A package that cannot be imported is left out with a warning that names it.
    """
    for plug_in in entry_points(group=group):
        if name in (None, plug_in.name):
            try:
                found = plug_in.load()
            except Exception as error:  # the module of another package may raise anything
                warnings.warn(f"plug-in {plug_in.value} cannot be loaded: {error!r}", RuntimeWarning, stacklevel=3)
            else:
                yield plug_in, found
