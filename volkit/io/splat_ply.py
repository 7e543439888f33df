"""INRIA's `.ply` of Gaussian splats, and what its descendants made of it; the file itself is read by plyfile.

Columns: x y z, nx ny nz (zeros), f_dc_0..2, f_rest_* (channel by channel), opacity, scale_0..2 (logarithms), rot_0..3
(w x y z), all before activation. Accepted besides: any property types, orders, byte orders and text; fewer or no
f_rest (degree 0 to 4); no normals; two scales (2DGS); uchar red, green, blue for f_dc (nerfstudio); mode tags in
comments (`SplatRenderMode: mip|2dgs`, `antialiased 1`); further columns, which are kept with their types.
Source: graphdeco-inria/gaussian-splatting `scene/gaussian_model.py`, save_ply and load_ply.
"""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from plyfile import PlyData, PlyElement, PlyParseError

from volkit.geometry import Domain, sh_count
from volkit.geometry.spherical_harmonics import C0
from volkit.io.atomic import written_whole
from volkit.io.format import Format, FormatError
from volkit.representations.splat_extent import core
from volkit.representations.splats import Splats, SplatsConfig
from volkit.typing import Tensor

__all__ = ["FORMAT"]

HEADER = 1 << 16  # bytes in which a header must end
MODES = re.compile(r"SplatRenderMode:\s*(\w+)|antialiased\s+(\d)", re.IGNORECASE)
PLACED = ("x", "y", "z", "opacity", "rot_0", "rot_1", "rot_2", "rot_3", "scale_0", "scale_1")


def sniff(path: Path) -> bool:
    """Whether the file is a `.ply` whose header names a splat's columns."""
    try:
        with path.open("rb") as file:
            head = file.read(HEADER)
    except OSError:
        return False
    return head.startswith(b"ply") and all(f" {name}".encode() in head for name in PLACED)


