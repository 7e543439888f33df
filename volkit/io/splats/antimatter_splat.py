"""antimatter15's `.splat`: 32 bytes per splat without a header; colours without harmonics.

float32 position and scale (not its logarithm), uint8 red, green, blue, opacity, uint8 quaternion w x y z as
`128 + 128 q`. Source: antimatter15/splat `convert.py`.
"""

from pathlib import Path

import numpy as np
import torch

from volkit.files.atomic import atomic_write
from volkit.files.errors import FormatError
from volkit.io.splats.columns import columns_to_write, safe_log, splats_from_columns
from volkit.io.splats.quantised import colour_from_sh_dc, logits_from_bytes, quantise, sh_dc_from_colour
from volkit.representations.representation import Representation
from volkit.representations.splats import Splats

__all__ = ["read", "sniff", "write"]

ROW = np.dtype([("position", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("rotation", "u1", 4)])


def sniff(path: Path) -> bool:
    """Whether a file named `.splat` has a whole number of rows; its content has no mark."""
    return path.suffix.lower() == ".splat" and path.stat().st_size > 0 and path.stat().st_size % ROW.itemsize == 0


def read(path: Path) -> Splats:
    """Splats in the file's order; FormatError where its length is no whole number of rows."""
    data = path.read_bytes()
    if not data or len(data) % ROW.itemsize:
        raise FormatError(path, f"has {len(data)} bytes, which is no multiple of {ROW.itemsize}", "copy it again")
    rows = np.frombuffer(data, ROW)
    rgb = torch.from_numpy(rows["rgba"][:, :3].astype(np.float32) / 255)
    columns = {
        "means": torch.from_numpy(rows["position"].astype(np.float32)),
        "quaternions": torch.from_numpy(rows["rotation"].astype(np.float32)).sub_(128).div_(128),
        "log_scales": safe_log(torch.from_numpy(rows["scale"].astype(np.float32))),
        "logits": logits_from_bytes(rows["rgba"][:, 3]),
        "sh_dc": sh_dc_from_colour(rgb)[:, None],
        "sh_rest": rgb.new_zeros(len(rows), 0, 3),
    }
    return splats_from_columns(columns, provenance={"format": "splat"})


def write(representation: Representation, path: Path) -> None:
    """Write splats in the world frame, large and opaque ones first: viewers draw them while they load."""
    columns = columns_to_write(representation, path, 0)
    opacity = torch.sigmoid(columns["logits"])
    order = (columns["log_scales"].sum(-1).exp() * opacity).argsort(descending=True)
    light = torch.cat([colour_from_sh_dc(columns["sh_dc"][:, 0]), opacity[:, None]], 1)
    unit = torch.nn.functional.normalize(columns["quaternions"], dim=-1)
    rows = np.empty(len(order), ROW)
    rows["position"], rows["scale"] = columns["means"][order].numpy(), columns["log_scales"].exp()[order].numpy()
    rows["rgba"] = quantise(light, 255).byte()[order].numpy()
    rows["rotation"] = (unit * 128 + 128).round_().clamp_(0, 255).byte()[order].numpy()
    with atomic_write(path) as place:
        rows.tofile(place)
