"""The table of file formats, and the two verbs that use it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from volkit.choices import Frame, SpzFrame
from volkit.files.atomic import check_writable
from volkit.files.errors import FormatError, TargetError
from volkit.io.format import Format, doors
from volkit.plug_ins import plug_ins

if TYPE_CHECKING:  # the table is told without what reads and writes: help and `formats` do not wait for arrays either
    import numpy as np

    from volkit.geometry.frames import Similarity
    from volkit.io.splats.columns import SplatColumns
    from volkit.representations import Representation

__all__ = [
    "EVERY_KIND", "FORMATS", "FileAxes", "check_target", "describe", "format_for", "is_scene", "load",
    "plug_in_formats", "read_file", "reader_for", "register_format", "save", "write_columns", "writer_for",
]  # fmt: skip

EVERY_KIND = (
    "hash_grid", "voxels", "tensor_vm", "tensor_cp", "planes", "mlp", "splats", "mesh", "analytic", "voxel_features",
    "edited", "placed", "composed",
)  # fmt: skip
SPLATS, MESH, VOXELS = ("splats",), ("mesh",), ("voxels",)
# Name, suffixes, kinds, what is up, where its functions are, what it keeps. Modules are imported when they are used.
ROWS = (
    Format("volkit", (".safetensors",), EVERY_KIND, None, *doors("fields.native"),
           "every tensor bit for bit, frame, occupancy, cameras, provenance", every_kind=True),
    Format("nerf-pytorch", (".ckpt",), ("mlp",), "zup", *doors("fields.nerf_checkpoint", write=None),
           "fine network exactly; not the coarse one, cameras"),
    Format("nerfacto", (".ckpt",), ("hash_grid",), "zup", *doors("fields.nerfacto", write=None),
           "table and networks exactly, frame, mean appearance; not proposal networks, cameras"),
    Format("instant-ngp", (".ingp", ".msgpack"), ("hash_grid",), "zup", *doors("fields.instant_ngp"),
           "table and networks in 16 bits, occupancy, frame, cameras, provenance; not the optimiser's state"),
    Format("dvgo", (".tar",), ("voxel_features",), "zup", *doors("fields.dvgo", write=None),
           "grids, network and mask exactly; not cameras"),
    Format("k-planes", (".pth",), ("planes",), "zup", *doors("fields.kplanes", write=None),
           "planes and networks exactly; not proposal networks, cameras"),
    Format("tensorf", (".th",), ("tensor_vm", "tensor_cp"), "zup", *doors("fields.tensorf"),
           "factors and network exactly, occupancy, frame, provenance; not cameras"),
    Format("volume", (".volume.npz",), VOXELS, "zup", *doors("volumes.npz"),
           "densities and harmonics exactly, frame, provenance; not cameras, colours of empty cells"),
    Format("openvdb", (".vdb",), VOXELS, "zup", *doors("volumes.vdb"),
           "densities and harmonics in float32, frame, provenance; not cameras, colours of empty cells",
           needs=("openvdb", "pyopenvdb"), offer="install python3-openvdb of Debian, or openvdb of conda-forge"),
    Format("nanovdb", (".nvdb",), VOXELS, "zup", *doors("volumes.nvdb"),
           "densities and harmonics in float32, frame; not cameras, colours of empty cells, provenance",
           needs=("warp",), extra="nanovdb"),
    Format("svox2", (".npz",), VOXELS, "zup", *doors("fields.svox2"),
           "links and densities exactly, harmonics in 16 bits, frame, provenance; not cameras"),
    Format("analytic scene", (".json",), ("analytic",), "zup", *doors("fields.analytic_scene", write=None),
           "shapes, textures, light, cameras"),
    Format("compressed_ply", (".compressed.ply",), SPLATS, None, *doors("splats.compressed_ply"),
           "positions and log scales in 10 or 11 bits of a chunk of 256, the rest in bytes, degree 3, provenance; "
           "not order, mip mode, surfels", columns=True, sorts=True),
    Format("ply", (".ply",), SPLATS, None, *doors("splats.ply"),
           "every column bit for bit, further ones too, mip mode, surfels, provenance", columns=True),
    Format("spz", (".spz",), SPLATS, "yup", *doors("splats.spz"),
           "positions to 1/4096, the rest in bytes, degree 4 within [-1, 1], mip mode; not surfels, provenance",
           columns=True),
    Format("sog", (".sog", "meta.json"), SPLATS, None, *doors("splats.sog"),
           "positions in 16 bits, the rest in tables of 256, degree 3 in a palette, mip mode, surfels, provenance; "
           "not order", columns=True, sorts=True),
    Format("splat", (".splat",), SPLATS, None, *doors("splats.antimatter_splat"),
           "positions and scales in float32, the rest in bytes; "
           "not order, harmonics, mip mode, surfels, provenance", columns=True, sorts=True),
    Format("ksplat", (".ksplat",), SPLATS, None, *doors("splats.ksplat"),
           "positions to 1/13000, the rest in 16 bits, colours in bytes, degree 2; "
           "not order, mip mode, surfels, provenance", columns=True, sorts=True),
    Format("gltf", (".glb", ".gltf"), MESH, "yup",
           *doors("meshes.mesh_file", "meshes.gltf_container.sniff_gltf", "read_gltf", "write_mesh"),
           "shape, texture or vertex colours, roughness, metalness, provenance; not light, motion"),
    Format("splat_gltf", (".glb", ".gltf"), SPLATS, "yup", *doors("splats.gltf"),
           "every splat in float32, degree 3, provenance; not mip mode, surfels", columns=True),
    Format("csv", (".csv",), SPLATS, None, *doors("splats.csv", None, None),
           "every splat in nine digits; not mip mode, provenance", columns=True),
    Format("obj", (".obj",), MESH, "yup", *doors("meshes.mesh_file", "sniff_obj", "read_obj", "write_mesh"),
           "shape, texture or vertex colours, provenance; not roughness, metalness"),
    Format("mesh_ply", (".ply",), MESH, "zup", *doors("meshes.mesh_file", "sniff_ply", "read_ply", "write_mesh"),
           "shape, vertex colours, provenance; not textures"),
    Format("stl", (".stl",), MESH, "zup", *doors("meshes.mesh_file", "sniff_stl", "read_stl", "write_mesh"),
           "shape; not colours, provenance"),
    Format("usd", (".usdz", ".usdc", ".usda", ".usd"), (*MESH, *SPLATS), "yup",
           *doors("meshes.mesh_file", "sniff_usd", "read_usd", "write_usd"),
           "shape, texture or vertex colours, every splat in float32, degree 4, provenance; "
           "not roughness, metalness, mip mode, surfels", needs=("pxr",), extra="usd"),
)  # fmt: skip
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


def is_scene(path: Path) -> bool:
    """Whether a path is a scene file; everything else is taken for a dataset. FormatError when it does not exist."""
    if not path.exists():
        raise FormatError(path, "no such file or folder", "check the path")
    if not path.is_file():
        return False
    # A damaged scene file is still one by its name: its own reader says best what is wrong with it.
    named = any(path.name.lower().endswith(row.suffixes) and ".json" not in row.suffixes for row in FORMATS.values())
    if named or any(row.sniff(path) for row in FORMATS.values()):
        return True
    return any(path.name.lower().endswith(row.suffixes) or row.sniff(path) for row in plug_in_formats())


def load(path: Path | str, spz_frame: SpzFrame = "rub") -> "Representation":
    """Read a scene file of any format: by content first, by suffix second. FormatError names file, fact and fix.

    `spz_frame` says which frame an .spz holds, which the file need not say.
    """
    path = Path(path)
    from volkit.io.splats.columns import SplatColumns

    found = read_file(reader_for(path, spz_frame), path)
    if isinstance(found, SplatColumns):
        from volkit.io.splats.scene import splats_of

        return splats_of(found)
    return found


def reader_for(path: Path, spz_frame: SpzFrame = "rub") -> Format:
    """The row that reads a file, an .spz in these axes; FormatError where there is no file, or none knows it."""
    if not path.exists():
        raise FormatError(path, "no such file", "check the path")
    if path.is_dir():
        raise FormatError(path, "is a folder, not a scene file", "name a file; datasets are for fit and compare")
    readable = [row for row in FORMATS.values() if row.read is not None]
    named = _named(path, readable)
    # A row that the suffix names is asked first, so that the usual case opens the file once; plug-ins when all refused.
    for rows in (named, (row for row in readable if row not in named), (row for row in plug_in_formats() if row.read)):
        for row in rows:
            if row.sniff(path):
                return _framed(row, spz_frame)
    if named := _named(path, [row for row in FORMATS.values() if row.read is not None]):
        return _framed(named[0], spz_frame)
    raise FormatError(path, "is in no format that is known here", f"give one of {_suffixes(writable=False)}")


def _named(path: Path, rows: Sequence[Format]) -> list[Format]:
    """Rows whose suffix a path has, the longest first: a `meta.json` is looked at before any other `.json`."""
    name = path.name.lower()
    length = {row.name: max((len(s) for s in row.suffixes if name.endswith(s)), default=0) for row in rows}
    return sorted((row for row in rows if length[row.name]), key=lambda row: -length[row.name])


def read_file(row: Format, path: Path) -> "Representation | SplatColumns":
    """What a row reads; FormatError where what it needs is not installed."""
    assert row.read is not None
    row.check_needs(path)
    return row.read(path)


def save(
    representation: "Representation",
    path: Path | str,
    format: str | None = None,
    spz_frame: SpzFrame = "rub",
    frame: Frame | Literal["auto"] = "auto",
) -> None:
    """Write a scene; `format` names a row of the table, by default the suffix does. Never leaves half a file.

    `frame` says in which axes the file's coordinates are; auto: in those that the format demands, else in the scene's.
    """
    path, axes = Path(path), FileAxes(frame, spz_frame)
    row = writer_for(path, representation.config.kind, format)
    if row.columns:
        from volkit.io.splats.scene import columns_of_splats

        write_columns(columns_of_splats(representation), path, row, axes)  # pyright: ignore[reportArgumentType]
        return
    assert row.write is not None
    row.write(representation.view_in_frame(axes.held_by(row) or representation.frame), path)


@dataclass(frozen=True)
class FileAxes:
    """In which axes a file was written: as `frame` says, of an .spz as `spz_frame` says, else as its format has it."""

    frame: Frame | Literal["auto"] = "auto"
    spz_frame: SpzFrame = "rub"

    @property
    def raw(self) -> bool:
        """Whether an .spz holds coordinates as they are."""
        return self.spz_frame == "ply" or self.frame in ("zup", "ydown")

    @property
    def spz(self) -> SpzFrame:
        """The axes of an .spz; in axes that are not its own it holds coordinates as they are."""
        return "ply" if self.raw else self.spz_frame

    def held_by(self, row: Format) -> Frame | None:
        """The frame that a file of a format is written in; None: the scene's own."""
        return self.frame if self.frame != "auto" else _framed(row, self.spz).frame

    def back(self, kind: str, made: Frame, written: Frame, target: Path) -> "Similarity":
        """The world of what was made, a `kind` in the frame `made`, from that in which the file's reader puts it, the
        frame `written`: the reader may know nothing of that world."""
        from volkit.geometry.frames import Similarity, turn

        row = format_for(target, kind=kind)
        taken_for = None if row.name == "spz" and self.raw else row.frame
        if row.name == "usd" and self.frame == "zup":
            taken_for = "zup"  # which a stage says; +Y is all else that it can say
        held = self.frame if self.frame != "auto" else taken_for or made
        file_from_read = Similarity() if taken_for is None else turn(taken_for, written)
        return turn(made, held) @ file_from_read


