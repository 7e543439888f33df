"""Checkpoints of apchenstu/TensoRF (`.th`), vector-matrix and CP, read and written.

Source: that project's `models/tensorBase.py` (`get_kwargs`, `save`, `load`) and `models/tensoRF.py`. A file does not
name its model: with planes it is vector-matrix, without them CP.
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
from volkit.io.fields.mask_grid import mask_from_occupancy, occupancy_from_mask
from volkit.representations import Placement, Representation, TensorCP, TensorCPConfig, TensorVM, TensorVMConfig
from volkit.typing import Tensor

__all__ = ["read", "sniff", "write"]

MARK = b"density_line."
NDC_NEAR_FAR = [0.0, 1.0]  # of forward-facing scenes; its dataLoader/llff.py
NDC_NOTE = (
    "was trained in normalised device coordinates of a forward-facing capture, whose focal length it does not hold: "
    "its space is read as it is, so shapes are warped, most of all with depth"
)
OWN_ENTRY = "volkit"  # our entry, which TensoRF ignores
MAX_WIDTH = 1 << 12  # of networks and factors
NEAR_HALF_EDGES, FAR_HALF_EDGES = 0.05, 100.0  # near_far in half edges: TensoRF samples rays between them


def sniff(path: Path) -> bool:
    """Whether the file is a torch pickle with TensoRF's names of factors."""
    return MARK in pickle_start(path)


def read(path: Path) -> Representation:
    """Factors, colour network and alpha mask as kind `tensor_vm` or `tensor_cp`, in the file's own frame."""
    stored = load_pickled(path)
    with format_errors(path, "TensoRF"):
        return _field(stored)


def write(representation: TensorVM | TensorCP, path: Path) -> None:
    """Write what TensoRF loads, with frame, provenance and occupancy in an entry of ours."""
    if representation.domain.contracted:
        raise FormatError(path, "cannot hold a contracted field", "convert it into one in a box first")
    state = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in representation.state_dict().items()
        if name != "occupancy"
    }
    shape, mask, box = mask_from_occupancy(representation.occupancy, representation.domain)
    content = {
        "kwargs": _arguments(representation),
        "state_dict": state,
        "alphaMask.shape": shape,
        "alphaMask.mask": mask,
        "alphaMask.aabb": box,
        OWN_ENTRY: {
            "frame": json.dumps(dataclass_to_json(representation.world_from_local)),
            "box": json.dumps(dataclass_to_json(representation.domain)),  # TensoRF rounds it to float32
            "provenance": json.dumps(dict(representation.provenance)),
            "occupancy": representation.occupancy.cpu(),
        },
    }
    with atomic_write(path) as place:
        torch.save(content, place)


def _field(stored: Any) -> TensorVM | TensorCP:
    arguments, state = _get_table(stored, "kwargs"), _get_table(stored, "state_dict")
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            raise ValueError(f"'{str(name)[:60]}' is not a tensor of floats")
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"'{name}' contains NaN or infinity")
    state = _pad_components({name: tensor.float() for name, tensor in state.items()})
    box = torch.as_tensor(arguments["aabb"]).double()
    if box.shape != (2, 3) or not bool(torch.isfinite(box).all()):
        raise ValueError("its 'aabb' is not a box")
    lower, upper = (tuple(row) for row in box.tolist())
    domain = Domain(lower, upper)
    config = _config(arguments, state, domain)
    field = config.build(domain, torch.Generator())
    field.load_state_dict({**state, "occupancy": field.occupancy})
    _check_sizes(field)
    if "alphaMask.mask" in stored:
        mask = _unpack_mask(stored["alphaMask.shape"], stored["alphaMask.mask"])
        field.occupancy = occupancy_from_mask(mask, torch.as_tensor(stored["alphaMask.aabb"]).float(), field.domain)
    near_far = arguments.get("near_far")
    near_far = [float(value) for value in near_far] if isinstance(near_far, list | tuple) else None
    if isinstance(entry := stored.get(OWN_ENTRY), dict):
        return _restore_own(field, entry)
    provenance: dict[str, Any] = {"source": "TensoRF", "near_far": near_far}
    return field.view(provenance=provenance | ({"notes": [NDC_NOTE]} if near_far == NDC_NEAR_FAR else {}))


