"""Nerfacto's networks, of tiny-cuda-nn or plain torch, as the matrices of a hash grid of ours with a bias.

Its colour network reads [16 harmonics, 15 values, appearance], ours [16 values, 16 harmonics, 1]; constant inputs are
multiplied out into the bias. Biases of hidden layers travel in one more unit that is always 1. Facts: nerfstudio
`nerfacto_field.py`, `mlp.py`, `encodings.py`, `spherical_harmonics.py`.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from volkit.geometry import sh_basis
from volkit.io.fields.tcnn import TcnnNetwork, next_multiple
from volkit.ops.hash_encode import HashLevels
from volkit.typing import Float, Tensor

__all__ = ["Networks", "tcnn_networks", "torch_networks"]

HARMONICS, GEOMETRY = 16, 15
WIDTHS, MOST_LAYERS, FEATURES = (64, 16, 32, 128), 4, (2, 1, 4, 8)


@dataclass(frozen=True)
class Networks:
    """Matrices (out, in): [features, 1] to [log density, 15 values], [16 values, 16 harmonics, 1] to colour."""

    density: list[Float[Tensor, "out in"]]
    rgb: list[Float[Tensor, "out in"]]
    table: Float[Tensor, "entry feature"]
    levels: HashLevels
    width: int


def tcnn_networks(state: dict[str, Tensor], levels: HashLevels, appearance: Tensor) -> Networks:
    """From flat vectors; widths and depths are those whose numbers of parameters agree."""
    head = _flat(state, "mlp_head.tcnn_encoding.params")
    seen = HARMONICS + GEOMETRY + len(appearance)
    colour = next((shape for shape in _shapes(WIDTHS, seen, 3) if shape.parameters == len(head)), None)
    if colour is None:
        raise ValueError(f"its colour network has {len(head)} parameters, which no known shape has")
    if "mlp_base.model.params" in state or "mlp_base.params" in state:
        base = _flat(state, "mlp_base.model.params" if "mlp_base.model.params" in state else "mlp_base.params")
    else:  # two modules, once: the network comes first in one vector as well
        base = torch.cat([_flat(state, f"mlp_base_{part}.tcnn_encoding.params") for part in ("mlp", "grid")])
    for features in FEATURES:
        sized = replace(levels, features=features)
        rest = len(base) - sized.entries * features
        for shape in _shapes((colour.width,), levels.levels * features, 1 + GEOMETRY):
            if shape.parameters == rest:
                density, rgb = shape.split(base[:rest]), colour.split(head)
                density[0] = density[0][:, : shape.inputs]  # what pads features is 0
                ones = rgb[0][:, seen:].sum(1)
                rgb[0] = _colour_inputs(rgb[0][:, :HARMONICS], rgb[0][:, HARMONICS:seen], ones, appearance)
                return Networks(density, rgb, base[rest:].view(-1, features), sized, colour.width)
    raise ValueError(f"its {len(base)} parameters are no network of width {colour.width} and table of known sizes")


def torch_networks(state: dict[str, Tensor], levels: HashLevels, appearance: Tensor) -> Networks:
    """From layers with biases, tables that are hashed on every level, and harmonics of (d + 1) / 2 without signs."""
    name = next((key for key in state if key.endswith(("model.0.hash_table", "mlp_base.0.hash_table"))), None)
    if name is None:
        raise ValueError("it lacks a hash table")
    table = state[name].float()
    base = _layers(state, name.replace("0.hash_table", "1.layers."))
    head = _layers(state, "mlp_head.layers.")
    levels = replace(levels, features=table.shape[-1], lookup="nerfstudio")
    weight, bias = head[0]
    if weight.shape[1] != HARMONICS + GEOMETRY + len(appearance):
        raise ValueError(f"its colour network has {weight.shape[1]} inputs")
    if base[-1][0].shape[0] != 1 + GEOMETRY:
        raise ValueError(f"its density network has {base[-1][0].shape[0]} outputs, 16 are known here")
    directions = weight[:, :HARMONICS] @ _unsigned_from_signed()
    first = _colour_inputs(directions, weight[:, HARMONICS:], bias, appearance)
    head[0] = (first[:, :-1], first[:, -1])
    width = max(next_multiple(len(layers[0][0]) + 1, 16) for layers in (base, head))
    return Networks(_carried(base, width), _carried(head, width), table, levels, width)


def _shapes(widths: tuple[int, ...], inputs: int, outputs: int):
    for width in widths:
        for layers in range(1, MOST_LAYERS + 1):
            yield TcnnNetwork(inputs, outputs, width, layers)


def _colour_inputs(directions: Tensor, rest: Tensor, constant: Tensor, appearance: Tensor) -> Tensor:
    """Columns for [log density, 15 values, harmonics, 1]; of log density none are read."""
    values, looks = rest[:, :GEOMETRY], rest[:, GEOMETRY:]
    bias = constant + looks @ appearance
    return torch.cat([torch.zeros_like(values[:, :1]), values, directions, bias[:, None]], 1)


def _carried(layers: list[tuple[Tensor, Tensor]], width: int) -> list[Tensor]:
    """Matrices of a network whose last hidden unit is always 1, and carries every layer's bias to the next."""
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


def _layers(state: dict[str, Tensor], prefix: str) -> list[tuple[Tensor, Tensor]]:
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

    On the sphere both span the polynomials of degree 3, so that M is exact; found in float64 by 64 directions.
    """
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(64, 3, generator=generator, dtype=torch.float64)
    directions = torch.nn.functional.normalize(directions, dim=-1)
    solved = torch.linalg.lstsq(sh_basis(directions, 3), _torch_harmonics(0.5 * directions + 0.5)).solution
    return solved.T.float()


def _torch_harmonics(at: Float[Tensor, "point 3"]) -> Float[Tensor, "point 16"]:
    """Polynomials of nerfstudio `components_from_spherical_harmonics`: no Condon-Shortley signs, any argument."""
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


def _flat(state: dict[str, Tensor], name: str) -> Tensor:
    if name not in state or state[name].dim() != 1:
        raise ValueError(f"it lacks '{name}'")
    return state[name].float()