def write_columns(splats: "SplatColumns", path: Path, row: Format, axes: FileAxes) -> "np.ndarray | None":
    """Write columns by a row that takes them, in these axes; answers the order of the file's splats, None: as given."""
    write = _framed(row, axes.spz).write
    assert write is not None
    return write(splats.in_frame(axes.held_by(row) or splats.frame), path)


def check_target(path: Path | str, kind: str, format: str | None = None) -> None:
    """Raise the FormatError with which `save` would fail, before the work is done: no such format, no such place."""
    writer_for(Path(path), kind, format)
    check_writable(path)


def writer_for(path: Path, kind: str, format: str | None = None) -> Format:
    """The row that writes a kind to a path; TargetError where there is none, FormatError where it is not installed."""
    row = format_for(path, format, kind)
    if row.write is None:
        raise TargetError(path, f"the format {row.name} can only be read", f"write {_writable(kind)}")
    if not row.can_hold(kind):
        from volkit.representations.kinds import WRAPPERS, SceneConfig

        fix = f"write {_writable(kind)}"
        if kind == SceneConfig.kind:
            raise TargetError(path, "cannot hold a field of your own", "distil it into a kind such as hash_grid first")
        if kind in WRAPPERS:
            raise TargetError(path, f"the format {row.name} cannot hold a scene that is {kind} of others",
                              f"{fix}, or distil it into one of {', '.join(row.holds)} first")  # fmt: skip
        raise TargetError(path, f"the format {row.name} cannot hold {kind}", fix)
    row.check_needs(path)
    return row


def format_for(path: Path, name: str | None = None, kind: str | None = None) -> Format:
    """The format to write by name, or by the path's suffix; of several by one suffix the first that holds the kind."""
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
    said = f"the suffix '{path.suffix}' names no format" if path.suffix else "has no suffix to name its format"
    raise TargetError(path, said, f"use one of {_suffixes(writable=True)}")


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
    """The row; that of .spz with a reader and a writer of these axes."""
    if row.name != "spz":
        return row
    from volkit.io.splats import spz

    reader, writer = partial(spz.read, frame=spz_frame), partial(spz.write, frame=spz_frame)
    return replace(row, frame=None if spz_frame == "ply" else row.frame, read=reader, write=writer)


def _suffixes(*, writable: bool) -> str:
    rows = [row for row in FORMATS.values() if (row.write if writable else row.read) is not None]
    return ", ".join(dict.fromkeys(suffix for row in rows for suffix in row.suffixes))


def _writable(kind: str) -> str:
    rows = [row for row in FORMATS.values() if row.write is not None and row.can_hold(kind)]
    return " or ".join(suffix for row in rows for suffix in row.suffixes) or "another kind"
