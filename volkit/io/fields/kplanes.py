"""Checkpoints of sarafridov/K-Planes (`.pth`), static hybrid models, as kind `planes`, read only.

Source: that project's `plenoxels/models/kplane_field.py`, `ops/activations.py` (density is `exp(s - 1)`),
`runners/base_trainer.py` and `raymarching/spatial_distortions.py`; networks are tiny-cuda-nn's.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from volkit.files.errors import format_errors
from volkit.files.restricted_pickle import load_pickled, pickle_start
from volkit.geometry import Domain
from volkit.representations import Planes, PlanesConfig, Representation
from volkit.typing import Tensor

__all__ = ["read", "sniff"]

MARKS = (b"field.grids.0.0", b"field.sigma_net.params")
PREFIX = "field."
STATIC_PLANES = 3  # of a static scene; dynamic ones have 6
GEOMETRY_OUTPUTS = 16


def sniff(path: Path) -> bool:
    """Whether the file is a torch pickle with K-Planes' names of planes and networks."""
    start = pickle_start(path)
    return all(mark in start for mark in MARKS) or (MARKS[0] in start and b"field.color_basis" in start)


def read(path: Path) -> Representation:
    """Planes of every scale and both networks; proposal networks, which only place samples, are left out."""
    stored = load_pickled(path)
    with format_errors(path, "K-Planes"):
        field = _field(_state(stored))
    step = stored.get("global_step") if isinstance(stored, dict) else None
    return field.view(provenance={"source": "K-Planes", "steps": step if isinstance(step, int) else None})


def _state(stored: Any) -> dict[str, Tensor]:
    state = stored.get("model") if isinstance(stored, dict) else None
    if not isinstance(state, dict):
        raise ValueError("it lacks its model")
    state = {str(name).removeprefix(PREFIX): t for name, t in state.items() if str(name).startswith(PREFIX)}
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor) or (tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())):
            raise ValueError(f"'{name[:60]}' is not a tensor of finite numbers")
    if "color_basis.params" in state:
        raise ValueError("its decoder is linear (explicit model); only the hybrid model is supported")
    if any(name.startswith(("appearance_embedding", "test_appearance")) for name in state):
        raise ValueError("its colours depend on an appearance embedding, which is not supported")
    return {name: tensor.float() for name, tensor in state.items()}


def _field(state: Mapping[str, Tensor]) -> Planes:
    scales = _scales(state)
    first = scales[0][0]
    channels, resolution = first.shape[1], max(max(plane.shape[2:]) for plane in scales[0])
    features = channels * len(scales)
    width = len(state["sigma_net.params"]) // (-(-features // 16) * 16 + GEOMETRY_OUTPUTS)
    domain = _domain(state)
    config = PlanesConfig(
        resolution=resolution,
        scales=tuple(max(1, round(max(planes[0].shape[2:]) / resolution)) for planes in scales),
        channels=channels,
        width=width,
        density_scale=domain.unit_edge,
        products="float32",
    )
    if len(state["sigma_net.params"]) != config.sigma_shape.parameters:
        raise ValueError(
            f"its density network has {len(state['sigma_net.params'])} parameters, not the "
            f"{config.sigma_shape.parameters} of one that reads all scales concatenated"
        )
    field = Planes(config, domain, torch.Generator())
    planes = {f"grids.{i}.{j}": plane for i, scale in enumerate(scales) for j, plane in enumerate(scale)}
    networks = {name: state[name] for name in ("sigma_net.params", "color_net.params")}
    field.load_state_dict({**planes, **networks, "occupancy": field.occupancy})
    return field


def _scales(state: Mapping[str, Tensor]) -> list[list[Tensor]]:
    scales = []
    while f"grids.{len(scales)}.0" in state:
        index = len(scales)
        planes = [state[name] for name in sorted(state) if name.startswith(f"grids.{index}.")]
        if len(planes) != STATIC_PLANES:
            raise ValueError(f"it has {len(planes)} planes per scale; only 3 (static scenes) are supported")
        xy, xz, yz = planes
        if any(plane.dim() != 4 or len(plane) != 1 or min(plane.shape[1:]) < 1 for plane in planes):
            raise ValueError(f"its planes of scale {index} are not textures")
        sizes = (xy.shape[3], xy.shape[2], xz.shape[2])
        if xz.shape[3] != sizes[0] or yz.shape[3] != sizes[1] or yz.shape[2] != sizes[2]:
            raise ValueError(f"its planes of scale {index} do not fit each other")
        if len({plane.shape[1] for plane in (*planes, *(scales[0] if scales else []))}) > 1:
            raise ValueError("its planes have different numbers of features")
        scales.append(planes)
    return scales


def _domain(state: Mapping[str, Tensor]) -> Domain:
    """The box; of a contracted field the box that translation and scale map to the unit cube."""
    translation = state.get("spatial_distortion.global_translation")
    scale = state.get("spatial_distortion.global_scale")
    if translation is None or scale is None:
        lower, upper = state["aabb"].double().view(2, 3)
        return Domain(_triple(lower), _triple(upper))
    centre, half = -translation.double() / scale.double(), 1.0 / scale.double()
    return Domain(_triple(centre - half), _triple(centre + half), contracted=True)


def _triple(values: Tensor) -> tuple[float, float, float]:
    x, y, z = values.double().reshape(-1).tolist()
    return x, y, z
