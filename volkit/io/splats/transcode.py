"""A file of splats as another one: columns are read, written and, to see what was lost, read again; never a scene."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from volkit.choices import SpzFrame
from volkit.io.formats import FileAxes, check_target, format_for, read_file, reader_for, write_columns, writer_for
from volkit.io.splats.columns import SplatColumns, check_bad
from volkit.progress import Progress

__all__ = ["Transcoded", "between_columns", "read_again", "transcode"]


@dataclass(frozen=True)
class Transcoded:
    """What was written, the rows of it in the file's order (None: in its own), and the seconds that it took."""

    splats: SplatColumns
    order: np.ndarray | None
    target: Path
    axes: FileAxes
    seconds: float


def between_columns(source: Path, target: Path) -> bool:
    """Whether a file is one of splats that is read as columns, and the other may be written from them.

    FormatError where the source is no file that is known here, or no format has the target's suffix.
    """
    return reader_for(source).columns and format_for(target, kind="splats").columns


def transcode(
    source: Path,
    target: Path,
    *,
    axes: FileAxes | None = None,
    spz_frame: SpzFrame = "rub",
    drop_bad: bool = False,
    progress: Progress | None = None,
) -> Transcoded:
    """Write the splats of a file as another file, in the format that its suffix names; equal to `save(load(source))`.

    `axes` are the target's, `spz_frame` those of a source that is an .spz. Splats that are not finite are left out
    where `drop_bad` says so, and counted in a note. Raises FormatError with what is wrong, that of bad splats too.

    >>> transcode(Path("a.ply"), Path("b.spz")).splats.provenance["format"]
    'ply'
    """
    started, axes, progress = time.perf_counter(), axes or FileAxes(), progress or Progress()
    splats = read_file(reader_for(source, spz_frame), source)
    assert isinstance(splats, SplatColumns)
    bad = splats.invalid
    if bad.any():
        check_bad(source, int(bad.sum()), progress if drop_bad else None)
        splats = splats.keep(~bad)
    check_target(target, "splats")
    order = write_columns(splats, target, writer_for(target, "splats"), axes)
    return Transcoded(splats, order, target, axes, time.perf_counter() - started)


def read_again(made: Transcoded) -> SplatColumns | None:
    """What the file holds, in the world of what was written; None where its format is for writing alone."""
    if format_for(made.target, kind="splats").read is None:
        return None
    written = read_file(reader_for(made.target, made.axes.spz), made.target)
    assert isinstance(written, SplatColumns)
    place = made.axes.back("splats", made.splats.frame, written.frame, made.target)
    return replace(written, world_from_local=place @ written.world_from_local)
