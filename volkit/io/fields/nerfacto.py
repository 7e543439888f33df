"""Checkpoints of nerfstudio's nerfacto (`step-*.ckpt`) as kind `hash_grid`, read only.

Those of `depth-nerfacto` and of nerfstudio's own `instant-ngp` have the same field. What lies around the checkpoint is
in `nerfstudio_run.py`. Source: nerfstudio `nerfacto_field.py`, `mlp.py`, `encodings.py`, `spherical_harmonics.py`,
`spatial_distortions.py`, `models/instant_ngp.py`.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from volkit.files.errors import format_errors
from volkit.files.restricted_pickle import load_pickled, pickle_start
from volkit.geometry import Domain, sh_basis
from volkit.io.fields.tcnn import TcnnNetwork, flatten_padded, round_up
from volkit.io.nerfstudio_run import model_settings, newest_checkpoint, run_placement
from volkit.ops.hash_encode import HashLevels
from volkit.representations import HashGrid, HashGridConfig, Placement, Representation
from volkit.typing import Float, Tensor

__all__ = ["Networks", "read", "read_tcnn_networks", "read_torch_networks", "sniff"]


SH_VALUES, GEOMETRY_VALUES = 16, 15
TRIED_WIDTHS, MAX_LAYERS, TRIED_FEATURES = (64, 16, 32, 128), 4, (2, 1, 4, 8)

MARK = b"_model.field.mlp_base"
OTHER_MARK = MARK + b".layers."  # of mipnerf, whose base has no table
FIELD_PREFIX = "_model.field."


@dataclass(frozen=True)
class Networks:
    """Matrices (out, in): [features, 1] to [log density, 15 values]; [16 values, 16 harmonics, 1] to colour."""

    density: list[Float[Tensor, "out in"]]
    rgb: list[Float[Tensor, "out in"]]
    table: Float[Tensor, "entry feature"]
    levels: HashLevels
    width: int


def read_tcnn_networks(state: dict[str, Tensor], levels: HashLevels, appearance: Tensor) -> Networks:
    """Networks from tiny-cuda-nn's flat vectors; widths and depths are inferred from the number of parameters."""
    head = _get_vector(state, "mlp_head.tcnn_encoding.params")
    inputs = SH_VALUES + GEOMETRY_VALUES + len(appearance)
    colour = next(
        (shape for shape in _candidate_shapes(TRIED_WIDTHS, inputs, 3) if shape.parameters == len(head)), None
    )
    if colour is None:
        raise ValueError(f"its colour network has {len(head)} parameters, which fit no known shape")
    if "mlp_base.model.params" in state or "mlp_base.params" in state:
        base = _get_vector(state, "mlp_base.model.params" if "mlp_base.model.params" in state else "mlp_base.params")
    else:  # older versions: two modules; in one vector, too, the network comes first
        base = torch.cat([_get_vector(state, f"mlp_base_{part}.tcnn_encoding.params") for part in ("mlp", "grid")])
    for features in TRIED_FEATURES:
        sized = replace(levels, features=features)
        rest = len(base) - sized.entries * features
        for shape in _candidate_shapes((colour.width,), levels.levels * features, 1 + GEOMETRY_VALUES):
            if shape.parameters == rest:
                density, rgb = shape.split(base[:rest]), colour.split(head)
                density[0] = density[0][:, : shape.inputs]  # features are padded with 0
                ones = rgb[0][:, inputs:].sum(1)
                rgb[0] = _colour_inputs(rgb[0][:, :SH_VALUES], rgb[0][:, SH_VALUES:inputs], ones, appearance)
                return Networks(density, rgb, base[rest:].view(-1, features), sized, colour.width)
    raise ValueError(f"its {len(base)} parameters fit no network of width {colour.width} with a table of known size")


def read_torch_networks(state: dict[str, Tensor], levels: HashLevels, appearance: Tensor) -> Networks:
    """Networks from torch layers with biases; all levels are hashed, and harmonics take (d + 1) / 2 without signs."""
    name = next((key for key in state if key.endswith(("model.0.hash_table", "mlp_base.0.hash_table"))), None)
    if name is None:
        raise ValueError("it lacks a hash table")
    table = state[name].float()
    base = _get_layers(state, name.replace("0.hash_table", "1.layers."))
    head = _get_layers(state, "mlp_head.layers.")
    levels = replace(levels, features=table.shape[-1], lookup="nerfstudio")
    weight, bias = head[0]
    if weight.shape[1] != SH_VALUES + GEOMETRY_VALUES + len(appearance):
        raise ValueError(f"its colour network has {weight.shape[1]} inputs")
    if base[-1][0].shape[0] != 1 + GEOMETRY_VALUES:
        raise ValueError(f"its density network has {base[-1][0].shape[0]} outputs; 16 are supported")
    directions = weight[:, :SH_VALUES] @ _unsigned_from_signed()
    first = _colour_inputs(directions, weight[:, SH_VALUES:], bias, appearance)
    head[0] = (first[:, :-1], first[:, -1])
    width = max(round_up(len(layers[0][0]) + 1, 16) for layers in (base, head))
    return Networks(_carry_biases(base, width), _carry_biases(head, width), table, levels, width)


