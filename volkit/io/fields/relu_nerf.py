"""Checkpoints of yenchenlin/nerf-pytorch (`.tar`) and kwea123/nerf_pl (`.ckpt`) as kind `mlp`, read only.

Both follow the paper: every layer is followed by ReLU, the encoding enters again before one of them and stands first,
the feature before the layer of directions has no activation. Kind `mlp` has krrish94's order instead, and holds it
exactly: its first layer, which has no activation, passes the encoding on; the feature is the last layer itself, which
is at least 0 already, and the linear map that makes it is multiplied into the layer of directions.
Source: those projects' `run_nerf_helpers.py`, class NeRF, and `models/nerf.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from volkit.files.errors import format_errors
from volkit.files.restricted_pickle import load_pickled, pickle_start
from volkit.geometry import Domain
from volkit.representations import MlpConfig, Representation
from volkit.typing import Tensor

__all__ = ["read", "read_pl", "sniff", "sniff_pl"]

HALF_EDGE = 1.5  # half edge of the domain: the published bounds of the Blender scenes
STATES = ("network_fine_state_dict", "network_fn_state_dict")  # the fine one, which renders the final image, first
MAX_WIDTH, MAX_LAYERS = 1 << 12, 64
Layer = tuple[Tensor, Tensor]  # matrix (out, in) and bias


@dataclass(frozen=True)
class _Layers:
    """A network of the paper: layers before the outputs, then those of feature, density, directions and colour."""

    trunk: list[Layer]
    feature: Layer
    density: Layer
    directions: Layer
    rgb: Layer


def sniff(path: Path) -> bool:
    """Whether the file is a torch pickle with that project's names of networks."""
    return b"network_fn_state_dict" in pickle_start(path)


def read(path: Path) -> Representation:
    """The fine network, or the only one, in a cube of half edge 1.5."""
    stored = load_pickled(path)
    with format_errors(path, "nerf-pytorch"):
        state = next((found for name in STATES if (found := _mapping(stored).get(name))), None)
        state = _mapping(state)
        if "output_linear.weight" in state and "rgb_linear.weight" not in state:
            raise ValueError("its colours do not depend on directions (use_viewdirs), which is not supported")
        layers = _Layers(
            _trunk(state, "pts_linears.{}"),
            *(_layer(state, n) for n in ("feature_linear", "alpha_linear", "views_linears.0", "rgb_linear")),
        )
        return _field(layers, "yenchenlin/nerf-pytorch", stored.get("global_step"))


def sniff_pl(path: Path) -> bool:
    """Whether the file is a torch pickle with that project's names of layers."""
    start = pickle_start(path)
    return b"xyz_encoding_1.0.weight" in start and b"xyz_encoding_final.weight" in start


def read_pl(path: Path) -> Representation:
    """The fine network, or the only one, in a cube of half edge 1.5."""
    stored = load_pickled(path)
    with format_errors(path, "nerf_pl"):
        state = _mapping(_mapping(stored).get("state_dict", stored))
        prefix = next((p for p in ("nerf_fine.", "nerf_coarse.") if f"{p}xyz_encoding_1.0.weight" in state), "")
        layers = _Layers(
            _trunk(state, prefix + "xyz_encoding_{}.0", first=1),
            *(_layer(state, prefix + n) for n in ("xyz_encoding_final", "sigma", "dir_encoding.0", "rgb.0")),
        )
        return _field(layers, "kwea123/nerf_pl", stored.get("global_step"))


def _mapping(stored: Any) -> Mapping[str, Any]:
    if not isinstance(stored, Mapping):
        raise ValueError("it lacks its networks")
    return stored


