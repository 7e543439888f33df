"""The table of file formats; `load` and `save`, which choose a row of it."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from volkit.choices import Frame, SpzFrame, SpzVersion
from volkit.files.archive import describe_archive
from volkit.files.atomic import check_writable
from volkit.files.bundled import path_advice
from volkit.files.errors import FormatError, TargetError
from volkit.io.format import Format
from volkit.io.format_rows import EVERY_KIND, ROWS
from volkit.plug_ins import plug_ins
from volkit.progress import Progress

if TYPE_CHECKING:  # the table is listed without importing arrays
    import numpy as np

    from volkit.geometry.frames import Similarity
    from volkit.io.splats.columns import SplatColumns
    from volkit.representations import Representation

__all__ = [
    "EVERY_KIND",
    "FORMATS",
    "FileAxes",
    "check_target",
    "describe",
    "format_for",
    "is_scene",
    "load",
    "plug_in_formats",
    "read_file",
    "reader_for",
    "register_format",
    "save",
    "write_columns",
    "writer_for",
]

FORMATS: dict[str, Format] = {row.name: row for row in ROWS}
ENTRY_POINTS = "volkit.formats"  # the group in which packages register a `Format`


def register_format(row: Format) -> Format:
    """Add a format to the end of the table and return it; ValueError where the name is taken.

    An installed package needs no call: with the entry point `my_format = my_package:MY_FORMAT` in its group
    `volkit.formats` the row is found as soon as no other row fits a file.
    """
    if FORMATS.setdefault(row.name, row) is not row:
        raise ValueError(f"format '{row.name}': is registered already; choose another name")
    return row


def plug_in_formats() -> list[Format]:
    """Register the formats that installed packages offer, and return them; ValueError where one is no `Format`."""
    found = []
    for plug_in, row in plug_ins(ENTRY_POINTS):
        if not isinstance(row, Format):
            raise ValueError(f"plug-in {plug_in.value}: is a {type(row).__name__}, not a volkit.io.Format")
        found.append(FORMATS[row.name] if row.name in FORMATS else register_format(row))
    return found


def is_scene(path: Path) -> bool:
    """Whether a path is a scene file or a trainer's folder, else a dataset; FormatError where it does not exist."""
    if not path.exists():
        raise FormatError(path, "no such file or folder", path_advice(path))
    if not path.is_file():
        return any(row.folders and row.sniff(path) for row in FORMATS.values())
    # A damaged scene file still counts by its suffix, and an archive: what reads them explains best what is wrong.
    named = any(path.name.lower().endswith(row.suffixes) and ".json" not in row.suffixes for row in FORMATS.values())
    if named or describe_archive(path) or any(row.sniff(path) for row in FORMATS.values()):
        return True
    return any(path.name.lower().endswith(row.suffixes) or row.sniff(path) for row in plug_in_formats())


def load(path: Path | str, spz_frame: SpzFrame = "auto") -> "Representation":
    """Read a scene file of any format, recognised by its content first and by its suffix second.

    A trainer's folder stands for its newest scene. The scene comes back in the frame that its file has, with its
    provenance, and with its cameras where the format stores them; what of the file was left out or guessed is in its
    provenance, under `notes`. `spz_frame` says which axes an `.spz` uses: `auto` what its own record
    says, and right, up, back where it has none; `rub` the latter in any case, `ply` those of a `.ply`, as some programs
    write it. Raises FormatError, which names the file, the fact and the fix.

    >>> scene = load("garden.ply")
    """
    path = Path(path)
    from volkit.io.splats.columns import SplatColumns

    scene = read_file(reader_for(path, spz_frame), path)
    if isinstance(scene, SplatColumns):
        from volkit.io.splats.scene import splats_from_columns

        return splats_from_columns(scene)
    return scene


def reader_for(path: Path, spz_frame: SpzFrame = "auto") -> Format:
    """The format that reads a file, with `spz_frame` applied; FormatError without such a file, or such a format."""
    if not path.exists():
        raise FormatError(path, "no such file", path_advice(path))
    readable = [row for row in FORMATS.values() if row.read is not None and (row.folders or not path.is_dir())]
    named = _by_suffix(path, readable)
    # Formats that the suffix names go first, so that the usual file is opened once; plug-ins go last.
    for rows in (named, (row for row in readable if row not in named), (row for row in plug_in_formats() if row.read)):
        for row in rows:
            if row.sniff(path):
                return _with_spz_axes(row, spz_frame)
    from volkit.io.checkpoint_families import explain_unknown

    explain_unknown(path)
    if named := _by_suffix(path, [row for row in FORMATS.values() if row.read is not None]):
        return _with_spz_axes(named[0], spz_frame)
    if archive := describe_archive(path):
        raise FormatError(path, archive, "unpack it first")
    raise FormatError(path, "is in no known format", f"give one of {_suffixes(writable=False)}")


