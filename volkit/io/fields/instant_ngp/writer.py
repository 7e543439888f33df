"""Fields of kind `hash_grid` as snapshots that instant-ngp opens.

Source: NVlabs/instant-ngp `testbed.cu`, what `load_snapshot` and `reset_network` require.
"""

from pathlib import Path
from typing import Any

import torch

from volkit.files.atomic import atomic_write
from volkit.files.dataclass_json import dataclass_to_json
from volkit.files.errors import FormatError
from volkit.geometry import Similarity
from volkit.io.fields.instant_ngp.container import density_grid_from_occupancy, pack
from volkit.io.fields.instant_ngp.layout import camera_entries, frame_entries
from volkit.ops.fused_mlp import MlpShape
from volkit.representations import Capture, HashGrid, HashGridConfig
from volkit.typing import Tensor

__all__ = ["OWN_ENTRY", "write"]

OWN_ENTRY = "volkit"  # our entry in the map, which instant-ngp ignores
FUSED_WIDTHS = (16, 32, 64, 128)
MAX_HALF = 65504.0
EDGE_TOLERANCE = 1e-6  # relative difference of edges, from rounding


def write(representation: HashGrid, path: Path) -> None:
    """Write parameters at half precision; `.ingp` is compressed, `.msgpack` is not."""
    _check(representation, path)
    data = pack(_root(representation), compress=path.suffix.lower() == ".ingp")
    with atomic_write(path) as place:
        place.write_bytes(data)


def _check(field: HashGrid, path: Path) -> None:
    """Raise FormatError where instant-ngp has no equivalent of the field."""
    config, scale = field.config, field.config.density_scale
    edges = field.domain.extent
    if field.domain.contracted or max(edges) - min(edges) > EDGE_TOLERANCE * max(edges):
        raise FormatError(path, "holds fields in cubes only", "distil it into a hash grid first")
    if scale not in [float(1 << k) for k in range(8)]:
        raise FormatError(path, f"cannot hold density in units of {scale}", "distil it into a hash grid first")
    if config.bias or config.lookup != "tcnn" or config.width not in FUSED_WIDTHS:
        raise FormatError(path, "cannot hold these networks", "distil it into a hash grid first")
    first = field.density_network[: config.width * config.density_shape.padded_inputs].view(config.width, -1)
    if bool(first[:, config.density_shape.inputs :].any()):
        raise FormatError(path, "pads inputs with 0, and this field with 1", "choose levels that fill a multiple of 16")
    for name, tensor in field.named_parameters():
        if not bool((tensor.abs() <= MAX_HALF).all()):
            raise FormatError(path, f"cannot hold '{name}' at half precision", "fit it with smaller rates")


def _root(field: HashGrid) -> dict[str, Any]:
    config = field.config
    return {
        "encoding": {
            "otype": "HashGrid",
            "n_levels": config.levels,
            "n_features_per_level": config.features,
            "log2_hashmap_size": config.log2_table,
            "base_resolution": config.base_resolution,
            "per_level_scale": config.per_level_scale,
        },
        "network": _network(config.density_shape),
        "dir_encoding": {"otype": "SphericalHarmonics", "degree": config.sh_degree + 1},
        "rgb_network": _network(config.rgb_shape),
        "loss": {"otype": "Huber"},
        "optimizer": _optimizer(config),
        "snapshot": _snapshot(field),
        OWN_ENTRY: {
            "world_from_local": dataclass_to_json(_world_from_ngp(field)),
            "capture": {} if field.capture is None else _capture(field.capture),
            "provenance": dict(field.provenance),
        },
    }


def _network(shape: MlpShape) -> dict[str, Any]:
    return {
        "otype": "FullyFusedMLP",
        "activation": "ReLU",
        "output_activation": "None",
        "n_neurons": shape.width,
        "n_hidden_layers": shape.hidden_layers,
    }


def _optimizer(config: HashGridConfig) -> dict[str, Any]:
    """Plain Adam at the field's rate: instant-ngp does not open snapshots without an optimiser."""
    return {
        "otype": "Adam",
        "learning_rate": config.network_lr,
        "beta1": 0.9,
        "beta2": 0.99,
        "epsilon": 1e-15,
        "l2_reg": 1e-6,
    }


def _snapshot(field: HashGrid) -> dict[str, Any]:
    parts = (field.density_network, field.rgb_network, field.table)
    flat = torch.cat([part.detach().reshape(-1) for part in parts]).half().cpu()
    half = 0.5 * field.config.density_scale
    box = {"min": [0.5 - half] * 3, "max": [0.5 + half] * 3}
    frame = frame_entries(_world_from_ngp(field))
    aabb_scale = int(field.config.density_scale)
    return {
        "version": 1,
        "mode": "nerf",
        "n_params": len(flat),
        "params_type": "__half",
        "params_binary": _bytes(flat),
        "density_grid_size": 128,
        "density_grid_binary": _bytes(density_grid_from_occupancy(field.occupancy, aabb_scale.bit_length())),
        "training_step": 0,
        "loss": 0.0,
        "aabb": box,
        "render_aabb": box,
        "up_dir": frame["up"],
        "nerf": {
            "aabb_scale": aabb_scale,
            "rgb": {"rays_per_batch": 4096, "measured_batch_size": 0, "measured_batch_size_before_compaction": 0},
            "dataset": {
                **camera_entries(field.capture, _world_from_ngp(field)),
                **frame,
                "aabb_scale": aabb_scale,
                "render_aabb": box,
                "render_aabb_to_local": [list(row) for row in Similarity().rotation],
                "envmap_resolution": [0, 0],
                "is_hdr": False,
                "wants_importance_sampling": True,
                "n_extra_learnable_dims": 0,
            },
        },
    }


def _world_from_ngp(field: HashGrid) -> Similarity:
    """Our world from instant-ngp's cube: its box is [0, 1]^3 grown about the centre by aabb_scale."""
    lower, edge, scale = field.domain.lower, max(field.domain.extent), field.config.density_scale
    ratio, start = edge / scale, 0.5 - 0.5 * scale
    local_from_ngp = Similarity(translation=tuple(low - ratio * start for low in lower), scale=ratio)
    return field.world_from_local if local_from_ngp.is_identity else field.world_from_local @ local_from_ngp


def _capture(capture: Capture) -> dict[str, Any]:
    """The parts of a capture that instant-ngp has no entry for."""
    background = None if capture.background is None else list(capture.background)
    return {"held_out": list(capture.held_out), "near": capture.near, "background": background}


def _bytes(values: Tensor) -> bytes:
    return values.numpy().astype("<f2").tobytes()
