"""Checkpoints of instant-ngp's kin in PyTorch: ashawkey/torch-ngp (`.pth`) and kwea123/ngp_pl (`.ckpt`), read only.

torch-ngp: a grid of its own layout (`HashLevels`, lookup torch-ngp) and layers without biases, over [-bound, bound]^3.
Source: `gridencoder/grid.py` and `gridencoder.cu`, `nerf/network.py`, `renderer.py` and `provider.py`, whose
`nerf_matrix_to_ngp` turns the world to +Y up.

ngp_pl: tiny-cuda-nn's encoding and networks over [-scale, scale]^3. Source: `models/networks.py`.

Both: density exp(h_0), colours from harmonics of degree 3, then the density network's outputs, without the first in
torch-ngp; bits of occupied cells in cascades.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from volkit.files.errors import FormatError, format_errors
from volkit.files.restricted_pickle import load_pickled, pickle_start
from volkit.geometry import Domain
from volkit.io.fields.instant_ngp.container import pool_cascades
from volkit.io.fields.tcnn import TcnnNetwork, flatten_padded
from volkit.ops.hash_encode import HashLevels
from volkit.representations import HashGrid, HashGridConfig, Placement, Representation
from volkit.representations.occupancy_bits import OCCUPANCY_RESOLUTION, dilate, pack_bits, unpack_bits
from volkit.typing import Float, Tensor, UInt8

__all__ = ["read_ngp_pl", "read_torch_ngp", "sniff_ngp_pl", "sniff_torch_ngp"]

TORCH_NGP_MARKS = (b"encoder.embeddings", b"sigma_net.")
NGP_PL_MARKS = (b"xyz_encoder.params", b"rgb_net.params")
FINEST_CELLS = 2048.0  # per unit of half the box, in both
HARMONICS, OUTPUTS = 16, 16  # of directions; of the density network
MAX_LAYERS = 8
CELL_BYTES = OCCUPANCY_RESOLUTION**3 // 8
NGP_PL_LEVELS, NGP_PL_WIDTH = HashLevels(log2_table=19, base_resolution=16), 64


@dataclass(frozen=True)
class _Parts:
    """A field before it is built; matrices without biases, those of colours for [outputs, harmonics]."""

    half_edge: float
    levels: HashLevels
    table: Tensor
    density: list[Tensor]
    rgb: list[Tensor]
    bits: Tensor | None


def sniff_torch_ngp(path: Path) -> bool:
    """Whether the file is a torch pickle with torch-ngp's grid and layers."""
    start = pickle_start(path)
    return all(mark in start for mark in TORCH_NGP_MARKS)


def sniff_ngp_pl(path: Path) -> bool:
    """Whether the file is a torch pickle with ngp_pl's encoder and networks."""
    start = pickle_start(path)
    return all(mark in start for mark in NGP_PL_MARKS)


def read_torch_ngp(path: Path) -> Representation:
    """The field in the cube that it was trained in, which has +Y up; the trainer's scale of the world is not stored."""
    stored = load_pickled(path)
    with format_errors(path, "torch-ngp"):
        state = _state(stored, "model", "")
        if "encoder_bg.embeddings" in state:
            raise FormatError(path, "has a background model, which no kind here holds", "train it without one")
        field = _build(_torch_ngp_parts(state))
    steps = stored.get("global_step")
    return field.view(
        placement=Placement(frame="yup"),
        provenance={"source": "ashawkey/torch-ngp", "steps": steps if isinstance(steps, int) else None},
    )


def read_ngp_pl(path: Path) -> Representation:
    """The field in the cube that it was trained in, +Z up as in its synthetic datasets."""
    stored = load_pickled(path)
    with format_errors(path, "ngp_pl"):
        field = _build(_ngp_pl_parts(_state(stored, "state_dict", "model.")))
    steps = stored.get("global_step") if isinstance(stored, dict) else None
    return field.view(provenance={"source": "kwea123/ngp_pl", "steps": steps if isinstance(steps, int) else None})


def _state(stored: Any, key: str, prefix: str) -> dict[str, Tensor]:
    """Tensors by name without a prefix; some programs store them without the map around them."""
    state = stored.get(key, stored) if isinstance(stored, dict) else None
    if not isinstance(state, dict):
        raise ValueError(f"it lacks '{key}'")
    found = {str(name).removeprefix(prefix): value for name, value in state.items() if isinstance(value, Tensor)}
    for name, tensor in found.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"'{name[:60]}' contains NaN or infinity")
    return found


def _torch_ngp_parts(state: dict[str, Tensor]) -> _Parts:
    box = _get(state, "aabb_train" if "aabb_train" in state else "aabb_infer")
    half = float(box[-1])
    if box.shape != (6,) or not bool((box == torch.tensor([-half] * 3 + [half] * 3)).all()) or not half > 0:
        raise ValueError("its box is not a cube about the origin")
    table, offsets = _get(state, "encoder.embeddings"), state["encoder.offsets"].long().tolist()
    levels, stored = _torch_ngp_levels(table, offsets, half)
    entries = [
        functional.pad(table[start : start + size], (0, 0, 0, whole - size))
        for start, size, whole in zip(offsets[:-1], stored, levels.sizes, strict=True)
    ]
    density, rgb = _layers(state, "sigma_net"), _layers(state, "color_net")
    if len(density[-1]) != OUTPUTS or rgb[0].shape[1] != HARMONICS + OUTPUTS - 1 or len(rgb[-1]) != 3:
        raise ValueError("its networks have other inputs or outputs than torch-ngp's own")
    directions, values = rgb[0].split([HARMONICS, OUTPUTS - 1], 1)
    rgb[0] = torch.cat([torch.zeros_like(values[:, :1]), values, directions], 1)
    return _Parts(half, levels, torch.cat(entries), density, rgb, state.get("density_bitfield"))


