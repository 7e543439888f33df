"""Snapshots of NVlabs/instant-ngp as kind `hash_grid`, in the frame of its unit cube.

Source: that project's `testbed.cu` (`save_snapshot`), `nerf_network.h`, `nerf_device.cuh`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from volkit.files.dataclass_json import dataclass_from_json
from volkit.files.errors import format_errors
from volkit.geometry import Domain, Similarity
from volkit.io.fields.instant_ngp import container
from volkit.io.fields.instant_ngp.container import CELLS, occupancy_from_density_grid
from volkit.io.fields.instant_ngp.layout import (
    Layout,
    get_integer,
    get_number,
    get_table,
    get_vector,
    read_capture,
    read_frame,
    read_layout,
)
from volkit.io.fields.instant_ngp.writer import OWN_ENTRY
from volkit.io.fields.tcnn import flatten_padded
from volkit.representations import Capture, HashGrid, Placement, Representation
from volkit.typing import Tensor

__all__ = ["read"]

PARAMETER_TYPES = {"__half": "<f2", "float": "<f4"}
MAX_AABB_SCALE = 128  # instant-ngp has 8 cascades


def read(path: Path) -> Representation:
    """Table, networks, occupancy, frame and cameras; the mean of per-image latents becomes a bias."""
    root = container.unpack(path)
    with format_errors(path, "a snapshot", "save it again, or train it anew"):
        return _field(root)


def _field(root: dict[str, Any]) -> HashGrid:
    snapshot = get_table(root, "snapshot")
    if get_integer(snapshot, "version", 0) < 1:
        raise ValueError("its format is older than version 1")
    if str(snapshot.get("mode", "nerf")).lower() != "nerf":
        raise ValueError(f"it holds a '{str(snapshot['mode'])[:40]}', not a radiance field")
    nerf = get_table(snapshot, "nerf")
    dataset = nerf.get("dataset") if isinstance(nerf.get("dataset"), dict) else {}
    assert isinstance(dataset, dict)
    if dataset.get("is_hdr"):
        raise ValueError("its colours are linear and unbounded (HDR), which is not supported")
    aabb_scale = get_integer(nerf, "aabb_scale", get_integer(dataset, "aabb_scale", 1))
    if not 1 <= aabb_scale <= MAX_AABB_SCALE:
        raise ValueError(f"its aabb_scale is {aabb_scale}")
    extra = get_integer(dataset, "n_extra_learnable_dims", 0)
    if not 0 <= extra <= 256:
        raise ValueError(f"it has {extra} latent values per image")
    layout = read_layout(root, aabb_scale, extra)
    field = _networks(layout, _parameters(snapshot, layout), aabb_scale, _latent(nerf, extra))
    grid = _array(snapshot, "density_grid_binary", "<f2")
    if len(grid) % CELLS or len(grid) > CELLS * (aabb_scale.bit_length() + 1):
        raise ValueError(f"its density grid has {len(grid)} values")
    if len(grid):
        field.occupancy = occupancy_from_density_grid(grid)
    place = read_frame(dataset) if dataset else Similarity()
    provenance = {"source": "instant-ngp", "steps": get_integer(snapshot, "training_step", 0)}
    field = field.view(placement=Placement(place), capture=read_capture(dataset, place), provenance=provenance)
    own = root.get(OWN_ENTRY)
    return _restore_own(field, own) if isinstance(own, dict) else field


def _networks(layout: Layout, flat: Tensor, aabb_scale: int, latent: Tensor) -> HashGrid:
    config = layout.config(float(aabb_scale))
    low, high = 0.5 - 0.5 * aabb_scale, 0.5 + 0.5 * aabb_scale
    sizes = [layout.density.parameters, layout.rgb.parameters, layout.levels.entries * layout.levels.features]
    density, rgb, grid = flat.split(sizes)
    density = layout.density.split(density)
    density[0] = density[0][:, : layout.density.inputs]  # padding inputs are 0
    rgb = layout.rgb.split(rgb)
    if layout.extra:
        inputs = 16 + (layout.sh_degree + 1) ** 2
        constant = torch.cat([latent, torch.ones(rgb[0].shape[1] - inputs - layout.extra)])
        rgb[0] = torch.cat([rgb[0][:, :inputs], rgb[0][:, inputs:] @ constant[:, None]], -1)
    field = HashGrid(config, Domain((low, low, low), (high, high, high)), torch.Generator())
    field.load_state_dict(
        {
            "density_network": flatten_padded(density, config.density_shape),
            "rgb_network": flatten_padded(rgb, config.rgb_shape),
            "table": grid.view(-1, config.features),
            "occupancy": field.occupancy,
        }
    )
    return field


def _parameters(snapshot: Mapping[str, Any], layout: Layout) -> Tensor:
    kind = str(snapshot.get("params_type", "__half"))
    if kind not in PARAMETER_TYPES:
        raise ValueError(f"its parameters are of type '{kind[:40]}'")
    flat = _array(snapshot, "params_binary", PARAMETER_TYPES[kind])
    if len(flat) != layout.parameters:
        raise ValueError(f"it has {len(flat)} parameters, its configuration needs {layout.parameters}")
    return flat


def _array(snapshot: Mapping[str, Any], name: str, dtype: str) -> Tensor:
    data = snapshot.get(name)
    if not isinstance(data, bytes) or len(data) % np.dtype(dtype).itemsize:
        raise ValueError(f"its '{name}' is not an array")
    values = torch.from_numpy(np.frombuffer(data, dtype).astype(np.float32))
    if not bool(torch.isfinite(values).all()):
        raise ValueError(f"its '{name}' contains NaN or infinity")
    return values


def _latent(nerf: Mapping[str, Any], extra: int) -> Tensor:
    """The mean of the latents of all training images."""
    learned = nerf.get("extra_dims_opt")
    if not extra or not isinstance(learned, list) or not learned:
        return torch.zeros(extra)
    rows = [get_vector(get_table({"latent": one}, "latent").get("variable"), extra) for one in learned]
    return torch.tensor(rows).mean(0)


def _restore_own(field: HashGrid, own: dict[str, Any]) -> HashGrid:
    """Restore the frame, cameras and provenance that our writer stored beside instant-ngp's entries."""
    place, capture = dataclass_from_json(Similarity, own.get("world_from_local")), field.capture
    about = own.get("capture")
    if capture is not None and isinstance(about, dict):
        held_out, background = about.get("held_out"), about.get("background")
        capture = Capture(
            capture.cameras.transform(place @ field.world_from_local.inverse()),
            capture.names,
            tuple(map(str, held_out)) if isinstance(held_out, list) else (),
            get_number(about, "near", 0.0),
            None if background is None else _triple(background),
        )
    provenance = own.get("provenance")
    noted = provenance if isinstance(provenance, dict) else {}
    return field.view(placement=Placement(place), capture=capture, provenance={**field.provenance, **noted})


def _triple(value: Any) -> tuple[float, float, float]:
    x, y, z = get_vector(value, 3)
    return x, y, z
