"""Atomic writes: readers see the old file or the whole new one, never a part."""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from volkit.files.errors import FormatError, PlaceError

__all__ = ["atomic_write", "check_writable", "write_together"]

FIXES = {
    errno.ENOSPC: "free some space",
    errno.EROFS: "choose a place that can be written",
    errno.EACCES: "choose a place that can be written",
    errno.EPERM: "choose a place that can be written",
    errno.EDQUOT: "free some space",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "name a file, not a folder",
}


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it replaces `path` at the end, or is removed on any error.

    It is in a folder `.NAME.writing.part`, on the same file system, so that replacing is one rename; unfinished jobs
    keep their state in `NAME.part`. The folder is removed with all that a killed writer or a library left in it.
    Permissions are those of the replaced file, else 0666 less the user's umask. OSError becomes PlaceError.
    """
    path = Path(path)
    with _place_beside(path) as place:
        # Some libraries write a private temporary file and rename it: restore the permissions.
        mode = stat.S_IMODE((path if path.exists() else place).stat().st_mode)
        yield place
        place.chmod(mode)
        with place.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(place, path)
        _sync_folder(path.parent)


def write_together(path: Path, data: bytes, beside: dict[str, bytes]) -> None:
    """Write a file and those that it refers to, by name: all are complete before any appears, `path` last."""
    with ExitStack() as stack:
        for name, part in {path.name: data, **beside}.items():
            stack.enter_context(atomic_write(path.with_name(name))).write_bytes(part)


def check_writable(path: Path | str) -> None:
    """Raise PlaceError where `atomic_write` would fail; call it before hours of work."""
    with _place_beside(Path(path)):
        return


@contextmanager
def _place_beside(path: Path) -> Iterator[Path]:
    folder = path.with_name(f".{path.name}.writing.part")
    place = folder / path.name
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder")
        # A rename would replace even a file that is write-protected.
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, "is read-only")
        _remove_folder(folder)
        folder.mkdir(parents=True)  # creates missing folders of the target
        place.touch()
        yield place
    except FormatError:
        raise
    except OSError as error:
        fix = FIXES.get(error.errno or 0, "check the disk and the path")
        raise PlaceError(path, f"cannot be written ({error.strerror or error})", fix) from error
    finally:
        _remove_folder(folder)


def _sync_folder(folder: Path) -> None:
    """Flush a folder, so that a rename survives a power failure."""
    # Not every system can open or flush folders; the file's own data are flushed already.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _remove_folder(folder: Path) -> None:
    # Where removal fails because the parent is read-only, nothing had been created.
    shutil.rmtree(folder, ignore_errors=True)
