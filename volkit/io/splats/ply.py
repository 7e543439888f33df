"""INRIA's `.ply` of Gaussian splats and its dialects, by plyfile.

Columns: x y z, nx ny nz (zeros), f_dc_0..2, f_rest_* (channel by channel), opacity, scale_0..2 (logarithms), rot_0..3
(w x y z), all before activation. Also read: any types and order of properties, either byte order, text; fewer or no
f_rest (degree 0 to 4); no normals; two scales (2DGS); red, green, blue of any type for f_dc (nerfstudio); positions in
double; `filter_3D` of Mip-Splatting; mode tags in comments (`SplatRenderMode: mip|2dgs`, `antialiased 1`); further
columns, which are kept with their types; further elements, which are left out with a note.
Source: graphdeco-inria/gaussian-splatting `scene/gaussian_model.py`, save_ply and load_ply.
"""

import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from plyfile import PlyData, PlyElement

from volkit.files.atomic import atomic_write
from volkit.files.errors import FormatError
from volkit.files.ply_file import Table, columns_as_matrix, ply_header, read_elements, white_level
from volkit.files.provenance import comments_from_record, provenance_record, record_from_comments
from volkit.geometry.frames import Similarity
from volkit.geometry.spherical_harmonics import sh_count
from volkit.io.splats.columns import (
    SplatColumns,
    columns_from_file,
    keep_remainders,
    map_blocks,
    read_columns_in_blocks,
)
from volkit.io.splats.quantisation import sh_dc_from_colour

__all__ = ["read", "sniff", "write"]

MODE_TAG = re.compile(r"SplatRenderMode:\s*(\w+)|antialiased\s+(\d)", re.IGNORECASE)
DC_COLUMNS, RGB_COLUMNS = ("f_dc_0", "f_dc_1", "f_dc_2"), ("red", "green", "blue")
NORMAL_COLUMNS = ("nx", "ny", "nz")
FILTER_COLUMN = "filter_3D"  # of Mip-Splatting: the least standard deviation that its cameras could see
REQUIRED_COLUMNS = ("x", "y", "z", "opacity", "rot_0", "rot_1", "rot_2", "rot_3", "scale_0", "scale_1")


def sniff(path: Path) -> bool:
    """Whether the file is a `.ply` whose header has the columns of splats."""
    head = ply_header(path)
    return bool(head) and all(f" {name}".encode() in head for name in REQUIRED_COLUMNS)


