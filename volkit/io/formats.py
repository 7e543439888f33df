"""The table of file formats, and the two verbs that use it."""

from pathlib import Path
from typing import Any, Literal

from volkit.files.atomic import check_writable
from volkit.files.errors import FormatError
from volkit.geometry import Frame
from volkit.io.fields import (
    analytic_scene,
    dvgo,
    instant_ngp,
    kplanes,
    native,
    nerf_checkpoint,
    nerfacto,
    svox2,
    tensorf,
)
from volkit.io.format import Format
from volkit.io.meshes import mesh_file
from volkit.io.splats import antimatter_splat, compressed_ply, ksplat, sog, spz
from volkit.io.splats import csv as splat_csv
from volkit.io.splats import gltf as splat_gltf
from volkit.io.splats import ply as splat_ply
from volkit.io.splats.spz import SpzFrame
from volkit.io.volumes import npz as volume
from volkit.io.volumes import nvdb, vdb
from volkit.representations import Representation, SceneConfig
from volkit.representations.kinds import WRAPPERS, plug_ins

__all__ = ["FORMATS", "check_target", "describe", "format_for", "load", "plug_in_formats", "register_format", "save"]

ROWS = (
    native.FORMAT,
    nerf_checkpoint.FORMAT,
    nerfacto.FORMAT,
    instant_ngp.FORMAT,
    dvgo.FORMAT,
    kplanes.FORMAT,
    tensorf.FORMAT,
    volume.FORMAT,
    vdb.FORMAT,
    nvdb.FORMAT,
    svox2.FORMAT,
    analytic_scene.FORMAT,
    compressed_ply.FORMAT,
    splat_ply.FORMAT,
    spz.FORMAT,
    sog.FORMAT,
    antimatter_splat.FORMAT,
    ksplat.FORMAT,
    mesh_file.GLTF,
    splat_gltf.FORMAT,
    splat_csv.FORMAT,
    mesh_file.OBJ,
    mesh_file.PLY,
    mesh_file.STL,
    mesh_file.USD,
)
FORMATS: dict[str, Format] = {row.name: row for row in ROWS}
PLUG_INS = "volkit.formats"  # entry points: the name of a format, and its row


def register_format(row: Format) -> Format:
    """Add a format to the table, after those that are there; ValueError where the name is taken.

    An installed package needs no call: with the entry point `my_format = my_package:MY_FORMAT` in its group
    `volkit.formats` the row is found when no other reads, or writes, a file.
    """
    if FORMATS.setdefault(row.name, row) is not row:
        raise ValueError(f"format '{row.name}': is in the table already; choose another name")
    return row


def plug_in_formats() -> list[Format]:
    """The rows that installed packages add, which join the table."""
    found = []
    for plug_in, row in plug_ins(PLUG_INS):
        if not isinstance(row, Format):
            raise ValueError(f"plug-in {plug_in.value}: is no volkit.io.Format, but {type(row).__name__}")
        found.append(FORMATS[row.name] if row.name in FORMATS else register_format(row))
    return found


def load(path: Path | str, spz_frame: SpzFrame = "rub") -> Representation:
    """Read a scene file of any format: by content first, by suffix second. FormatError names file, fact and fix.

    `spz_frame` says which frame an .spz holds, which the file need not say.
    """
    path = Path(path)
    if not path.exists():
        raise FormatError(path, "no such file", "check the path")
    if path.is_dir():
        raise FormatError(path, "is a folder, not a scene file", "name a file; datasets are for fit and compare")
    readable = [row for row in FORMATS.values() if row.read is not None]
    named = [row for row in readable if path.name.lower().endswith(row.suffixes)]
    # A row that the suffix names is asked first, so that the usual case opens the file once; plug-ins when all refused.
    for rows in (named, (row for row in readable if row not in named), (row for row in plug_in_formats() if row.read)):
        for row in rows:
            if row.sniff(path):
                return _read(_framed(row, spz_frame), path)
    readable = [row for row in FORMATS.values() if row.read is not None]
    if named := [row for row in readable if path.name.lower().endswith(row.suffixes)]:
        return _read(_framed(named[0], spz_frame), path)
    suffixes = ", ".join(suffix for row in readable for suffix in row.suffixes)
    raise FormatError(path, "is in no format that is known here", f"give one of {suffixes}")


