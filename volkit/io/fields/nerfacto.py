"""Checkpoints of nerfstudio's nerfacto (`step-*.ckpt`) as kind `hash_grid`, read only.

Beside or above the checkpoint lie `config.yml`, of which plain values are read and nothing is built, and
`dataparser_transforms.json`, which leads back to the data set's frame. Facts: nerfstudio `nerfacto_field.py`, `mlp.py`,
`encodings.py`, `spherical_harmonics.py`, `spatial_distortions.py`, `base_dataparser.py`.
"""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from volkit.files.errors import FormatError, format_errors
from volkit.files.restricted_pickle import load_pickled, pickle_start
from volkit.geometry import Domain, Similarity
from volkit.io.fields.nerfacto_networks import Networks, tcnn_networks, torch_networks
from volkit.io.fields.tcnn import flattened
from volkit.ops.hash_encode import HashLevels
from volkit.representations import HashGrid, HashGridConfig, Placement, Representation
from volkit.typing import Tensor

__all__ = ["read", "sniff"]

MARK = b"_model.field.mlp_base"
FIELD = "_model.field."
SETTINGS, TRANSFORM = "config.yml", "dataparser_transforms.json"
TEXT_LIMIT = 1 << 22  # bytes of either
NERFSTUDIO_WORDS = {"true": True, "false": False, "null": None}


def sniff(path: Path) -> bool:
    """Whether the file is a torch pickle with nerfacto's networks in a pipeline."""
    return MARK in pickle_start(path)


def read(path: Path) -> Representation:
    """The field alone, with the mean appearance of training; proposal networks only choose samples there."""
    stored = load_pickled(path)
    settings = _settings(path)
    with format_errors(path, "nerfacto"):
        field = _field(stored, settings)
        placement = Placement(_world_from_local(path))
    step = stored.get("step")
    provenance = {"source": "nerfstudio nerfacto", "steps": step if isinstance(step, int) else None}
    return field.view(placement=placement, provenance=provenance)


def _field(stored: Any, settings: dict[str, Any]) -> HashGrid:
    state = stored.get("pipeline") if isinstance(stored, dict) else None
    if not isinstance(state, dict):
        raise ValueError("it lacks a pipeline")
    state = {name.removeprefix(FIELD): tensor for name, tensor in state.items() if str(name).startswith(FIELD)}
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor) or (tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())):
            raise ValueError(f"'{name[:60]}' contains NaN, infinity or no numbers")
    levels = _levels(state, settings)
    appearance = _appearance(state, settings)
    tcnn = any(name.endswith((".params", "tcnn_encoding.params")) for name in state)
    networks = (tcnn_networks if tcnn else torch_networks)(state, levels, appearance)
    domain = _domain(state, settings)
    density = float(settings.get("average_init_density", 1.0)) * domain.unit_edge
    if not (math.isfinite(density) and density > 0):
        raise ValueError("its average_init_density is no positive number")
    return _built(networks, domain, density)


def _built(networks: Networks, domain: Domain, density_scale: float) -> HashGrid:
    levels = networks.levels
    config = HashGridConfig(
        levels=levels.levels,
        features=levels.features,
        log2_table=levels.log2_table,
        base_resolution=levels.base_resolution,
        per_level_scale=levels.per_level_scale,
        lookup=levels.lookup,
        width=networks.width,
        density_layers=len(networks.density) - 1,
        rgb_layers=len(networks.rgb) - 1,
        density_scale=density_scale,
        bias=True,
        products="float32",
    )
    field = HashGrid(config, domain, torch.Generator())
    field.load_state_dict(
        {
            "density_network": flattened(networks.density, config.density_shape),
            "rgb_network": flattened(networks.rgb, config.rgb_shape),
            "table": networks.table,
            "occupancy": field.occupancy,
        }
    )
    return field


def _levels(state: dict[str, Tensor], settings: dict[str, Any]) -> HashLevels:
    """Sizes by the buffers that the field keeps; features are found out where the table is."""

    def size(name: str, default: int) -> int:
        return int(state[name]) if name in state else int(settings.get(name, default))

    count, base = size("num_levels", 16), int(settings.get("base_res", 16))
    levels = HashLevels(max(1, min(count, 32)), 1, size("log2_hashmap_size", 19), base, 1.0)
    growth = math.exp(math.log(size("max_res", 2048) / base) / (count - 1)) if count > 1 else 1.0
    return replace(levels, levels=count, per_level_scale=growth)


def _appearance(state: dict[str, Tensor], settings: dict[str, Any]) -> Tensor:
    """What the field hands its colour network when it is not trained: the mean of all pictures' values, or zeros."""
    learned = state.get("embedding_appearance.embedding.weight")
    if learned is None:
        return torch.zeros(0)
    if learned.dim() != 2 or len(learned) == 0:
        raise ValueError("its appearance embedding is no table")
    average = settings.get("use_average_appearance_embedding", True)
    return learned.float().mean(0) if average else torch.zeros(learned.shape[1])


def _domain(state: dict[str, Tensor], settings: dict[str, Any]) -> Domain:
    if not settings.get("disable_scene_contraction", False):
        return Domain.cube(1.0, contracted=True)
    box = state["aabb"].double()
    if box.shape != (2, 3):
        raise ValueError("its aabb is no box")
    lower, upper = (tuple(row) for row in box.tolist())
    return Domain(lower, upper)


def _settings(path: Path) -> dict[str, Any]:
    """Plain values of the model's settings, by name; its tags, which name code, are passed over."""
    text = _beside(path, SETTINGS)
    if text is None:
        raise FormatError(
            path, f"lacks {SETTINGS} beside or above it, which says what unit its density has", "copy it there"
        )
    found = re.findall(r"^ *([a-z_0-9]+): ([-+.0-9eE]+|true|false|null)$", text, re.MULTILINE)
    # The first mention is the field's own: proposal networks follow it, deeper.
    values: dict[str, Any] = {}
    for name, word in found:
        if name not in values:
            values[name] = NERFSTUDIO_WORDS[word] if word in NERFSTUDIO_WORDS else _number(path, word)
    return values


def _number(path: Path, word: str) -> float | int:
    try:
        return int(word) if re.fullmatch(r"[-+]?\d{1,9}", word) else float(word)
    except ValueError as error:
        raise FormatError(path, f"has '{word[:20]}' for a number in {SETTINGS}", "copy it again") from error


def _world_from_local(path: Path) -> Similarity:
    """Nerfstudio's unit frame back to the data set's: p = scale (R x + t) there."""
    text = _beside(path, TRANSFORM)
    if text is None:
        return Similarity()
    try:
        stored = json.loads(text)
        matrix = torch.tensor(stored["transform"], dtype=torch.float64)
        scale = float(stored["scale"])
    except (RecursionError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"its {TRANSFORM} is damaged ({type(error).__name__})") from error
    if matrix.shape != (3, 4) or not bool(torch.isfinite(matrix).all()) or not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"its {TRANSFORM} holds no matrix and scale")
    rotation = tuple(map(tuple, matrix[:, :3].tolist()))
    return Similarity(rotation, tuple((scale * matrix[:, 3]).tolist()), scale).inverse()


def _beside(path: Path, name: str) -> str | None:
    """A text file in the checkpoint's folder or the one above, where nerfstudio puts it."""
    for folder in (path.parent, path.absolute().parent.parent):
        place = folder / name
        try:
            if place.is_file():
                with place.open("rb") as file:
                    return file.read(TEXT_LIMIT).decode(errors="replace")
        except OSError as error:
            raise FormatError(place, f"cannot be read ({error.strerror or error})", "check the path") from error
    return None