def _by_suffix(path: Path, rows: Sequence[Format]) -> list[Format]:
    """Formats whose suffix a path has, the longest suffix first: `meta.json` before any other `.json`."""
    name = path.name.lower()
    length = {row.name: max((len(s) for s in row.suffixes if name.endswith(s)), default=0) for row in rows}
    return sorted((row for row in rows if length[row.name]), key=lambda row: -length[row.name])


def read_file(row: Format, path: Path) -> "Representation | SplatColumns":
    """What a format's reader returns; FormatError where a module that it needs is missing."""
    assert row.read is not None
    row.check_needs(path)
    return row.read(path)


def save(
    representation: "Representation",
    path: Path | str,
    format: str | None = None,
    spz_frame: SpzFrame = "auto",
    frame: Frame | Literal["auto"] = "auto",
    spz_version: SpzVersion | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a scene whole or not at all, in the format that `format` or the suffix names.

    `frame` is the frame of the file's coordinates (`zup`, `yup` or `ydown`); `auto` takes the one that the format
    prescribes, else the scene's own. `spz_frame` are the axes of an `.spz`: `ply` as in a `.ply`, else right, up, back;
    `spz_version` is its version, 2 by default, which most viewers open, and 4 of harmonics of degree 4. What splats
    lose because they lie too far from the origin is noted on `progress`, else a RuntimeWarning. Raises FormatError
    where the format cannot store this kind of scene, or the file cannot be written. What a format loses is in its
    `keeps`, and in docs/formats.md.

    >>> save(scene, "garden.spz")
    """
    path, axes = Path(path), FileAxes(frame, spz_frame, spz_version)
    row = writer_for(path, representation.config.kind, format)
    if row.columns:
        from volkit.io.splats.scene import columns_from_splats

        write_columns(columns_from_splats(representation), path, row, axes, progress)  # pyright: ignore[reportArgumentType]
        return
    assert row.write is not None
    row.write(representation.view_in_frame(axes.frame_for(row) or representation.frame), path)


@dataclass(frozen=True)
class FileAxes:
    """The axes that a file is written in: `frame`, for an .spz `spz_frame`, by default those of its format.

    `spz_version` is that of an .spz, by default the one that most viewers open.
    """

    frame: Frame | Literal["auto"] = "auto"
    spz_frame: SpzFrame = "auto"
    spz_version: SpzVersion | None = None

    @property
    def raw(self) -> bool:
        """Whether an .spz stores coordinates as they are."""
        return self.spz_frame == "ply" or self.frame in ("zup", "ydown")

    @property
    def spz(self) -> SpzFrame:
        """The axes of an .spz, `rub` or `ply`; for other frames it has no name: they are stored as they are."""
        return "ply" if self.raw else "rub"

    def frame_for(self, row: Format) -> Frame | None:
        """The frame of a format's coordinates; None: the scene's own."""
        return self.frame if self.frame != "auto" else _with_spz_axes(row, self.spz).frame

    def source_from_read(self, kind: str, source: Frame, read: Frame, target: Path) -> "Similarity":
        """From the world frame in which the reader of `target` places it, `read`, to that of the source, `source`.

        `kind` is the source's. The reader may know nothing of the source's frame.
        """
        from volkit.geometry.frames import Similarity, turn

        row = format_for(target, kind=kind)
        assumed = None if row.name == "spz" and self.raw else row.frame
        if row.name == "usd" and self.frame == "zup":
            assumed = "zup"  # a stage stores it; its only other up axis is +Y
        stored = self.frame if self.frame != "auto" else assumed or source
        file_from_read = Similarity() if assumed is None else turn(assumed, read)
        return turn(source, stored) @ file_from_read


def write_columns(
    splats: "SplatColumns", path: Path, row: Format, axes: FileAxes, progress: Progress | None = None
) -> "np.ndarray | None":
    """Write columns in a format that takes them; returns the order of the file's splats, None where it is kept.

    Before it is written what it will lose of positions far from the origin is noted on `progress`, or a warning.
    """
    write = _with_spz_axes(row, axes.spz, axes.spz_version).write
    assert write is not None
    if rounding := _position_rounding(splats, row):
        lost = f"{path}: positions are rounded by up to {rounding:.2g}, for they reach {splats.farthest:.7g} from the "
        lost += "origin; .ply, .safetensors and .glb keep them"
        if progress is not None:
            progress.note(lost)
        else:
            warnings.warn(lost, RuntimeWarning, stacklevel=3)
    return write(splats.in_frame(axes.frame_for(row) or splats.frame), path)


def _position_rounding(splats: "SplatColumns", row: Format) -> float:
    """How far a format moves positions because they lie far from the origin; 0 where it moves none for that."""
    from volkit.io.splats.columns import rounding_of

    lost = rounding_of(splats.farthest) if splats.georeferenced and not row.georeferenced else 0.0
    if row.name != "spz" or not math.isfinite(splats.farthest):  # its writer refuses what is not finite
        return lost
    from volkit.io.splats import niantic_spz as spz

    bits = spz.fraction_bits(splats.farthest)
    return lost + (0.0 if bits == spz.FRACTION_BITS else 0.5 * 2.0**-bits)


def check_target(path: Path | str, kind: str, format: str | None = None) -> None:
    """Raise what `save` would raise for a scene of this kind, before the work is done: TargetError or PlaceError."""
    writer_for(Path(path), kind, format)
    check_writable(path)


def writer_for(path: Path, kind: str, format: str | None = None) -> Format:
    """The format that writes a kind to a path; TargetError where there is none, FormatError where it needs more."""
    row = format_for(path, format, kind)
    if row.write is None:
        raise TargetError(path, f"the format {row.name} can only be read", f"write {_writable_suffixes(kind)}")
    if not row.can_hold(kind):
        from volkit.representations.kinds import WRAPPERS, SceneConfig

        fix = f"write {_writable_suffixes(kind)}"
        if kind == SceneConfig.kind:
            raise TargetError(path, "cannot hold a field of your own", "distil it into a kind such as hash_grid first")
        if kind in WRAPPERS:
            fact = f"the format {row.name} cannot hold a scene that is {kind} of others"
            raise TargetError(path, fact, f"{fix}, or distil it into one of {', '.join(row.holds)} first")
        raise TargetError(path, f"the format {row.name} cannot hold {kind}", fix)
    row.check_needs(path)
    return row


def format_for(path: Path, name: str | None = None, kind: str | None = None) -> Format:
    """The format called `name`, else the first with the path's suffix that can store `kind`; TargetError if none is."""
    if name is not None:
        if name not in FORMATS:
            plug_in_formats()
        if name not in FORMATS:
            raise TargetError(path, f"there is no format '{name}'", f"known: {', '.join(FORMATS)}")
        return FORMATS[name]
    named = [row for row in FORMATS.values() if path.name.lower().endswith(row.suffixes)]
    if not any(kind and row.can_hold(kind) for row in named):
        named += [row for row in plug_in_formats() if path.name.lower().endswith(row.suffixes)]
    if named:
        return next((row for row in named if kind and row.can_hold(kind)), named[0])
    fact = f"the suffix '{path.suffix}' names no format" if path.suffix else "has no suffix to name its format"
    raise TargetError(path, fact, f"use one of {_suffixes(writable=True)}")


def describe() -> list[dict[str, Any]]:
    """The table as plain values, one dict per format: name, suffixes, reads, writes, holds, frame, keeps."""
    plug_in_formats()
    return [
        {
            "name": row.name,
            "suffixes": list(row.suffixes),
            "reads": row.read is not None,
            "writes": row.write is not None,
            "holds": list(row.holds),
            **{name: getattr(row, name) for name in ("frame", "keeps")},
        }
        for row in FORMATS.values()
    ]


def _with_spz_axes(row: Format, spz_frame: SpzFrame, version: SpzVersion | None = None) -> Format:
    """The row itself; that of .spz with a reader and a writer for these axes, and this version."""
    if row.name != "spz":
        return row
    from volkit.io.splats import niantic_spz as spz

    reader, writer = partial(spz.read, frame=spz_frame), partial(spz.write, frame=spz_frame, version=version)
    return replace(row, frame=None if spz_frame == "ply" else row.frame, read=reader, write=writer)


def _suffixes(*, writable: bool) -> str:
    rows = [row for row in FORMATS.values() if (row.write if writable else row.read) is not None]
    return ", ".join(dict.fromkeys(suffix for row in rows for suffix in row.suffixes))


def _writable_suffixes(kind: str) -> str:
    rows = [row for row in FORMATS.values() if row.write is not None and row.can_hold(kind)]
    return " or ".join(suffix for row in rows for suffix in row.suffixes) or "another kind"
