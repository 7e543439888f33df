"""Checkpoints of apchenstu/TensoRF (`.th`), vector-matrix and CP, read and written.

Facts: `models/tensorBase.py` (`get_kwargs`, `save`, `load`) and `models/tensoRF.py` of that project. Which of the two
models a file holds is not said in it: planes are there, or they are not.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from volkit.files.atomic import atomic_write
from volkit.files.dataclass_json import dataclass_from_json, dataclass_to_json
from volkit.files.errors import FormatError, format_errors
from volkit.files.restricted_pickle import load_pickled, pickle_start
from volkit.geometry import Domain, Similarity
from volkit.io.fields.mask_grid import mask_of, occupancy_of
from volkit.representations import Placement, Representation, TensorCP, TensorCPConfig, TensorVM, TensorVMConfig
from volkit.typing import Tensor

__all__ = ["read", "sniff", "write"]

MARK = b"density_line.0"
OWN_ENTRY = "volkit"  # our entry beside those that the project reads
LARGEST_NETWORK = 1 << 12
NEAR_HALF_EDGES, FAR_HALF_EDGES = 0.05, 100.0  # half edges: between them the project looks for the box


def sniff(path: Path) -> bool:
    """Whether the file is a torch pickle that names factors as this project does."""
    start = pickle_start(path)
    return MARK in start and b"kwargs" in start


def read(path: Path) -> Representation:
    """Factors, colour network and alpha mask as kind `tensor_vm` or `tensor_cp`, in the file's own frame."""
    stored = load_pickled(path)
    with format_errors(path, "TensoRF"):
        return _field(stored)


def write(representation: TensorVM | TensorCP, path: Path) -> None:
    """What the project's own renderer loads; frame, provenance and occupancy in an entry of our own."""
    if representation.domain.contracted:
        raise FormatError(path, "cannot hold a contracted field", "convert it into one in a box first")
    state = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in representation.state_dict().items()
        if name != "occupancy"
    }
    shape, mask, box = mask_of(representation.occupancy, representation.domain)
    content = {
        "kwargs": _arguments(representation),
        "state_dict": state,
        "alphaMask.shape": shape,
        "alphaMask.mask": mask,
        "alphaMask.aabb": box,
        OWN_ENTRY: {
            "frame": json.dumps(dataclass_to_json(representation.world_from_local)),
            "box": json.dumps(dataclass_to_json(representation.domain)),  # which the project keeps as float32
            "provenance": json.dumps(dict(representation.provenance)),
            "occupancy": representation.occupancy.cpu(),
        },
    }
    with atomic_write(path) as place:
        torch.save(content, place)


def _field(stored: Any) -> TensorVM | TensorCP:
    arguments, state = _table(stored, "kwargs"), _table(stored, "state_dict")
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            raise ValueError(f"'{str(name)[:60]}' is no tensor of numbers")
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"'{name}' contains NaN or infinity")
    state = _even({name: tensor.float() for name, tensor in state.items()})
    box = torch.as_tensor(arguments["aabb"]).double()
    if box.shape != (2, 3) or not bool(torch.isfinite(box).all()):
        raise ValueError("its 'aabb' is no box")
    lower, upper = (tuple(row) for row in box.tolist())
    domain = Domain(lower, upper)
    config = _config(arguments, state, domain)
    field = config.build(domain, torch.Generator())
    field.load_state_dict({**state, "occupancy": field.occupancy})
    _check_sizes(field)
    if "alphaMask.mask" in stored:
        mask = _mask(stored["alphaMask.shape"], stored["alphaMask.mask"])
        field.occupancy = occupancy_of(mask, torch.as_tensor(stored["alphaMask.aabb"]).float(), field.domain)
    near_far = arguments.get("near_far")
    near_far = [float(value) for value in near_far] if isinstance(near_far, list | tuple) else None
    if isinstance(own := stored.get(OWN_ENTRY), dict):
        return _restored(field, own)
    return field.view(provenance={"source": "TensoRF", "near_far": near_far})


def _config(
    arguments: Mapping[str, Any], state: Mapping[str, Tensor], domain: Domain
) -> TensorVMConfig | TensorCPConfig:
    """Sizes by the tensors' shapes, activations by what the file says."""
    shading = str(arguments.get("shadingMode"))
    if shading not in ("SH", "MLP_Fea", "MLP"):
        raise ValueError(f"its shading is '{shading[:40]}'; SH, MLP_Fea and MLP are supported")
    activation = arguments.get("fea2denseAct")
    if activation not in ("softplus", "relu"):
        raise ValueError(f"its density activation is '{str(activation)[:40]}'; softplus and relu are supported")
    network: dict[str, Any] = {}
    if shading != "SH":
        network = {
            "feature_width": _count(state["renderModule.mlp.0.weight"].shape[0]),
            "feature_bands": _count(arguments["fea_pe"], 0) if shading == "MLP_Fea" else 0,
            "view_bands": _count(arguments["view_pe"], 0),
        }
    kind = TensorVMConfig if "density_plane.0" in state else TensorCPConfig
    return kind(
        resolution=2,
        start=2,
        density_components=state["density_line.0"].shape[1],
        appearance_components=state["app_line.0"].shape[1],
        appearance_dim=state["basis_mat.weight"].shape[0],
        shading="SH" if shading == "SH" else "MLP_Fea",
        activation=activation,
        density_shift=_real(arguments["density_shift"]),
        density_scale=_real(arguments["distance_scale"]) * domain.unit_edge,
        **network,
    )