def _candidate_shapes(widths: tuple[int, ...], inputs: int, outputs: int):
    for width in widths:
        for layers in range(1, MAX_LAYERS + 1):
            yield TcnnNetwork(inputs, outputs, width, layers)


def _colour_inputs(directions: Tensor, rest: Tensor, constant: Tensor, appearance: Tensor) -> Tensor:
    """Columns for the inputs [log density, 15 values, harmonics, 1]; those of log density are 0."""
    values, appearance_weights = rest[:, :GEOMETRY_VALUES], rest[:, GEOMETRY_VALUES:]
    bias = constant + appearance_weights @ appearance
    return torch.cat([torch.zeros_like(values[:, :1]), values, directions, bias[:, None]], 1)


def _carry_biases(layers: list[tuple[Tensor, Tensor]], width: int) -> list[Tensor]:
    """Matrices without biases: the last hidden unit is always 1 and carries the bias of the next layer."""
    matrices, inputs = [], layers[0][0].shape[1]
    for index, (weight, bias) in enumerate(layers):
        last, into = index == len(layers) - 1, inputs + 1 if index == 0 else width
        matrix = weight.new_zeros(len(weight) if last else width, into)
        matrix[: len(weight), : weight.shape[1]] = weight
        matrix[: len(weight), -1] = bias
        if not last:
            matrix[-1, -1] = 1.0
        matrices.append(matrix)
    return matrices


def _get_layers(state: dict[str, Tensor], prefix: str) -> list[tuple[Tensor, Tensor]]:
    layers = []
    while f"{prefix}{len(layers)}.weight" in state:
        weight = state[f"{prefix}{len(layers)}.weight"].float()
        bias = state[f"{prefix}{len(layers)}.bias"].float()
        if weight.dim() != 2 or bias.shape != weight.shape[:1] or (layers and weight.shape[1] != len(layers[-1][1])):
            raise ValueError(f"'{prefix}{len(layers)}' does not fit the layer before it")
        layers.append((weight, bias))
    if len(layers) < 2:
        raise ValueError(f"it lacks '{prefix}*'")
    return layers


@lru_cache
def _unsigned_from_signed() -> Float[Tensor, "16 16"]:
    """B(d) = M Y(d): nerfstudio's torch harmonics of (d + 1) / 2 in terms of the signed ones of d.

    On the sphere both span the polynomials of degree 3, so M is exact; it is solved in float64 from 64 directions.
    """
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(64, 3, generator=generator, dtype=torch.float64)
    directions = torch.nn.functional.normalize(directions, dim=-1)
    solved = torch.linalg.lstsq(sh_basis(directions, 3), _torch_harmonics(0.5 * directions + 0.5)).solution
    return solved.T.float()


def _torch_harmonics(at: Float[Tensor, "point 3"]) -> Float[Tensor, "point 16"]:
    """The polynomials of nerfstudio's `components_from_spherical_harmonics`: no Condon-Shortley signs."""
    x, y, z = at.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    return torch.stack(
        [
            torch.full_like(x, 0.28209479177387814),
            0.4886025119029199 * y,
            0.4886025119029199 * z,
            0.4886025119029199 * x,
            1.0925484305920792 * x * y,
            1.0925484305920792 * y * z,
            0.9461746957575601 * zz - 0.31539156525251999,
            1.0925484305920792 * x * z,
            0.5462742152960396 * (xx - yy),
            0.5900435899266435 * y * (3 * xx - yy),
            2.890611442640554 * x * y * z,
            0.4570457994644658 * y * (5 * zz - 1),
            0.3731763325901154 * z * (5 * zz - 3),
            0.4570457994644658 * x * (5 * zz - 1),
            1.445305721320277 * z * (xx - yy),
            0.5900435899266435 * x * (xx - 3 * yy),
        ],
        -1,
    )


