"""Writing so that nobody ever sees half a file."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from volkit.io.format import FormatError

__all__ = ["written_whole"]

FIXES = {
    errno.ENOSPC: "free some space",
    errno.EROFS: "choose a place that can be written",
    errno.EACCES: "choose a place that can be written",
    errno.EPERM: "choose a place that can be written",
    errno.ENOENT: "make the folder first",
    errno.EISDIR: "name a file, not a folder",
}


@contextmanager
def written_whole(path: Path | str) -> Iterator[Path]:
    """Give a place beside `path` to write to; it becomes `path` at the end, or vanishes when anything goes wrong.

    The place is `.NAME.writing.part`, on the same disk so that the change is one rename, and apart from `NAME.part`,
    where unfinished jobs keep their state. OSError and failures to write become FormatError.
    """
    path = Path(path)
    place = path.with_name(f".{path.name}.writing.part")
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder")
        place.touch()
        yield place
        with place.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(place, path)
    except FormatError:
        raise
    except OSError as error:
        fix = FIXES.get(error.errno or 0, "check the disk and the path")
        raise FormatError(path, f"cannot be written ({error.strerror or error})", fix) from None
    finally:
        _removed(place)


def _removed(place: Path) -> None:
    try:
        place.unlink(missing_ok=True)
    except OSError:
        # Where the folder itself cannot be written to, nothing was left behind either.
        return
