"""Checkpoints of krrish94/nerf-pytorch (`.ckpt`): a plain NeRF as its authors trained it, read only.

The architecture is inferred from the shapes of tensors: the `config.yml` beside a checkpoint need not be the one that
it was trained with. Source: that project's `nerf/models.py`, class FlexibleNeRFModel, and `train_nerf.py`.
"""

from pathlib import Path
from typing import Any

import torch

from volkit.files.errors import FormatError
from volkit.files.restricted_pickle import load_pickled, pickle_start
from volkit.geometry import Domain
from volkit.representations import MlpConfig, Representation
from volkit.typing import Tensor

__all__ = ["read", "sniff"]

MODELS = ("model_fine_state_dict", "model_coarse_state_dict")  # the fine one, which renders the final image, first
MARK = b"model_coarse_state_dict"
HALF_EDGE = 1.5  # half edge of the domain: the published bounds of the Blender scenes
MAX_WIDTH = 1 << 14


def sniff(path: Path) -> bool:
    """Whether the file is a torch pickle with nerf-pytorch's names of models."""
    return MARK in pickle_start(path)


def read(path: Path) -> Representation:
    """The fine network as kind `mlp`, with positions encoded unscaled, in a cube of half edge 1.5."""
    stored = load_pickled(path)
    tensors = _tensors(path, stored)
    config = infer_config(path, tensors)
    field = config.build(Domain.cube(HALF_EDGE), torch.Generator())
    try:
        field.load_state_dict({**tensors, "occupancy": field.occupancy})
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise FormatError(path, f"is not a checkpoint of nerf-pytorch: {reason}", "check where it is from") from error
    step = stored.get("iter")
    return field.view(
        provenance={
            "source": "krrish94/nerf-pytorch",
            "steps": step if isinstance(step, int) else None,
            "near": 2.0,
            "far": 6.0,
            "background": [1.0, 1.0, 1.0],
        }
    )


def infer_config(path: Path, tensors: dict[str, Tensor]) -> MlpConfig:
    """The network's sizes from the shapes of its tensors; FormatError where they do not fit together."""
    layers = 1 + sum(name.startswith("layers_xyz.") and name.endswith(".weight") for name in tensors)
    try:
        width, position_inputs = tensors["layer1.weight"].shape
        wide = [i for i in range(layers - 1) if tensors[f"layers_xyz.{i}.weight"].shape[1] > width]
        direction_inputs = tensors["layers_dir.0.weight"].shape[1] - width if "layers_dir.0.weight" in tensors else None
    except (KeyError, ValueError) as error:
        raise FormatError(path, "lacks layers of the network", "check where it is from") from error
    if not 1 <= width <= MAX_WIDTH:
        raise FormatError(path, f"has layers {width} wide", "check where it is from")
    position = _bands(path, "positions", position_inputs)
    direction = _bands(path, "directions", direction_inputs) if direction_inputs is not None else (0, True)
    return MlpConfig(
        layers=layers,
        width=width,
        skip=wide[0] if wide else 0,
        position_bands=position[0],
        position_input=position[1],
        direction_bands=direction[0],
        direction_input=direction[1],
        view_directions=direction_inputs is not None,
        coordinates="local",
        products="float32",
    )


def _bands(path: Path, what: str, size: int) -> tuple[int, bool]:
    """Number of bands, and whether the input itself is included: `size = 3 (2 bands + included)`."""
    if size < 3 or size % 3:
        raise FormatError(path, f"encodes {what} in {size} values, which is no multiple of 3", "check where it is from")
    return size // 6, bool(size // 3 % 2)


def _tensors(path: Path, stored: Any) -> dict[str, Tensor]:
    states = [stored.get(name) for name in MODELS] if isinstance(stored, dict) else []
    state = next((state for state in states if isinstance(state, dict) and state), None)
    if state is None:
        raise FormatError(path, f"holds neither {MODELS[0]} nor {MODELS[1]}", "check where it is from")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            raise FormatError(path, f"'{name}' is not a tensor of floats", "check where it is from")
        if not bool(torch.isfinite(tensor).all()):
            raise FormatError(path, f"'{name}' contains NaN or infinity", "take an earlier checkpoint")
    return {name: tensor.float() for name, tensor in state.items()}
