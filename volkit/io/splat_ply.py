"""INRIA's `.ply` of Gaussian splats, and what its descendants made of it; the file itself is read by plyfile.

Columns: x y z, nx ny nz (zeros), f_dc_0..2, f_rest_* (channel by channel), opacity, scale_0..2 (logarithms), rot_0..3
(w x y z), all before activation. Accepted besides: any property types, orders, byte orders and text; fewer or no
f_rest (degree 0 to 4); no normals; two scales (2DGS); uchar red, green, blue for f_dc (nerfstudio); mode tags in
comments (`SplatRenderMode: mip|2dgs`, `antialiased 1`); further columns, which are kept with their types.
Source: graphdeco-inria/gaussian-splatting `scene/gaussian_model.py`, save_ply and load_ply.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from plyfile import PlyData, PlyElement

from volkit.geometry import sh_count
from volkit.geometry.spherical_harmonics import C0
from volkit.io.atomic import written_whole
from volkit.io.format import Format, FormatError
from volkit.io.ply_file import head_of, matrix, read_elements
from volkit.io.record import comments_of, record_in, record_of
from volkit.io.splat_columns import splats_of
from volkit.representations.representation import Representation
from volkit.representations.splats import Splats
from volkit.typing import Tensor

__all__ = ["FORMAT"]

MODES = re.compile(r"SplatRenderMode:\s*(\w+)|antialiased\s+(\d)", re.IGNORECASE)
CONSTANT, BYTES = ("f_dc_0", "f_dc_1", "f_dc_2"), ("red", "green", "blue")
BLOCK = 1 << 14  # splats that are made rows at a time, in the cache
PLACED = ("x", "y", "z", "opacity", "rot_0", "rot_1", "rot_2", "rot_3", "scale_0", "scale_1")


def sniff(path: Path) -> bool:
    """Whether the file is a `.ply` whose header names a splat's columns."""
    head = head_of(path)
    return bool(head) and all(f" {name}".encode() in head for name in PLACED)