def save(
    representation: Representation,
    path: Path | str,
    format: str | None = None,
    spz_frame: SpzFrame = "rub",
    frame: Frame | Literal["auto"] = "auto",
) -> None:
    """Write a scene; `format` names a row of the table, by default the suffix does. Never leaves half a file.

    `frame` says in which axes the file's coordinates are; auto: in those that the format demands, else in the scene's.
    """
    path = Path(path)
    raw = frame in ("zup", "ydown")  # an .spz in axes that are not its own holds coordinates as they are
    row = _framed(_writer(path, representation.config.kind, format), "ply" if raw else spz_frame)
    assert row.write is not None
    row.write(representation.turned_view((row.frame or representation.frame) if frame == "auto" else frame), path)


def check_target(path: Path | str, kind: str, format: str | None = None) -> None:
    """Raise the FormatError with which `save` would fail, before the work is done: no such format, no such place."""
    _writer(Path(path), kind, format)
    check_writable(path)


def _writer(path: Path, kind: str, format: str | None) -> Format:
    row = format_for(path, format, kind)
    if row.write is None:
        raise FormatError(path, f"the format {row.name} can only be read", f"write {_writable(kind)}")
    if not row.can_hold(kind):
        fix = f"write {_writable(kind)}"
        if kind == SceneConfig.kind:
            raise FormatError(path, "cannot hold a field of your own", "distil it into a kind such as hash_grid first")
        if kind in WRAPPERS:
            raise FormatError(path, f"the format {row.name} cannot hold a scene that is {kind} of others",
                              f"{fix}, or distil it into one of {', '.join(row.holds)} first")  # fmt: skip
        raise FormatError(path, f"the format {row.name} cannot hold {kind}", fix)
    row.check_needs(path)
    return row


def format_for(path: Path, name: str | None = None, kind: str | None = None) -> Format:
    """The format by name, or by the path's suffix; of several by one suffix the first that holds the kind."""
    if name is not None:
        if name not in FORMATS:
            plug_in_formats()
        if name not in FORMATS:
            raise FormatError(path, f"there is no format '{name}'", f"known: {', '.join(FORMATS)}")
        return FORMATS[name]
    named = [row for row in FORMATS.values() if path.name.lower().endswith(row.suffixes)]
    if not any(row.can_hold(kind or "") for row in named):
        named += [row for row in plug_in_formats() if path.name.lower().endswith(row.suffixes)]
    if named:
        return next((row for row in named if row.can_hold(kind or "")), named[0])
    suffixes = ", ".join(dict.fromkeys(suffix for row in FORMATS.values() for suffix in row.suffixes))
    raise FormatError(path, f"the suffix '{path.suffix}' names no format", f"use one of {suffixes}")


def describe() -> list[dict[str, Any]]:
    """One row per format: name, suffixes, whether it is read and written, kinds, what survives."""
    plug_in_formats()
    return [
        {
            "name": row.name,
            "suffixes": list(row.suffixes),
            "reads": row.read is not None,
            "writes": row.write is not None,
            "holds": list(row.holds),
            "frame": row.frame,
            "keeps": row.keeps,
        }
        for row in FORMATS.values()
    ]


def _framed(row: Format, spz_frame: SpzFrame) -> Format:
    return spz.format_in(spz_frame) if row is spz.FORMAT else row


def _read(row: Format, path: Path) -> Representation:
    assert row.read is not None
    row.check_needs(path)
    return row.read(path)


def _writable(kind: str) -> str:
    rows = [row for row in FORMATS.values() if row.write is not None and row.can_hold(kind)]
    return " or ".join(suffix for row in rows for suffix in row.suffixes) or "another kind"
