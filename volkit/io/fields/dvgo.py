"""Checkpoints of sunset1995/DirectVoxGO (`.tar`) as kind `voxel_features`, read only.

Source: that project's `lib/dvgo.py` (`get_kwargs`, `forward`), `lib/grid.py` and `run.py`. The optical thickness of a
step of `interval` base voxels is `softplus(s + shift) interval`: the density is that divided by the base voxel's edge.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from volkit.files.errors import format_errors
from volkit.files.restricted_pickle import load_pickled, pickle_start
from volkit.geometry import Domain
from volkit.io.fields.mask_grid import occupancy_from_mask
from volkit.representations import Representation, VoxelFeatures, VoxelFeaturesConfig
from volkit.typing import Tensor

__all__ = ["read", "sniff"]

MARKS = (b"model_kwargs", b"density.grid")
UNSUPPORTED_ARGUMENTS = ("mpi_depth", "bg_len", "contracted_norm")  # arguments of its other models


def sniff(path: Path) -> bool:
    """Whether the file is a torch pickle with a density grid and the arguments of a model."""
    start = pickle_start(path)
    return all(mark in start for mark in MARKS)


def read(path: Path) -> Representation:
    """Grids, network and the mask of known empty space, in the file's own frame."""
    stored = load_pickled(path)
    with format_errors(path, "DVGO"):
        return _field(stored)


def _field(stored: Any) -> VoxelFeatures:
    arguments, state = stored["model_kwargs"], stored["model_state_dict"]
    if not isinstance(arguments, dict) or not isinstance(state, dict):
        raise ValueError("it lacks its model")
    _check(arguments, state)
    density, k0 = state["density.grid"].float(), state["k0.grid"].float()
    lower, upper = (_corner(arguments[name]) for name in ("xyz_min", "xyz_max"))
    domain = Domain(lower, upper)
    config = _config(arguments, state, domain)
    field = VoxelFeatures(config, domain, torch.Generator())
    network = {name: tensor for name, tensor in state.items() if name.startswith("rgbnet.")}
    tensors = {**network, "density_grid": density, "k0": k0, "occupancy": field.occupancy}
    field.load_state_dict(tensors)
    mask = state.get("mask_cache.mask")
    if mask is not None:
        if mask.dim() != 3 or min(mask.shape) < 2:
            raise ValueError("its mask is not a grid")
        field.occupancy = occupancy_from_mask(mask.bool().permute(2, 1, 0), torch.tensor([lower, upper]), domain)
    step = stored.get("global_step")
    return field.view(provenance={"source": "DVGO", "steps": step if isinstance(step, int) else None})


def _check(arguments: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Raise ValueError unless grids are dense and the scene is bounded."""
    if found := [name for name in UNSUPPORTED_ARGUMENTS if name in arguments]:
        raise ValueError(f"it is a model for forward-facing or unbounded scenes ('{found[0]}'), which is not supported")
    for name in ("density_type", "k0_type"):
        if arguments.get(name, "DenseGrid") != "DenseGrid":
            raise ValueError(f"its {name} is '{str(arguments[name])[:40]}', only DenseGrid is supported")
    if arguments.get("rgbnet_full_implicit"):
        raise ValueError("its colours are fully implicit, which is not supported")
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor) or (tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())):
            raise ValueError(f"'{str(name)[:60]}' is not a tensor of finite numbers")


def _config(arguments: Mapping[str, Any], state: Mapping[str, Tensor], domain: Domain) -> VoxelFeaturesConfig:
    density, k0 = state["density.grid"], state["k0.grid"]
    if density.dim() != 5 or k0.dim() != 5 or density.shape[2:] != k0.shape[2:]:
        raise ValueError(f"its grids have shapes {tuple(density.shape)} and {tuple(k0.shape)}")
    x, y, z = density.shape[2:]
    weights = [name for name in state if name.startswith("rgbnet.") and name.endswith(".weight")]
    edge = (math.prod(domain.extent) / int(arguments["num_voxels_base"])) ** (1 / 3)
    network = {}
    if weights:
        width, inputs = state["rgbnet.0.weight"].shape
        direct = bool(arguments.get("rgbnet_direct", False))
        view_inputs = inputs - k0.shape[1] + (0 if direct else 3) - 3
        network = {"layers": len(weights), "width": width, "view_bands": view_inputs // 6, "direct": direct}
    return VoxelFeaturesConfig(
        size=(x, y, z),
        features=k0.shape[1],
        density_shift=float(state["act_shift"].reshape(-1)[0]),
        density_scale=1.0 / edge,
        **{"layers": 0, **network},
    )


def _corner(value: Any) -> tuple[float, float, float]:
    x, y, z = torch.as_tensor(value).double().reshape(-1).tolist()
    if not all(map(math.isfinite, (x, y, z))):
        raise ValueError("its box is damaged")
    return x, y, z