def _field(layers: _Layers, source: str, step: Any) -> Representation:
    encoded, own = layers.trunk[0][0].shape[1], layers.trunk[0][0].shape[0]
    seen = layers.directions[0].shape[1] - own
    if encoded % 6 != 3 or seen % 6 != 3:
        raise ValueError(f"it encodes positions in {encoded} and directions in {seen} values, not in 3 + 6 bands each")
    again = [index for index, (weight, _) in enumerate(layers.trunk) if index and weight.shape[1] == own + encoded]
    if len(again) > 1:
        raise ValueError(f"the encoding enters it again {len(again)} times, only once is supported")
    skip = again[0] if again else 0
    if skip and 2 * skip < len(layers.trunk):
        raise ValueError(f"the encoding enters it again before layer {skip} of {len(layers.trunk)}, which is too early")
    width = max(own, encoded)
    width += width % 2
    config = MlpConfig(
        layers=len(layers.trunk) + 1,
        width=width,
        skip=skip,
        position_bands=encoded // 6,
        direction_bands=seen // 6,
        coordinates="local",
        products="float32",
    )
    field = config.build(Domain.cube(HALF_EDGE), torch.Generator())
    field.load_state_dict(_state(layers, width) | {"occupancy": field.occupancy})
    steps = step if isinstance(step, int) else None
    return field.view(
        provenance={"source": source, "steps": steps, "near": 2.0, "far": 6.0, "background": [1.0, 1.0, 1.0]}
    )


def _state(layers: _Layers, width: int) -> dict[str, Tensor]:
    """The layers by the names of kind `mlp`, padded with zeros to `width`."""
    own, encoded = layers.trunk[0][0].shape
    placed = {"layer1": (torch.eye(width, encoded), torch.zeros(width))}
    for index, (weight, bias) in enumerate(layers.trunk):
        if index and weight.shape[1] == own + encoded:  # the encoding stands first there, and last here
            weight = torch.cat([_padded(weight[:, encoded:], len(weight), width), weight[:, :encoded]], 1)
        inputs = max(width, weight.shape[1])
        placed[f"layers_xyz.{index}"] = (_padded(weight, width, inputs), _padded(bias[None], 1, width)[0])
    matrix, offset = layers.directions
    merged = _padded(matrix[:, :own] @ layers.feature[0], width // 2, width)
    bias = _padded((offset + matrix[:, :own] @ layers.feature[1])[None], 1, width // 2)[0]
    seen = _padded(matrix[:, own:], width // 2, matrix.shape[1] - own)
    placed["layers_dir.0"] = (torch.cat([merged, seen], 1), bias)
    placed["fc_feat"] = (torch.eye(width), torch.zeros(width))
    placed["fc_alpha"] = (_padded(layers.density[0], 1, width), layers.density[1])
    placed["fc_rgb"] = (_padded(layers.rgb[0], 3, width // 2), layers.rgb[1])
    return {f"{n}.{part}": t for n, pair in placed.items() for part, t in zip(("weight", "bias"), pair, strict=True)}


def _padded(matrix: Tensor, rows: int, columns: int) -> Tensor:
    return torch.nn.functional.pad(matrix, (0, columns - matrix.shape[1], 0, rows - matrix.shape[0]))


def _trunk(state: Mapping[str, Any], pattern: str, first: int = 0) -> list[Layer]:
    count = next((k for k in range(MAX_LAYERS) if f"{pattern.format(k + first)}.weight" not in state), MAX_LAYERS)
    if not 2 <= count < MAX_LAYERS:
        raise ValueError(f"its network has {count} layers or more, not 2 to {MAX_LAYERS - 1}")
    layers = [_layer(state, pattern.format(k + first)) for k in range(count)]
    own, encoded = layers[0][0].shape
    if not 1 <= own <= MAX_WIDTH or any(
        w.shape[0] != own or w.shape[1] not in (own, own + encoded) for w, _ in layers[1:]
    ):
        raise ValueError("its layers do not fit each other")
    return layers


def _layer(state: Mapping[str, Any], name: str) -> Layer:
    found = state[f"{name}.weight"], state[f"{name}.bias"]
    for tensor in found:
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"'{name[:60]}' is not of finite numbers")
    weight, bias = found[0].float(), found[1].float()
    if weight.dim() != 2 or bias.shape != weight.shape[:1]:
        raise ValueError(f"'{name[:60]}' is not a layer")
    return weight, bias
