"""antimatter15's `.splat`: 32 bytes a splat and nothing else, colours without harmonics.

float32 position and scale (not its logarithm), uint8 red, green, blue, opacity, uint8 quaternion w x y z as
`128 + 128 q`. Source: antimatter15/splat `convert.py`.
"""

from pathlib import Path

import numpy as np

from volkit.files.atomic import atomic_write
from volkit.files.errors import FormatError
from volkit.io.splats.columns import (
    SplatColumns,
    columns_for,
    columns_of_file,
    log_of_scales,
    opacities_of,
    scales_of,
    unit_quaternions,
)
from volkit.io.splats.quantised import coded, colour_of_constant, constant_of_colour, logits_of_bytes
from volkit.typing import Int

__all__ = ["read", "sniff", "write"]

ROW = np.dtype([("position", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("rotation", "u1", 4)])


def sniff(path: Path) -> bool:
    """Whether a file by that name is whole rows long: nothing in it says what it is."""
    return path.suffix.lower() == ".splat" and path.stat().st_size > 0 and path.stat().st_size % ROW.itemsize == 0


def read(path: Path) -> SplatColumns:
    """Splats in the file's order; FormatError where it holds no whole number of them."""
    data = path.read_bytes()
    if not data or len(data) % ROW.itemsize:
        raise FormatError(path, f"is {len(data)} bytes, no multiple of {ROW.itemsize}", "copy it again")
    rows = np.frombuffer(data, ROW)
    rgb = rows["rgba"][:, :3].astype(np.float32) / 255
    columns = {
        "means": rows["position"].astype(np.float32),
        "quaternions": (rows["rotation"].astype(np.float32) - 128) / 128,
        "log_scales": log_of_scales(rows["scale"]),
        "logits": logits_of_bytes(rows["rgba"][:, 3]),
        "sh_dc": constant_of_colour(rgb)[:, None],
        "sh_rest": np.empty((len(rows), 0, 3), np.float32),
    }
    return columns_of_file(columns, provenance={"format": "splat"})


def write(splats: SplatColumns, path: Path) -> Int[np.ndarray, " splat"]:
    """Large and opaque splats first, as viewers show them while they load; in the world frame. Answers their order."""
    columns = columns_for(splats, path, 0)
    opacity, scales = opacities_of(columns["logits"]), scales_of(columns["log_scales"])
    order = (-np.exp(columns["log_scales"].sum(-1)) * opacity).argsort(kind="stable")
    light = np.concatenate([colour_of_constant(columns["sh_dc"][:, 0]), opacity[:, None]], 1)
    rows = np.empty(len(order), ROW)
    rows["position"], rows["scale"] = columns["means"][order], scales[order]
    rows["rgba"] = coded(light, 255)[order]
    rows["rotation"] = np.rint(unit_quaternions(columns["quaternions"]) * 128 + 128).clip(0, 255)[order]
    with atomic_write(path) as place:
        rows.tofile(place)
    return order
