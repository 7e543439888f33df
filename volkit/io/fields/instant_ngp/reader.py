"""Snapshots of NVlabs/instant-ngp as kind `hash_grid`, in the frame of its unit cube.

Facts: `testbed.cu` (`save_snapshot`), `nerf_network.h`, `nerf_device.cuh` of that project.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from volkit.files.dataclass_json import dataclass_from_json
from volkit.files.errors import format_errors
from volkit.geometry import Domain, Similarity
from volkit.io.fields.instant_ngp import packed
from volkit.io.fields.instant_ngp.frame import read_capture, read_frame, vector
from volkit.io.fields.instant_ngp.layout import Layout, integer, layout_of, number, table
from volkit.io.fields.instant_ngp.packed import CELLS, occupancy_of
from volkit.io.fields.instant_ngp.writer import OWN_ENTRY
from volkit.io.fields.tcnn import flattened
from volkit.representations import Capture, HashGrid, Placement, Representation
from volkit.typing import Tensor

__all__ = ["read"]

PARAMETER_TYPES = {"__half": "<f2", "float": "<f4"}
LARGEST_SCALE = 128  # of the box: instant-ngp has 8 cascades


def read(path: Path) -> Representation:
    """Table, networks, occupancy, frame and cameras; latents of training pictures enter by their mean."""
    root = packed.unpack(path)
    with format_errors(path, "a snapshot", "save it again, or train it anew"):
        return _field(root)


def _field(root: dict[str, Any]) -> HashGrid:
    snapshot = table(root, "snapshot")
    if integer(snapshot, "version", 0) < 1:
        raise ValueError("its format is older than version 1")
    if str(snapshot.get("mode", "nerf")).lower() != "nerf":
        raise ValueError(f"it holds a '{str(snapshot['mode'])[:40]}', not a radiance field")
    nerf = table(snapshot, "nerf")
    dataset = nerf.get("dataset") if isinstance(nerf.get("dataset"), dict) else {}
    assert isinstance(dataset, dict)
    if dataset.get("is_hdr"):
        raise ValueError("its colours are linear and unbounded (HDR), which is not supported")
    aabb_scale = integer(nerf, "aabb_scale", integer(dataset, "aabb_scale", 1))
    if not 1 <= aabb_scale <= LARGEST_SCALE:
        raise ValueError(f"its aabb_scale is {aabb_scale}")
    extra = integer(dataset, "n_extra_learnable_dims", 0)
    if not 0 <= extra <= 256:
        raise ValueError(f"it has {extra} latent values a picture")
    layout = layout_of(root, aabb_scale, extra)
    field = _networks(layout, _parameters(snapshot, layout), aabb_scale, _latent(nerf, extra))
    grid = _array(snapshot, "density_grid_binary", "<f2")
    if len(grid) % CELLS or len(grid) > CELLS * (aabb_scale.bit_length() + 1):
        raise ValueError(f"its density grid has {len(grid)} values")
    if len(grid):
        field.occupancy = occupancy_of(grid)
    place = read_frame(dataset) if dataset else Similarity()
    provenance = {"source": "instant-ngp", "steps": integer(snapshot, "training_step", 0)}
    field = field.view(placement=Placement(place), capture=read_capture(dataset, place), provenance=provenance)
    own = root.get(OWN_ENTRY)
    return _restored(field, own) if isinstance(own, dict) else field


def _networks(layout: Layout, flat: Tensor, aabb_scale: int, latent: Tensor) -> HashGrid:
    config = layout.config(float(aabb_scale))
    low, high = 0.5 - 0.5 * aabb_scale, 0.5 + 0.5 * aabb_scale
    sizes = [layout.density.parameters, layout.rgb.parameters, layout.levels.entries * layout.levels.features]
    density, rgb, grid = flat.split(sizes)
    density = layout.density.split(density)
    density[0] = density[0][:, : layout.density.inputs]  # the columns beyond see zeros
    rgb = layout.rgb.split(rgb)
    if layout.extra:
        seen = 16 + (layout.sh_degree + 1) ** 2
        constant = torch.cat([latent, torch.ones(rgb[0].shape[1] - seen - layout.extra)])
        rgb[0] = torch.cat([rgb[0][:, :seen], rgb[0][:, seen:] @ constant[:, None]], -1)
    field = HashGrid(config, Domain((low, low, low), (high, high, high)), torch.Generator())
    field.load_state_dict(
        {
            "density_network": flattened(density, config.density_shape),
            "rgb_network": flattened(rgb, config.rgb_shape),
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
        raise ValueError(f"it has {len(flat)} parameters, its configuration makes {layout.parameters}")
    return flat


def _array(snapshot: Mapping[str, Any], name: str, dtype: str) -> Tensor:
    data = snapshot.get(name)
    if not isinstance(data, bytes) or len(data) % np.dtype(dtype).itemsize:
        raise ValueError(f"its '{name}' is no array")
    values = torch.from_numpy(np.frombuffer(data, dtype).astype(np.float32))
    if not bool(torch.isfinite(values).all()):
        raise ValueError(f"its '{name}' contains NaN or infinity")
    return values


def _latent(nerf: Mapping[str, Any], extra: int) -> Tensor:
    """The mean of what was learned of every training picture's looks."""
    learned = nerf.get("extra_dims_opt")
    if not extra or not isinstance(learned, list) or not learned:
        return torch.zeros(extra)
    rows = [vector(table({"latent": one}, "latent").get("variable"), extra) for one in learned]
    return torch.tensor(rows).mean(0)


def _restored(field: HashGrid, own: dict[str, Any]) -> HashGrid:
    """The field with the frame, cameras and provenance that our writer noted beside what instant-ngp reads."""
    place, capture = dataclass_from_json(Similarity, own.get("world_from_local")), field.capture
    about = own.get("capture")
    if capture is not None and isinstance(about, dict):
        held_out, background = about.get("held_out"), about.get("background")
        capture = Capture(
            capture.cameras.transform(place @ field.world_from_local.inverse()),
            capture.names,
            tuple(map(str, held_out)) if isinstance(held_out, list) else (),
            number(about, "near", 0.0),
            None if background is None else _triple(background),
        )
    provenance = own.get("provenance")
    noted = provenance if isinstance(provenance, dict) else {}
    return field.view(placement=Placement(place), capture=capture, provenance={**field.provenance, **noted})


def _triple(value: Any) -> tuple[float, float, float]:
    x, y, z = vector(value, 3)
    return x, y, z
