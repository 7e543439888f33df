"""The table of file formats, and the two verbs that use it."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from volkit.choices import Frame, SpzFrame
from volkit.files.atomic import check_writable
from volkit.files.errors import FormatError, TargetError
from volkit.io.format import Format, doors
from volkit.plug_ins import plug_ins

if TYPE_CHECKING:
    from volkit.representations import Representation

__all__ = [
    "EVERY_KIND", "FORMATS", "check_target", "describe", "format_for", "load", "plug_in_formats", "register_format",
    "save",
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
           "not order, mip mode, surfels", sorts=True),
    Format("ply", (".ply",), SPLATS, None, *doors("splats.ply"),
           "every column bit for bit, further ones too, mip mode, surfels, provenance"),
    Format("spz", (".spz",), SPLATS, "yup", *doors("splats.spz"),
           "positions to 1/4096, the rest in bytes, degree 4 within [-1, 1], mip mode; not surfels, provenance"),
    Format("sog", (".sog", "meta.json"), SPLATS, None, *doors("splats.sog"),
           "positions in 16 bits, the rest in tables of 256, degree 3 in a palette, mip mode, surfels, provenance; "
           "not order", sorts=True),
    Format("splat", (".splat",), SPLATS, None, *doors("splats.antimatter_splat"),
           "positions and scales in float32, the rest in bytes; "
           "not order, harmonics, mip mode, surfels, provenance", sorts=True),
    Format("ksplat", (".ksplat",), SPLATS, None, *doors("splats.ksplat"),
           "positions to 1/13000, the rest in 16 bits, colours in bytes, degree 2; "
           "not order, mip mode, surfels, provenance", sorts=True),
    Format("gltf", (".glb", ".gltf"), MESH, "yup", *doors("meshes.mesh_file", "sniff_gltf", "read_gltf", "write_mesh"),
           "shape, texture or vertex colours, roughness, metalness, provenance; not light, motion"),
    Format("splat_gltf", (".glb", ".gltf"), SPLATS, "yup", *doors("splats.gltf"),
           "every splat in float32, degree 3, provenance; not mip mode, surfels"),
    Format("csv", (".csv",), SPLATS, None, *doors("splats.csv", None, None),
           "every splat in nine digits; not mip mode, provenance"),
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


def load(path: Path | str, spz_frame: SpzFrame = "rub") -> "Representation":
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
    raise FormatError(path, "is in no format that is known here", f"give one of {_suffixes(writable=False)}")


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
    path = Path(path)
    raw = frame in ("zup", "ydown")  # an .spz in axes that are not its own holds coordinates as they are
    row = _framed(_writer(path, representation.config.kind, format), "ply" if raw else spz_frame)
    assert row.write is not None
    row.write(representation.view_in_frame((row.frame or representation.frame) if frame == "auto" else frame), path)


def check_target(path: Path | str, kind: str, format: str | None = None) -> None:
    """Raise the FormatError with which `save` would fail, before the work is done: no such format, no such place."""
    _writer(Path(path), kind, format)
    check_writable(path)


def _writer(path: Path, kind: str, format: str | None) -> Format:
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


def _read(row: Format, path: Path) -> "Representation":
    assert row.read is not None
    row.check_needs(path)
    return row.read(path)


def _writable(kind: str) -> str:
    rows = [row for row in FORMATS.values() if row.write is not None and row.can_hold(kind)]
    return " or ".join(suffix for row in rows for suffix in row.suffixes) or "another kind"