def _config(
    arguments: Mapping[str, Any], state: Mapping[str, Tensor], domain: Domain
) -> TensorVMConfig | TensorCPConfig:
    """Sizes from the shapes of tensors, activations from the file's arguments."""
    shading = str(arguments.get("shadingMode"))
    if shading not in ("SH", "MLP_Fea", "MLP"):
        raise ValueError(f"its shading is '{shading[:40]}'; SH, MLP_Fea and MLP are supported")
    activation = arguments.get("fea2denseAct")
    if activation not in ("softplus", "relu"):
        raise ValueError(f"its density activation is '{str(activation)[:40]}'; softplus and relu are supported")
    network: dict[str, Any] = {}
    if shading != "SH":
        network = {
            "feature_width": _get_size(state["renderModule.mlp.0.weight"].shape[0]),
            "feature_bands": _get_size(arguments["fea_pe"], 0) if shading == "MLP_Fea" else 0,
            "view_bands": _get_size(arguments["view_pe"], 0),
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
        density_shift=_finite(arguments["density_shift"]),
        density_scale=_finite(arguments["distance_scale"]) * domain.unit_edge,
        **network,
    )


def _pad_components(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Pad all axes with zeros to the same number of components (forward-facing scenes have 16, 4, 4)."""
    counts = [state[f"app_line.{index}"].shape[1] for index in range(3)]
    for name in ("density", "app"):
        most = max(state[f"{name}_line.{index}"].shape[1] for index in range(3))
        for key in [key for key in state if key.startswith((f"{name}_line.", f"{name}_plane."))]:
            if state[key].dim() != 4 or most > MAX_WIDTH:
                raise ValueError(f"'{key}' is not a factor of 4 axes")
            state[key] = functional.pad(state[key], (0, 0, 0, 0, 0, most - state[key].shape[1]))
    if "app_plane.0" in state and len(set(counts)) > 1:
        parts = state["basis_mat.weight"].split(counts, 1)
        state["basis_mat.weight"] = torch.cat([functional.pad(p, (0, max(counts) - p.shape[1])) for p in parts], 1)
    return state


def _check_sizes(field: TensorVM | TensorCP) -> None:
    """Raise ValueError unless all factors along an axis have the same length."""
    x, y, z = (field.density_line[index].shape[2] for index in (2, 1, 0))
    planes = {"density_plane": ((y, x), (z, x), (z, y)), "app_plane": ((y, x), (z, x), (z, y))}
    lines = {"density_line": ((z, 1), (y, 1), (x, 1)), "app_line": ((z, 1), (y, 1), (x, 1))}
    for name, sizes in {**lines, **(planes if isinstance(field, TensorVM) else {})}.items():
        for factor, size in zip(getattr(field, name), sizes, strict=True):
            if tuple(factor.shape[2:]) != size or min(factor.shape) < 1:
                raise ValueError(f"'{name}' has a factor of {tuple(factor.shape[2:])} texels where others have {size}")


def _unpack_mask(shape: Any, packed: Any) -> Tensor:
    sizes = [_get_size(size) for size in shape]
    packed = np.asarray(packed)
    if len(sizes) < 3 or packed.dtype != np.uint8 or packed.ndim != 1 or math.prod(sizes) > 8 * packed.size:
        raise ValueError("its alpha mask does not have the bits that its shape needs")
    return torch.from_numpy(np.unpackbits(packed, count=math.prod(sizes))).view(sizes[-3:]).bool()


def _restore_own(field: TensorVM | TensorCP, entry: Mapping[str, Any]) -> TensorVM | TensorCP:
    """Restore what our writer stored beside TensoRF's entries."""
    provenance = json.loads(entry["provenance"])
    occupancy = torch.as_tensor(entry["occupancy"])
    if occupancy.dtype != torch.uint8 or occupancy.shape != field.occupancy.shape:
        raise ValueError("its occupancy has the wrong size")
    field.occupancy = occupancy
    return field.view(
        domain=dataclass_from_json(Domain, json.loads(entry["box"])),
        placement=Placement(dataclass_from_json(Similarity, json.loads(entry["frame"]))),
        provenance=provenance if isinstance(provenance, dict) else {},
    )


def _arguments(field: TensorVM | TensorCP) -> dict[str, Any]:
    """The arguments of TensoRF's constructor."""
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


def _get_table(stored: Any, name: str) -> dict[Any, Any]:
    value = stored.get(name) if isinstance(stored, dict) else None
    if not isinstance(value, dict):
        raise ValueError(f"it lacks '{name}'")
    return value


def _get_size(value: Any, least: int = 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MAX_WIDTH:
        raise ValueError(f"{str(value)[:40]} is not a valid size")
    return value


def _finite(value: Any) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{str(value)[:40]} is not a finite number")
    return float(value)