def _get_vector(state: dict[str, Tensor], name: str) -> Tensor:
    if name not in state or state[name].dim() != 1:
        raise ValueError(f"it lacks '{name}'")
    return state[name].float()


def sniff(path: Path) -> bool:
    """Whether the file, or the newest in a run's folder, is a torch pickle with nerfacto's networks in a pipeline."""
    start = pickle_start(newest_checkpoint(path))
    return MARK in start and OTHER_MARK not in start


def read(path: Path) -> Representation:
    """The field with its mean appearance embedding; proposal networks, which only place samples, are left out."""
    path = newest_checkpoint(path)
    stored = load_pickled(path)
    settings = model_settings(path)
    with format_errors(path, "nerfacto"):
        field = _field(stored, settings)
        run = run_placement(path)
    step = stored.get("step")
    return field.view(
        placement=Placement(run.world_from_local, run.frame),
        provenance={
            "source": "nerfstudio nerfacto",
            "steps": step if isinstance(step, int) else None,
            "world of the run": run.world,
        },
    )


def _field(stored: Any, settings: dict[str, Any]) -> HashGrid:
    state = stored.get("pipeline") if isinstance(stored, dict) else None
    if not isinstance(state, dict):
        raise ValueError("it lacks a pipeline")
    state = {
        name.removeprefix(FIELD_PREFIX): tensor for name, tensor in state.items() if str(name).startswith(FIELD_PREFIX)
    }
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor) or (tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())):
            raise ValueError(f"'{name[:60]}' contains NaN, infinity or no numbers")
    levels = _levels(state, settings)
    appearance = _appearance(state, settings)
    tcnn = any(name.endswith((".params", "tcnn_encoding.params")) for name in state)
    networks = (read_tcnn_networks if tcnn else read_torch_networks)(state, levels, appearance)
    domain = _domain(state, settings)
    density = float(settings.get("average_init_density", 1.0)) * domain.unit_edge
    if not (math.isfinite(density) and density > 0):
        raise ValueError("its average_init_density is not a positive number")
    return _build_field(networks, domain, density)


def _build_field(networks: Networks, domain: Domain, density_scale: float) -> HashGrid:
    levels = networks.levels
    config = HashGridConfig(
        width=networks.width,
        density_layers=len(networks.density) - 1,
        rgb_layers=len(networks.rgb) - 1,
        density_scale=density_scale,
        bias=True,
        products="float32",
    ).with_encoding(levels)
    field = HashGrid(config, domain, torch.Generator())
    field.load_state_dict(
        {
            "density_network": flatten_padded(networks.density, config.density_shape),
            "rgb_network": flatten_padded(networks.rgb, config.rgb_shape),
            "table": networks.table,
            "occupancy": field.occupancy,
        }
    )
    return field


def _levels(state: dict[str, Tensor], settings: dict[str, Any]) -> HashLevels:
    """Sizes of levels from the field's buffers, else from the settings; features are inferred with the table."""

    def size(name: str, default: int) -> int:
        return int(state[name]) if name in state else int(settings.get(name, default))

    count, base = size("num_levels", 16), int(settings.get("base_res", 16))
    levels = HashLevels(max(1, min(count, 32)), 1, size("log2_hashmap_size", 19), base, 1.0)
    growth = math.exp(math.log(size("max_res", 2048) / base) / (count - 1)) if count > 1 else 1.0
    return replace(levels, levels=count, per_level_scale=growth)


def _appearance(state: dict[str, Tensor], settings: dict[str, Any]) -> Tensor:
    """The embedding that the colour network gets at evaluation: the mean over all images, or zeros.

    Models without the setting, `instant-ngp` among them, have the field's default: zeros.
    """
    learned = state.get("embedding_appearance.embedding.weight")
    if learned is None:
        return torch.zeros(0)
    if learned.dim() != 2 or len(learned) == 0:
        raise ValueError("its appearance embedding is not a table")
    average = settings.get("use_average_appearance_embedding", False)
    return learned.float().mean(0) if average else torch.zeros(learned.shape[1])


def _domain(state: dict[str, Tensor], settings: dict[str, Any]) -> Domain:
    if not settings.get("disable_scene_contraction", False):
        return Domain.cube(1.0, contracted=True)
    box = state["aabb"].double()
    if box.shape != (2, 3):
        raise ValueError("its aabb is not a box")
    lower, upper = (tuple(row) for row in box.tolist())
    return Domain(lower, upper)
