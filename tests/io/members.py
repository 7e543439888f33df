"""One member of a zip file as bytes, and the way back: damage that the archive's own checks do not see."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["member"]


def member(path: Path, suffix: str) -> tuple[bytes, Callable[[bytes], bytes]]:
    """The member whose name ends so, and a function from other bytes of it to the whole archive."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in members if name.endswith(suffix))

    def wrapped(changed: bytes) -> bytes:
        whole = io.BytesIO()
        with zipfile.ZipFile(whole, "w") as archive:
            for each, data in members.items():
                archive.writestr(each, changed if each == name else data)
        return whole.getvalue()

    return members[name], wrapped