def _torch_ngp_levels(table: Tensor, offsets: list[int], half: float) -> tuple[HashLevels, list[int]]:
    """The levels, and the entries that each has in the file, where newer versions round them up to 8."""
    sizes = [end - start for start, end in pairwise(offsets)]
    if table.dim() != 2 or len(sizes) < 2 or min(sizes) < 8 or offsets[0] or offsets[-1] != len(table):
        raise ValueError("its table and the offsets of its levels do not fit")
    base = math.floor(sizes[0] ** (1 / 3) + 1e-6) - 1
    growth = 2.0 ** (math.log2(FINEST_CELLS * half / base) / (len(sizes) - 1))
    levels = HashLevels(len(sizes), table.shape[1], (max(sizes) - 1).bit_length(), base, growth, "torch-ngp")
    for size, whole, edge in zip(sizes, levels.sizes, levels.resolutions, strict=True):
        if size not in (whole, min(edge**3, whole)):
            raise ValueError(f"a level has {size} entries, where {base} cells that grow by {growth:.4g} make {whole}")
    return levels, sizes


def _ngp_pl_parts(state: dict[str, Tensor]) -> _Parts:
    half = float(_get(state, "xyz_max").reshape(-1)[0])
    if not half > 0:
        raise ValueError("its box is empty")
    growth = math.exp(math.log(FINEST_CELLS * half / NGP_PL_LEVELS.base_resolution) / (NGP_PL_LEVELS.levels - 1))
    levels = HashLevels(log2_table=19, base_resolution=16, per_level_scale=growth)
    base, head = _get(state, "xyz_encoder.params"), _get(state, "rgb_net.params")
    density = TcnnNetwork(levels.levels * levels.features, OUTPUTS, NGP_PL_WIDTH, 1)
    colour = TcnnNetwork(HARMONICS + OUTPUTS, 3, NGP_PL_WIDTH, 2)
    wanted = density.parameters + levels.entries * levels.features
    if base.shape != (wanted,) or head.shape != (colour.parameters,):
        raise ValueError(f"it has {base.numel()} and {head.numel()} parameters, not {wanted} and {colour.parameters}")
    table, rgb = base[density.parameters :].view(-1, levels.features), colour.split(head)
    rgb[0] = torch.cat([rgb[0][:, HARMONICS : HARMONICS + OUTPUTS], rgb[0][:, :HARMONICS]], 1)
    return _Parts(half, levels, table, density.split(base[: density.parameters]), rgb, state.get("density_bitfield"))


def _build(parts: _Parts) -> HashGrid:
    domain, levels = Domain.cube(parts.half_edge), parts.levels
    config = HashGridConfig(
        width=max(len(parts.density[0]), len(parts.rgb[0])),
        density_layers=len(parts.density) - 1,
        rgb_layers=len(parts.rgb) - 1,
        density_scale=domain.unit_edge,  # exp(h_0) is per unit
        products="float32",
    ).with_encoding(levels)
    field = HashGrid(config, domain, torch.Generator())
    field.load_state_dict({
        "density_network": flatten_padded(parts.density, config.density_shape),
        "rgb_network": flatten_padded(parts.rgb, config.rgb_shape),
        "table": parts.table,
        "occupancy": field.occupancy if parts.bits is None else _occupancy(parts, field.occupancy),
    })  # fmt: skip
    return field


def _occupancy(parts: _Parts, everywhere: UInt8[Tensor, " byte"]) -> UInt8[Tensor, " byte"]:
    """Bits of the outermost cascade with those inside it, or `everywhere` where none is set.

    Cascades have twice the edge of the one before; a last one that does not is taken alone, and a cell wider.
    """
    bits = parts.bits
    assert bits is not None
    if bits.dtype != torch.uint8 or bits.numel() % CELL_BYTES or not bits.numel():
        raise ValueError("its bits of occupied cells are damaged")
    found = unpack_bits(bits.reshape(-1)).view(-1, 8 * CELL_BYTES)
    if not bool(found.any()):
        return everywhere
    doubles = math.log2(parts.half_edge).is_integer()
    return pack_bits(pool_cascades(found)) if doubles else dilate(pack_bits(found[-1]))


def _layers(state: dict[str, Tensor], name: str) -> list[Float[Tensor, "out in"]]:
    found = []
    while f"{name}.{len(found)}.weight" in state and len(found) < MAX_LAYERS:
        weight = _get(state, f"{name}.{len(found)}.weight")
        if weight.dim() != 2 or (found and weight.shape[1] != len(found[-1])):
            raise ValueError(f"'{name}.{len(found)}' does not fit the layer before it")
        found.append(weight)
    if len(found) < 2 or len({len(weight) for weight in found[:-1]}) > 1:
        raise ValueError(f"'{name}' has {len(found)} layers, or layers of different widths")
    return found


def _get(state: dict[str, Tensor], name: str) -> Tensor:
    if name not in state:
        raise ValueError(f"it lacks '{name}'")
    return state[name].float()
