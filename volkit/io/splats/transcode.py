"""Convert a file of splats into another one by its columns, without a scene; and read the result back."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from volkit.choices import SpzFrame
from volkit.io.format import Format
from volkit.io.formats import FileAxes, check_target, format_for, read_file, reader_for, write_columns, writer_for
from volkit.io.splats.columns import SplatColumns, check_invalid
from volkit.progress import Progress

__all__ = ["Transcoded", "is_splats_to_splats", "read_back", "transcode"]


@dataclass(frozen=True)
class Transcoded:
    """The splats that were written, the file's order of their rows (None: unchanged), its format, and the seconds."""

    splats: SplatColumns
    order: np.ndarray | None
    target: Path
    format: Format
    axes: FileAxes
    seconds: float


def is_splats_to_splats(source: Path, target: Path) -> bool:
    """Whether both files are of formats that are read and written as columns of splats.

    Raises FormatError where the source is in no known format, or no format has the target's suffix.
    """
    return reader_for(source).columns and format_for(target, kind="splats").columns


def transcode(
    source: Path,
    target: Path,
    *,
    axes: FileAxes | None = None,
    spz_frame: SpzFrame = "auto",
    drop_bad: bool = False,
    progress: Progress | None = None,
) -> Transcoded:
    """Convert a file of splats into the format that the target's suffix names, as `save(load(source))` would.

    `axes` are the target's, `spz_frame` those of a source that is an .spz. Splats that are not finite raise
    FormatError; with `drop_bad` they are left out, and counted in a note.

    >>> transcode(Path("a.ply"), Path("b.spz")).splats.provenance["format"]
    'ply'
    """
    started, axes, progress = time.perf_counter(), axes or FileAxes(), progress or Progress()
    splats = read_file(reader_for(source, spz_frame), source)
    assert isinstance(splats, SplatColumns)
    for note in splats.provenance.get("notes", ()):
        progress.note(f"{source}: {note}")
    bad = splats.invalid
    if bad.any():
        check_invalid(source, splats, progress if drop_bad else None)
        splats = splats.keep(~bad)
    if not len(splats):
        progress.note(f"{source}: holds no splats")
    check_target(target, "splats")
    row = writer_for(target, "splats")
    order = write_columns(splats, target, row, axes, progress)
    return Transcoded(splats, order, target, row, axes, time.perf_counter() - started)


def read_back(made: Transcoded) -> SplatColumns | None:
    """The file's splats in the world frame of those that were written; None where its format cannot be read."""
    if format_for(made.target, kind="splats").read is None:
        return None
    written = read_file(reader_for(made.target, made.axes.spz), made.target)
    assert isinstance(written, SplatColumns)
    place = made.axes.source_from_read("splats", made.splats.frame, written.frame, made.target)
    return replace(written, world_from_local=place @ written.world_from_local)