def read(path: Path) -> Splats:
    """Splats with every column of the file; FormatError for damaged files and those that lie about their size."""
    vertex, comments = _vertices(path)
    names = [p.name for p in vertex.properties]
    missing = [name for name in PLACED if name not in names]
    if missing:
        raise FormatError(path, f"has no column {missing[0]}: not Gaussian splats", "give a .ply of splats")
    rest = [name for name in names if name.startswith("f_rest_")]
    degree = math.isqrt(len(rest) // 3 + 1) - 1
    if 3 * (sh_count(degree) - 1) != len(rest) or degree > 4:
        raise FormatError(path, f"has {len(rest)} columns f_rest, which make no degree", "0, 9, 24, 45 or 72 do")
    tags = [match.groups() for match in map(MODES.search, comments) if match]
    mip = any((mode or "").lower() == "mip" or aliased == "1" for mode, aliased in tags)
    known = {*PLACED, *rest, "scale_2", "f_dc_0", "f_dc_1", "f_dc_2", "red", "green", "blue"}
    normals = {"nx", "ny", "nz"} & {n for n in names if not np.any(vertex.data[n])}
    extras = [p for p in vertex.properties if p.name not in known | normals]
    if any(not hasattr(p, "val_dtype") or hasattr(p, "len_dtype") for p in extras):
        raise FormatError(path, "has a column of lists", "write one number a splat and column")
    config = SplatsConfig(
        len(vertex.data), degree, mip, surfels="scale_2" not in names,
        extras=tuple(f"{p.name}:{vertex.data.dtype[p.name].newbyteorder('=').str[1:]}" for p in extras),
    )  # fmt: skip
    columns = _columns(vertex.data, names, rest, path)
    splats = Splats(config, Domain.cube(1.0), torch.Generator())
    splats.replaced(columns)
    splats.domain = core(splats)
    for extra, p in zip(config.extras, extras, strict=True):
        splats.register_buffer(f"extra_{extra}", torch.from_numpy(vertex.data[p.name].astype(np.float64)))
    splats.provenance = {"format": "ply", "comments": list(comments)}
    return splats


def _vertices(path: Path) -> tuple[PlyElement, list[str]]:
    """The one element, once the header's promise fits the file."""
    try:
        with path.open("rb") as file:
            if b"end_header" not in file.read(HEADER):
                raise FormatError(path, f"has no end of its header in {HEADER} bytes", "copy it again")
            file.seek(0)
            header = PlyData._parse_header(file)
            body = path.stat().st_size - file.tell()
        if [element.name for element in header.elements] != ["vertex"]:
            found = ", ".join(element.name for element in header.elements)
            raise FormatError(path, f"holds the elements {found}", "splats are one element, vertex")
        (element,) = header.elements
        if not header.text:
            promised = element.count * element.dtype().itemsize
            if promised != body:
                fact = f"promises {element.count} splats, {promised} bytes, and holds {body} bytes"
                raise FormatError(path, fact, "copy or write it again")
        elif element.count > body:
            raise FormatError(path, f"promises {element.count} splats in {body} bytes", "copy or write it again")
        with path.open("rb") as file:
            data = PlyData.read(file, mmap=False)  # pyright: ignore[reportArgumentType]
    except (PlyParseError, UnicodeDecodeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(path, f"is no .ply that can be read: {error}", "copy or write it again") from None
    return data["vertex"], [*data.comments, *data["vertex"].comments]


def _columns(data: np.ndarray, names: list[str], rest: list[str], path: Path) -> dict[str, Tensor]:
    stacked = lambda *wanted: torch.from_numpy(  # noqa: E731
        np.stack([data[name].astype(np.float32) for name in wanted], -1)
    )
    if "f_dc_0" in names:
        constant = stacked("f_dc_0", "f_dc_1", "f_dc_2")
    elif "red" in names:
        constant = (stacked("red", "green", "blue") / 255.0 - 0.5) / C0
    else:
        raise FormatError(path, "has no colour: neither f_dc_0 nor red", "give a .ply of splats")
    count, basis = len(data), len(rest) // 3
    # f_rest_{channel * basis + k}: channel by channel, ours basis by basis.
    higher = stacked(*(f"f_rest_{k}" for k in range(len(rest)))) if rest else constant.new_zeros(count, 0)
    return {
        "means": stacked("x", "y", "z"),
        "quaternions": stacked("rot_0", "rot_1", "rot_2", "rot_3"),
        "log_scales": stacked(*(name for name in ("scale_0", "scale_1", "scale_2") if name in names)),
        "logits": stacked("opacity")[:, 0],
        "sh_dc": constant[:, None],
        "sh_rest": higher.view(count, 3, basis).transpose(1, 2).contiguous(),
    }


def write(representation: Any, path: Path) -> None:
    """Write INRIA's columns in its order, in the world frame, then further columns as they were."""
    splats: Splats = representation
    columns, count = splats.in_world(), len(splats)
    values: dict[str, Tensor] = dict(zip("xyz", columns["means"].unbind(-1), strict=True))
    values |= {name: columns["logits"].new_zeros(count) for name in ("nx", "ny", "nz")}
    values |= {f"f_dc_{k}": value for k, value in enumerate(columns["sh_dc"][:, 0].unbind(-1))}
    values |= {f"f_rest_{k}": v for k, v in enumerate(columns["sh_rest"].transpose(1, 2).flatten(1).unbind(-1))}
    values |= {"opacity": columns["logits"]}
    values |= {f"scale_{k}": value for k, value in enumerate(columns["log_scales"].unbind(-1))}
    values |= {f"rot_{k}": value for k, value in enumerate(columns["quaternions"].unbind(-1))}
    kinds = dict.fromkeys(values, "f4")
    for extra in splats.config.extras:
        name, kinds_of = extra.rsplit(":", 1)
        values[name], kinds[name] = getattr(splats, f"extra_{extra}"), kinds_of
    table = np.empty(count, dtype=[(name, f"<{kind}") for name, kind in kinds.items()])
    for name, value in values.items():
        table[name] = value.detach().cpu().numpy()
    comments = ["SplatRenderMode: mip"] if splats.config.mip else []
    with written_whole(path) as place:
        PlyData([PlyElement.describe(table, "vertex")], byte_order="<", comments=comments).write(place)


FORMAT = Format(
    name="ply",
    suffixes=(".ply",),
    holds=("splats",),
    sniff=sniff,
    read=read,
    write=write,
    keeps="every column bit for bit, mip mode; not the cameras; the frame is baked in",
)
