"""INRIA's `.ply` of Gaussian splats, and what its descendants made of it; the file itself is read by plyfile.

Columns: x y z, nx ny nz (zeros), f_dc_0..2, f_rest_* (channel by channel), opacity, scale_0..2 (logarithms), rot_0..3
(w x y z), all before activation. Accepted besides: any property types, orders, byte orders and text; fewer or no
f_rest (degree 0 to 4); no normals; two scales (2DGS); uchar red, green, blue for f_dc (nerfstudio); mode tags in
comments (`SplatRenderMode: mip|2dgs`, `antialiased 1`); further columns, which are kept with their types.
Source: graphdeco-inria/gaussian-splatting `scene/gaussian_model.py`, save_ply and load_ply.
"""

import math
import re
from functools import partial
from pathlib import Path

import numpy as np
from plyfile import PlyData, PlyElement

from volkit.files.atomic import atomic_write
from volkit.files.errors import FormatError
from volkit.files.ply_file import Table, head_of, matrix, read_elements
from volkit.files.provenance import comments_of, provenance_in, provenance_of
from volkit.geometry.spherical_harmonics import C0, sh_count
from volkit.io.splats.chunked import in_blocks, read_columns_chunked
from volkit.io.splats.columns import SplatColumns, columns_of_file

__all__ = ["read", "sniff", "write"]

MODES = re.compile(r"SplatRenderMode:\s*(\w+)|antialiased\s+(\d)", re.IGNORECASE)
CONSTANT, BYTES = ("f_dc_0", "f_dc_1", "f_dc_2"), ("red", "green", "blue")
NORMALS = ("nx", "ny", "nz")
PLACED = ("x", "y", "z", "opacity", "rot_0", "rot_1", "rot_2", "rot_3", "scale_0", "scale_1")


def sniff(path: Path) -> bool:
    """Whether the file is a `.ply` whose header names a splat's columns."""
    head = head_of(path)
    return bool(head) and all(f" {name}".encode() in head for name in PLACED)


def read(path: Path) -> SplatColumns:
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
    normals = [name for name in NORMALS if name in names]
    columns = _columns(table, len(rest) // 3, normals)
    held = np.count_nonzero(columns.pop("normals"), 0).tolist()
    zeros = {name for name, count in zip(normals, held, strict=True) if not count}
    known = {*PLACED, *rest, "scale_2", *CONSTANT, *BYTES, *zeros}
    extras = [name for name in names if name not in known]
    if odd := [name for name in extras if "." in name]:
        raise FormatError(path, f"has a column '{odd[0]}'", "no name of a column that is kept may hold a dot")
    further = read_columns_chunked(len(table), partial(_further, table, extras)) if extras else {}
    typed = {f"{name}:{table.dtype[name].newbyteorder('=').str[1:]}": values for name, values in further.items()}
    told = provenance_in(comments) | {"format": "ply", "comments": list(comments)}
    return columns_of_file(columns, mip=mip, extras=typed, provenance=told)


def _columns(table: Table, basis: int, normals: list[str]) -> dict[str, np.ndarray]:
    names = list(table.dtype.names or ())
    constant = CONSTANT if "f_dc_0" in names else BYTES
    wanted = {
        "means": "xyz",
        "normals": normals,
        "quaternions": ("rot_0", "rot_1", "rot_2", "rot_3"),
        "log_scales": [name for name in ("scale_0", "scale_1", "scale_2") if name in names],
        "logits": ("opacity",),
        "sh_dc": constant,
        # f_rest_{channel * basis + k}: channel by channel, ours basis by basis.
        "sh_rest": [f"f_rest_{channel * basis + k}" for k in range(basis) for channel in range(3)],
    }
    places = {name: np.array([names.index(one) for one in some], np.intp) for name, some in wanted.items()}

    def taken(rows: slice) -> dict[str, np.ndarray]:
        whole = matrix(table[rows], names, "<f4")
        return {name: whole.take(some, 1, mode="clip") for name, some in places.items()}

    columns = read_columns_chunked(len(table), taken)
    if constant is BYTES:
        columns["sh_dc"] = (columns["sh_dc"] / 255.0 - 0.5) / C0
    shaped = {"logits": columns["logits"][:, 0], "sh_dc": columns["sh_dc"][:, None]}
    return columns | shaped | {"sh_rest": columns["sh_rest"].reshape(len(table), basis, 3)}


def _further(table: Table, names: list[str], rows: slice) -> dict[str, np.ndarray]:
    part = table[rows]
    return {name: part[name].astype(np.float64) for name in names}


def write(splats: SplatColumns, path: Path) -> None:
    """Write INRIA's columns in its order, in the world frame, then further columns as they were."""
    extras, rest, scales = _extras(splats), splats.sh_rest.shape[1], splats.log_scales.shape[1]
    names = [
        *"xyz", "nx", "ny", "nz", *CONSTANT, *(f"f_rest_{k}" for k in range(3 * rest)), "opacity",
        *(f"scale_{k}" for k in range(scales)), *(f"rot_{k}" for k in range(4)),
    ]  # fmt: skip
    kinds = [(name, "<f4") for name in names]
    kinds += [(name, f"<{values.dtype.str[1:]}") for name, values in extras.items()]
    comments = ["SplatRenderMode: mip"] if splats.mip else []
    comments += comments_of(provenance_of(splats))
    count = len(splats)
    told = PlyElement.describe(np.broadcast_to(np.zeros(1, kinds), count), "vertex")
    order = np.arange(3 * rest).reshape(3, rest).T.ravel().argsort()  # basis by basis to channel by channel

    def lines(rows: slice) -> np.ndarray:
        floats = _floats(splats.columns_in(rows=rows), order)
        if not extras:
            return floats
        table = np.empty(len(floats), kinds)
        table[names] = floats.view([(name, "<f4") for name in names])[:, 0]
        for name, values in extras.items():
            table[name] = values[rows]
        return table

    with atomic_write(path) as place, place.open("wb") as file:
        file.write(f"{PlyData([told], byte_order='<', comments=comments).header}\n".encode("ascii"))
        for part in in_blocks(count, lines):
            file.write(part.data)


def _extras(splats: SplatColumns) -> dict[str, np.ndarray]:
    """Further columns with their types, by name."""
    named = {extra: extra.rsplit(":", 1) for extra in splats.extras}
    return {name: splats.extras[extra].astype(kind) for extra, (name, kind) in named.items()}


def _floats(columns: dict[str, np.ndarray], order: np.ndarray) -> np.ndarray:
    """Rows of a file but for further columns."""
    means = columns["means"]
    rest = columns["sh_rest"].reshape(len(means), len(order))
    parts = (
        means, np.zeros_like(means), columns["sh_dc"][:, 0], rest.take(order, 1, mode="clip"),
        columns["logits"][:, None], columns["log_scales"], columns["quaternions"],
    )  # fmt: skip
    return np.concatenate(parts, 1).astype("<f4", copy=False)
