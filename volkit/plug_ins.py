"""What installed packages add to the tables of kinds and of formats, by their entry points."""

import warnings
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Any

__all__ = ["plug_ins"]


def plug_ins(group: str, name: str | None = None) -> Iterator[tuple[EntryPoint, Any]]:
    """What installed packages offer under this group of entry points, or by one name; imported as it is asked for.

    A package that cannot be imported is left out with a warning that names it.
    """
    for plug_in in entry_points(group=group):
        if name in (None, plug_in.name):
            try:
                found = plug_in.load()
            except Exception as error:  # of a stranger's module anything may come
                warnings.warn(f"plug-in {plug_in.value} cannot be loaded: {error!r}", RuntimeWarning, stacklevel=3)
            else:
                yield plug_in, found
