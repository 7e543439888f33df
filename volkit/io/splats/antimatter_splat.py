"""antimatter15's `.splat`: 32 bytes per splat without a header; colours without harmonics.

float32 position and scale (not its logarithm), uint8 red, green, blue, opacity, uint8 quaternion w x y z as
`128 + 128 q`. Source: antimatter15/splat `convert.py`.
"""

from pathlib import Path

import numpy as np

from volkit.files.atomic import atomic_write
from volkit.files.errors import FormatError
from volkit.io.splats.columns import (
    SplatColumns,
    columns_from_file,
    columns_to_write,
    exp_scales,
    normalise_quaternions,
    safe_log,
    sigmoid_opacities,
)
from volkit.io.splats.quantisation import colour_from_sh_dc, logits_from_bytes, quantise, sh_dc_from_colour
from volkit.typing import Int

__all__ = ["read", "sniff", "write"]

ROW = np.dtype([("position", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("rotation", "u1", 4)])


def sniff(path: Path) -> bool:
    """Whether a file named `.splat` has a whole number of rows; its content has no mark."""
    return path.suffix.lower() == ".splat" and path.stat().st_size > 0 and path.stat().st_size % ROW.itemsize == 0


def read(path: Path) -> SplatColumns:
    """Splats in the file's order; FormatError where its length is no whole number of rows."""
    data = path.read_bytes()
    if not data or len(data) % ROW.itemsize:
        raise FormatError(path, f"has {len(data)} bytes, which is no multiple of {ROW.itemsize}", "copy it again")
    rows = np.frombuffer(data, ROW)
    rgb = rows["rgba"][:, :3].astype(np.float32) / 255
    columns = {
        "means": rows["position"].astype(np.float32),
        "quaternions": (rows["rotation"].astype(np.float32) - 128) / 128,
        "log_scales": safe_log(rows["scale"]),
        "logits": logits_from_bytes(rows["rgba"][:, 3]),
        "sh_dc": sh_dc_from_colour(rgb)[:, None],
        "sh_rest": np.empty((len(rows), 0, 3), np.float32),
    }
    return columns_from_file(columns, provenance={"format": "splat"})


def write(splats: SplatColumns, path: Path) -> Int[np.ndarray, " splat"]:
    """Write splats in the world frame, large and opaque ones first: as viewers load them. Returns the order."""
    columns = columns_to_write(splats, path, 0)
    opacity, scales = sigmoid_opacities(columns["logits"]), exp_scales(columns["log_scales"])
    order = (-np.exp(columns["log_scales"].sum(-1)) * opacity).argsort(kind="stable")
    light = np.concatenate([colour_from_sh_dc(columns["sh_dc"][:, 0]), opacity[:, None]], 1)
    rows = np.empty(len(order), ROW)
    rows["position"], rows["scale"] = columns["means"][order], scales[order]
    rows["rgba"] = quantise(light, 255)[order]
    rows["rotation"] = np.rint(normalise_quaternions(columns["quaternions"]) * 128 + 128).clip(0, 255)[order]
    with atomic_write(path) as place:
        rows.tofile(place)
    return order
