"""antimatter15's `.splat`: 32 bytes a splat and nothing else, colours without harmonics.

float32 position and scale (not its logarithm), uint8 red, green, blue, opacity, uint8 quaternion w x y z as
`128 + 128 q`. Source: antimatter15/splat `convert.py`.
"""

from pathlib import Path

import numpy as np
import torch

from volkit.files.atomic import atomic_write
from volkit.files.errors import FormatError
from volkit.io.splats.columns import columns_for, log_of_scales, splats_of
from volkit.io.splats.quantised import coded, colour_of_constant, constant_of_colour, logits_of_bytes
from volkit.representations.splats import Splats

__all__ = ["read", "sniff", "write"]

ROW = np.dtype([("position", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("rotation", "u1", 4)])


def sniff(path: Path) -> bool:
    """Whether a file by that name is whole rows long: nothing in it says what it is."""
    return path.suffix.lower() == ".splat" and path.stat().st_size > 0 and path.stat().st_size % ROW.itemsize == 0


def read(path: Path) -> Splats:
    """Splats in the file's order; FormatError where it holds no whole number of them."""
    data = path.read_bytes()
    if not data or len(data) % ROW.itemsize:
        raise FormatError(path, f"is {len(data)} bytes, no multiple of {ROW.itemsize}", "copy it again")
    rows = np.frombuffer(data, ROW)
    rgb = torch.from_numpy(rows["rgba"][:, :3].astype(np.float32) / 255)
    columns = {
        "means": torch.from_numpy(rows["position"].astype(np.float32)),
        "quaternions": torch.from_numpy(rows["rotation"].astype(np.float32)).sub_(128).div_(128),
        "log_scales": log_of_scales(torch.from_numpy(rows["scale"].astype(np.float32))),
        "logits": logits_of_bytes(rows["rgba"][:, 3]),
        "sh_dc": constant_of_colour(rgb)[:, None],
        "sh_rest": rgb.new_zeros(len(rows), 0, 3),
    }
    return splats_of(columns, provenance={"format": "splat"})


def write(representation: Splats, path: Path) -> None:
    """Large and opaque splats first, as viewers show them while they load; in the world frame."""
    columns = columns_for(representation, path, 0)
    opacity = torch.sigmoid(columns["logits"])
    order = (columns["log_scales"].sum(-1).exp() * opacity).argsort(descending=True)
    light = torch.cat([colour_of_constant(columns["sh_dc"][:, 0]), opacity[:, None]], 1)
    unit = torch.nn.functional.normalize(columns["quaternions"], dim=-1)
    rows = np.empty(len(order), ROW)
    rows["position"], rows["scale"] = columns["means"][order].numpy(), columns["log_scales"].exp()[order].numpy()
    rows["rgba"] = coded(light, 255).byte()[order].numpy()
    rows["rotation"] = (unit * 128 + 128).round_().clamp_(0, 255).byte()[order].numpy()
    with atomic_write(path) as place:
        rows.tofile(place)