def read(path: Path) -> SplatColumns:
    """Splats with every column of the file; FormatError where it is damaged or shorter than its header says."""
    held = read_elements(path, ("vertex",))
    if "vertex" not in held.elements:
        raise FormatError(path, f"holds the elements {', '.join(held.others)}", "splats are an element vertex")
    table, comments = held.elements["vertex"], held.comments
    names = list(table.dtype.names or ())
    rest = [name for name in names if name.startswith("f_rest_")]
    degree = math.isqrt(len(rest) // 3 + 1) - 1
    if 3 * (sh_count(degree) - 1) != len(rest) or degree > 4:
        raise FormatError(
            path,
            f"has {len(rest)} columns f_rest, which fit no degree of harmonics",
            "write 0, 9, 24, 45 or 72 of them",
        )
    constant = DC_COLUMNS if "red" not in names or "f_dc_0" in names else RGB_COLUMNS
    missing = [n for n in (*REQUIRED_COLUMNS, *constant, *(f"f_rest_{k}" for k in range(len(rest)))) if n not in names]
    if missing:
        raise FormatError(path, f"has no column {missing[0]}: not Gaussian splats", "give a .ply of splats")
    tags = [match.groups() for match in map(MODE_TAG.search, comments) if match]
    mip = any((mode or "").lower() == "mip" or aliased == "1" for mode, aliased in tags)
    normals = [name for name in NORMAL_COLUMNS if name in names]
    columns = _columns(table, len(rest) // 3, normals)
    columns["means"], place = _positions(table, columns["means"])
    notes = held.notes
    if FILTER_COLUMN in names:
        columns |= _filtered(columns, _wide_columns(table, [FILTER_COLUMN]))
        notes = [*notes, f"{FILTER_COLUMN} was applied to scales and opacities, as in Mip-Splatting's own export"]
    nonzero = np.count_nonzero(columns.pop("normals"), 0).tolist()
    zeros = {name for name, count in zip(normals, nonzero, strict=True) if not count}
    known = {*REQUIRED_COLUMNS, *rest, "scale_2", *DC_COLUMNS, *RGB_COLUMNS, *zeros, FILTER_COLUMN}
    extras = [name for name in names if name not in known]
    if dotted := [name for name in extras if "." in name]:
        raise FormatError(path, f"has a column '{dotted[0]}'", "rename it without dots")
    extra_values = read_columns_in_blocks(len(table), partial(_read_extras, table, extras)) if extras else {}
    typed = {f"{name}:{table.dtype[name].newbyteorder('=').str[1:]}": values for name, values in extra_values.items()}
    provenance = record_from_comments(comments) | {"format": "ply", "comments": list(comments)}
    provenance |= {"notes": notes} if notes else {}
    return columns_from_file(columns, place, mip=mip, extras=typed, provenance=provenance)


def _columns(table: Table, basis: int, normals: list[str]) -> dict[str, np.ndarray]:
    names = list(table.dtype.names or ())
    constant = DC_COLUMNS if "f_dc_0" in names else RGB_COLUMNS
    wanted = {
        "means": "xyz",
        "normals": normals,
        "quaternions": ("rot_0", "rot_1", "rot_2", "rot_3"),
        "log_scales": [name for name in ("scale_0", "scale_1", "scale_2") if name in names],
        "logits": ("opacity",),
        "sh_dc": constant,
        # The file goes channel by channel, f_rest_{channel * basis + k}; we go basis by basis.
        "sh_rest": [f"f_rest_{channel * basis + k}" for k in range(basis) for channel in range(3)],
    }
    places = {name: np.array([names.index(one) for one in some], np.intp) for name, some in wanted.items()}

    def read_rows(rows: slice) -> dict[str, np.ndarray]:
        whole = columns_as_matrix(table[rows], names, "<f4")
        return {name: whole.take(some, 1, mode="clip") for name, some in places.items()}

    columns = read_columns_in_blocks(len(table), read_rows)
    if constant is RGB_COLUMNS:
        kinds = [table.dtype[name] for name in RGB_COLUMNS]
        columns["sh_dc"] = sh_dc_from_colour(columns["sh_dc"] / white_level(kinds[0], columns["sh_dc"]))
    shaped = {"logits": columns["logits"][:, 0], "sh_dc": columns["sh_dc"][:, None]}
    return columns | shaped | {"sh_rest": columns["sh_rest"].reshape(len(table), basis, 3)}


def _positions(table: Table, means: np.ndarray) -> tuple[np.ndarray, Similarity]:
    """Means in float32, and the placement of their frame, which holds what float32 cannot of wider types."""
    if all(table.dtype[axis].itemsize < 4 or table.dtype[axis] in ("<f4", ">f4") for axis in "xyz"):
        return means, Similarity()
    wide = _wide_columns(table, "xyz")
    return keep_remainders(np.stack([wide[axis] for axis in "xyz"], 1))


def _filtered(columns: dict[str, np.ndarray], filters: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Log scales and logits widened by the 3D filter of Mip-Splatting: a scale s becomes `sqrt(s^2 + f^2)`, and the
    opacity is multiplied by the root of the determinants' ratio.

    Source: autonomousvision/mip-splatting `scene/gaussian_model.py`, save_fused_ply.
    """
    squares = np.exp(2.0 * columns["log_scales"].astype(np.float64))
    widened = squares + np.square(filters[FILTER_COLUMN])[:, None]
    log_scales = 0.5 * np.log(widened)
    # The ratio as a sum of logarithms: products of small scales underflow.
    share = np.exp((columns["log_scales"] - log_scales).sum(1)) / (1.0 + np.exp(-columns["logits"].astype(np.float64)))
    with np.errstate(divide="ignore"):  # an opacity of 0 has the logit -inf
        logits = np.log(share) - np.log1p(-share)
    changed = filters[FILTER_COLUMN] != 0
    return {
        "log_scales": np.where(changed[:, None], log_scales, columns["log_scales"]).astype(np.float32),
        "logits": np.where(changed, logits, columns["logits"]).astype(np.float32),
    }


def _wide_columns(table: Table, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns in float64."""
    return read_columns_in_blocks(len(table), partial(_read_extras, table, list(names)))


def _read_extras(table: Table, names: list[str], rows: slice) -> dict[str, np.ndarray]:
    part = table[rows]
    return {name: part[name].astype(np.float64) for name in names}


def write(splats: SplatColumns, path: Path) -> None:
    """Write INRIA's columns in INRIA's order, in the world frame, then further columns as they were read.

    Positions far from the world's origin, which float32 would round, are written as doubles.
    """
    extras, rest, scales = _extras(splats), splats.sh_rest.shape[1], splats.log_scales.shape[1]
    harmonics = (f"f_rest_{k}" for k in range(3 * rest))
    shape = (*(f"scale_{k}" for k in range(scales)), *(f"rot_{k}" for k in range(4)))
    names = [*"xyz", *NORMAL_COLUMNS, *DC_COLUMNS, *harmonics, "opacity", *shape]
    doubles = "xyz" if splats.georeferenced else ""
    kinds = [(name, "<f8" if name in doubles else "<f4") for name in names]
    kinds += [(name, f"<{values.dtype.str[1:]}") for name, values in extras.items()]
    comments = ["SplatRenderMode: mip"] if splats.mip else []
    comments += comments_from_record(provenance_record(splats))
    count = len(splats)
    element = PlyElement.describe(np.broadcast_to(np.zeros(1, kinds), count), "vertex")
    order = np.arange(3 * rest).reshape(3, rest).T.ravel().argsort()  # basis by basis to channel by channel

    def encode_rows(rows: slice) -> np.ndarray:
        floats = _floats(splats.columns_in(rows=rows), order)
        if not extras and not doubles:
            return floats
        table = np.empty(len(floats), kinds)
        table[names] = floats.view([(name, "<f4") for name in names])[:, 0]
        if doubles:
            for name, values in zip("xyz", splats.positions_in(rows=rows).T, strict=True):
                table[name] = values
        for name, values in extras.items():
            table[name] = values[rows]
        return table

    with atomic_write(path) as place, place.open("wb") as file:
        file.write(f"{PlyData([element], byte_order='<', comments=comments).header}\n".encode("ascii"))
        for part in map_blocks(count, encode_rows):
            file.write(part.data)


def _extras(splats: SplatColumns) -> dict[str, np.ndarray]:
    """Further columns by name, in the types they had."""
    named = {extra: extra.rsplit(":", 1) for extra in splats.extras}
    return {name: splats.extras[extra].astype(kind) for extra, (name, kind) in named.items()}


def _floats(columns: dict[str, np.ndarray], order: np.ndarray) -> np.ndarray:
    """Rows of a file without further columns, float32 [splat, column]."""
    means = columns["means"]
    rest = columns["sh_rest"].reshape(len(means), len(order))
    colour = (columns["sh_dc"][:, 0], rest.take(order, 1, mode="clip"))
    shape = (columns["logits"][:, None], columns["log_scales"], columns["quaternions"])
    parts = (means, np.zeros_like(means), *colour, *shape)
    return np.concatenate(parts, 1).astype("<f4", copy=False)
