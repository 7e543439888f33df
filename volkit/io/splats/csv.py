"""Splats as `.csv`, for spreadsheets: the columns of INRIA's `.ply` without normals, nine digits each."""

from itertools import chain
from pathlib import Path

import numpy as np

from volkit.files.atomic import atomic_write
from volkit.io.splats.columns import SplatColumns

__all__ = ["write"]

ROWS_PER_BLOCK = 1 << 12  # formatted at a time


def write(splats: SplatColumns, path: Path) -> None:
    """Write one row per splat, in the world frame; further columns are left out.

    Positions far from the world's origin, which float32 would round, have more digits.
    """
    columns, far = splats.columns_in(), splats.georeferenced
    parts = {
        "xyz": splats.positions_in() if far else columns["means"],
        "f_dc": columns["sh_dc"][:, 0],
        "f_rest": columns["sh_rest"].transpose(0, 2, 1).reshape(len(splats), 3 * splats.sh_rest.shape[1]),
        "opacity": columns["logits"][:, None],
        "scale": columns["log_scales"],
        "rot": columns["quaternions"],
    }
    table = np.concatenate(list(parts.values()), 1)
    names = chain.from_iterable(
        ("x", "y", "z") if name == "xyz" else (name,) if name == "opacity" else (f"{name}_{k}" for k in range(width))
        for name, width in ((name, part.shape[1]) for name, part in parts.items())
    )
    digits = ["%.16g" if far else "%.9g"] * 3 + ["%.9g"] * (table.shape[1] - 3)  # nine identify every float32
    line = ",".join(digits) + "\n"
    with atomic_write(path) as place, place.open("w", encoding="ascii", newline="\n") as file:
        file.write(",".join(names) + "\n")
        for start in range(0, len(table), ROWS_PER_BLOCK):
            rows = table[start : start + ROWS_PER_BLOCK]
            file.write(line * len(rows) % tuple(rows.ravel().tolist()))