def _even(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give every plane as many components as the richest has, new ones zero (forward-facing scenes have 16, 4, 4)."""
    counts = [state[f"app_line.{index}"].shape[1] for index in range(3)]
    for name in ("density", "app"):
        most = max(state[f"{name}_line.{index}"].shape[1] for index in range(3))
        for key in [key for key in state if key.startswith((f"{name}_line.", f"{name}_plane."))]:
            if state[key].dim() != 4 or most > LARGEST_NETWORK:
                raise ValueError(f"'{key}' is no factor")
            state[key] = functional.pad(state[key], (0, 0, 0, 0, 0, most - state[key].shape[1]))
    if "app_plane.0" in state and len(set(counts)) > 1:
        parts = state["basis_mat.weight"].split(counts, 1)
        state["basis_mat.weight"] = torch.cat([functional.pad(p, (0, max(counts) - p.shape[1])) for p in parts], 1)
    return state


def _check_sizes(field: TensorVM | TensorCP) -> None:
    """Every factor along one axis is as long as the others."""
    x, y, z = (field.density_line[index].shape[2] for index in (2, 1, 0))
    planes = {"density_plane": ((y, x), (z, x), (z, y)), "app_plane": ((y, x), (z, x), (z, y))}
    lines = {"density_line": ((z, 1), (y, 1), (x, 1)), "app_line": ((z, 1), (y, 1), (x, 1))}
    for name, sizes in {**lines, **(planes if isinstance(field, TensorVM) else {})}.items():
        for factor, size in zip(getattr(field, name), sizes, strict=True):
            if tuple(factor.shape[2:]) != size or min(factor.shape) < 1:
                raise ValueError(f"'{name}' has a factor of {tuple(factor.shape[2:])} texels among others of {size}")


def _mask(shape: Any, packed: Any) -> Tensor:
    sizes = [_count(size) for size in shape]
    packed = np.asarray(packed)
    if len(sizes) < 3 or packed.dtype != np.uint8 or packed.ndim != 1 or math.prod(sizes) > 8 * packed.size:
        raise ValueError("its alpha mask is no array of bits of its shape")
    return torch.from_numpy(np.unpackbits(packed, count=math.prod(sizes))).view(sizes[-3:]).bool()


def _restored(field: TensorVM | TensorCP, own: Mapping[str, Any]) -> TensorVM | TensorCP:
    """The field as our writer noted it."""
    provenance = json.loads(own["provenance"])
    occupancy = torch.as_tensor(own["occupancy"])
    if occupancy.dtype != torch.uint8 or occupancy.shape != field.occupancy.shape:
        raise ValueError("its occupancy has another size")
    field.occupancy = occupancy
    return field.view(
        domain=dataclass_from_json(Domain, json.loads(own["box"])),
        placement=Placement(dataclass_from_json(Similarity, json.loads(own["frame"]))),
        provenance=provenance if isinstance(provenance, dict) else {},
    )


def _arguments(field: TensorVM | TensorCP) -> dict[str, Any]:
    """What the project's constructor takes, in its words."""
    config = field.config
    spread = 3 if isinstance(field, TensorVM) else 1
    half = 0.5 * max(field.domain.extent)
    near = field.capture.near / field.world_from_local.scale if field.capture is not None else 0.0
    return {
        "aabb": torch.tensor([field.domain.lower, field.domain.upper]),
        "gridSize": [field.density_line[index].shape[2] for index in (2, 1, 0)],
        "density_n_comp": [config.density_components] * spread,
        "appearance_n_comp": [config.appearance_components] * spread,
        "app_dim": config.appearance_dim,
        "density_shift": config.density_shift,
        "alphaMask_thres": 1e-4,
        "distance_scale": config.density_scale / field.domain.unit_edge,
        "rayMarch_weight_thres": 1e-4,
        "fea2denseAct": config.activation,
        "near_far": [max(near, NEAR_HALF_EDGES * half), FAR_HALF_EDGES * half],
        "step_ratio": 0.5,
        "shadingMode": config.shading,
        "pos_pe": 0,
        "view_pe": config.view_bands,
        "fea_pe": config.feature_bands,
        "featureC": config.feature_width,
    }


def _table(stored: Any, name: str) -> dict[Any, Any]:
    value = stored.get(name) if isinstance(stored, dict) else None
    if not isinstance(value, dict):
        raise ValueError(f"it lacks '{name}'")
    return value


def _count(value: Any, least: int = 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= LARGEST_NETWORK:
        raise ValueError(f"{str(value)[:40]} is no size")
    return value


def _real(value: Any) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{str(value)[:40]} is no finite number")
    return float(value)