def read(path: Path) -> Splats:
    """Splats with every column of the file; FormatError for damaged files and those that lie about their size."""
    elements, comments = read_elements(path)
    if list(elements) != ["vertex"]:
        raise FormatError(path, f"holds the elements {', '.join(elements)}", "splats are one element, vertex")
    table = elements["vertex"]
    names = list(table.dtype.names or ())
    rest = [name for name in names if name.startswith("f_rest_")]
    degree = math.isqrt(len(rest) // 3 + 1) - 1
    if 3 * (sh_count(degree) - 1) != len(rest) or degree > 4:
        raise FormatError(path, f"has {len(rest)} columns f_rest, which make no degree", "0, 9, 24, 45 or 72 do")
    constant = CONSTANT if "red" not in names or "f_dc_0" in names else BYTES
    missing = [n for n in (*PLACED, *constant, *(f"f_rest_{k}" for k in range(len(rest)))) if n not in names]
    if missing:
        raise FormatError(path, f"has no column {missing[0]}: not Gaussian splats", "give a .ply of splats")
    tags = [match.groups() for match in map(MODES.search, comments) if match]
    mip = any((mode or "").lower() == "mip" or aliased == "1" for mode, aliased in tags)
    known = {*PLACED, *rest, "scale_2", *CONSTANT, *BYTES}
    normals = {name for name in ("nx", "ny", "nz") if name in names and not np.any(table[name])}
    extras = [name for name in names if name not in known | normals]
    if odd := [name for name in extras if "." in name]:
        raise FormatError(path, f"has a column '{odd[0]}'", "no name of a column that is kept may hold a dot")
    kinds = tuple(f"{name}:{table.dtype[name].newbyteorder('=').str[1:]}" for name in extras)
    columns = _columns(table, names, len(rest) // 3)
    told = record_in(comments) | {"format": "ply", "comments": list(comments)}
    splats = splats_of(columns, mip=mip, extras=kinds, provenance=told)
    for kind, name in zip(kinds, extras, strict=True):
        splats.register_buffer(f"extra_{kind}", torch.from_numpy(table[name].astype(np.float64)))
    return splats


def _columns(table: np.ndarray, names: list[str], basis: int) -> dict[str, Tensor]:
    whole = torch.from_numpy(matrix(table, names, "<f4"))

    def stacked(wanted: Sequence[str]) -> Tensor:
        first = names.index(wanted[0])
        if names[first : first + len(wanted)] == list(wanted):
            return whole[:, first : first + len(wanted)]
        return whole[:, [names.index(name) for name in wanted]]

    constant = stacked(CONSTANT) if "f_dc_0" in names else (stacked(BYTES) / 255.0 - 0.5) / C0
    # f_rest_{channel * basis + k}: channel by channel, ours basis by basis.
    higher = stacked([f"f_rest_{k}" for k in range(3 * basis)]) if basis else whole[:, :0]
    return {
        "means": stacked("xyz"),
        "quaternions": stacked(("rot_0", "rot_1", "rot_2", "rot_3")),
        "log_scales": stacked([name for name in ("scale_0", "scale_1", "scale_2") if name in names]),
        "logits": stacked(("opacity",))[:, 0],
        "sh_dc": constant[:, None],
        "sh_rest": higher.unflatten(1, (3, basis)).transpose(1, 2),
    }


def write(representation: Representation, path: Path) -> None:
    """Write INRIA's columns in its order, in the world frame, then further columns as they were."""
    assert isinstance(representation, Splats)
    extras, rest, scales = _extras(representation), representation.sh_rest.shape[1], representation.log_scales.shape[1]
    names = [
        *"xyz", "nx", "ny", "nz", *CONSTANT, *(f"f_rest_{k}" for k in range(3 * rest)), "opacity",
        *(f"scale_{k}" for k in range(scales)), *(f"rot_{k}" for k in range(4)),
    ]  # fmt: skip
    kinds = [(name, "<f4") for name in names]
    kinds += [(name, f"<{values.dtype.str[1:]}") for name, values in extras.items()]
    comments = ["SplatRenderMode: mip"] if representation.config.mip else []
    comments += comments_of(record_of(representation))
    count = len(representation)
    told = PlyElement.describe(np.broadcast_to(np.zeros(1, kinds), count), "vertex")
    with written_whole(path) as place, place.open("wb") as file:
        file.write(f"{PlyData([told], byte_order='<', comments=comments).header}\n".encode("ascii"))
        for rows in (slice(start, start + BLOCK) for start in range(0, count, BLOCK)):
            floats = _floats(representation.columns_in(rows=rows), len(names))
            if not extras:
                file.write(floats.data)
                continue
            table = np.empty(len(floats), kinds)
            table[names] = floats.view([(name, "<f4") for name in names])[:, 0]
            for name, values in extras.items():
                table[name] = values[rows]
            file.write(table.data)


def _extras(splats: Splats) -> dict[str, np.ndarray]:
    """Further columns with their types, by name."""
    named = {extra: extra.rsplit(":", 1) for extra in splats.config.extras}
    return {name: getattr(splats, f"extra_{extra}").cpu().numpy().astype(kind) for extra, (name, kind) in named.items()}


def _floats(columns: dict[str, Tensor], width: int) -> np.ndarray:
    """Rows of a file but for further columns."""
    means = columns["means"]
    parts = (
        means, means.new_zeros(means.shape), columns["sh_dc"][:, 0], columns["sh_rest"].transpose(1, 2),
        columns["logits"][:, None], columns["log_scales"], columns["quaternions"],
    )  # fmt: skip
    floats = torch.empty(len(means), width)
    for place, part in zip(floats.split([part.shape[1:].numel() for part in parts], 1), parts, strict=True):
        place.unflatten(1, part.shape[1:]).copy_(part)
    return floats.numpy().astype("<f4", copy=False)


FORMAT = Format(
    name="ply",
    suffixes=(".ply",),
    holds=("splats",),
    frame=None,
    sniff=sniff,
    read=read,
    write=write,
    keeps="every column bit for bit, further ones too, mip mode, surfels, provenance",
)
