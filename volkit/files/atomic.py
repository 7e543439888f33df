"""Writing so that nobody ever sees half a file."""

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
    """Give a place beside `path` to write to; it becomes `path` at the end, or vanishes when anything goes wrong.

    The place lies in a folder `.NAME.writing.part`, on the same disk so that the change is one rename, and apart from
    `NAME.part`, where unfinished jobs keep their state. What a killed writer, or a library with temporary files of its
    own, left in the folder is removed with it. Permissions are those of the file that is replaced, else what the user's
    umask leaves of 0666. OSError and failures to write become FormatError.
    """
    path = Path(path)
    with _place_beside(path) as place:
        # As if it were written where it is, whatever a library did: some make a private file and rename it.
        mode = stat.S_IMODE((path if path.exists() else place).stat().st_mode)
        yield place
        place.chmod(mode)
        with place.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(place, path)
        _synchronise(path.parent)


def write_together(path: Path, data: bytes, beside: dict[str, bytes]) -> None:
    """One file and those that it names, by their names: all are on the disk before the first is seen, it comes last."""
    with ExitStack() as stack:
        for name, part in {path.name: data, **beside}.items():
            stack.enter_context(atomic_write(path.with_name(name))).write_bytes(part)


def check_writable(path: Path | str) -> None:
    """Raise FormatError, naming file, fact and fix, where `atomic_write` would fail: ask before hours of work."""
    with _place_beside(Path(path)):
        return


@contextmanager
def _place_beside(path: Path) -> Iterator[Path]:
    folder = path.with_name(f".{path.name}.writing.part")
    place = folder / path.name
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder")
        # A rename would replace a file that its owner protects.
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, "is read-only")
        _removed(folder)
        folder.mkdir(parents=True)  # a target's own folder is made with it
        place.touch()
        yield place
    except FormatError:
        raise
    except OSError as error:
        fix = FIXES.get(error.errno or 0, "check the disk and the path")
        raise PlaceError(path, f"cannot be written ({error.strerror or error})", fix) from error
    finally:
        _removed(folder)


def _synchronise(folder: Path) -> None:
    """Make a rename survive a power cut."""
    # Not every system opens folders, nor does every file system synchronise them: the file itself is safe already.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _removed(folder: Path) -> None:
    # Where the folder about it cannot be written to, nothing was left behind either.
    shutil.rmtree(folder, ignore_errors=True)
