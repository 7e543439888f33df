"""What a snapshot's configuration says about its parameters: grid, two networks, their order and number.

Facts: NVlabs/instant-ngp `testbed.cu` (`reset_network`) and `nerf_network.h`; tiny-cuda-nn `grid.h`,
`spherical_harmonics.h`, `composite.h`. Order: density network, colour network, hash table.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from volkit.io.fields.tcnn import TcnnNetwork, next_multiple
from volkit.ops.hash_encode import HashLevels
from volkit.representations import HashGridConfig

__all__ = ["Layout", "integer", "layout_of", "number", "table"]

FINEST_CELLS = 2048.0  # cells of the finest level along the unit cube where the configuration names no growth
GRIDS = ("hashgrid", "grid")
NETWORKS = {"fullyfusedmlp": 16, "megakernelmlp": 16, "cutlassmlp": 8}  # and what their widths are multiples of


@dataclass(frozen=True)
class Layout:
    """Sizes of everything that the parameter vector holds; `extra` latent values follow the direction."""

    levels: HashLevels
    density: TcnnNetwork
    rgb: TcnnNetwork
    sh_degree: int
    extra: int

    @property
    def parameters(self) -> int:
        """Length of the parameter vector."""
        return self.density.parameters + self.rgb.parameters + self.levels.entries * self.levels.features

    def config(self, density_scale: float) -> HashGridConfig:
        """The same as a configuration of ours; latents become a bias."""
        levels = self.levels
        return HashGridConfig(
            levels=levels.levels,
            features=levels.features,
            log2_table=levels.log2_table,
            base_resolution=levels.base_resolution,
            per_level_scale=levels.per_level_scale,
            width=self.density.width,
            density_layers=self.density.hidden_layers,
            rgb_layers=self.rgb.hidden_layers,
            sh_degree=self.sh_degree,
            density_scale=density_scale,
            bias=self.extra > 0,
            products="float32",
        )


def layout_of(root: Mapping[str, Any], aabb_scale: int, extra: int) -> Layout:
    """Read the configuration; ValueError says what about it is damaged or not known here."""
    levels = _levels(table(root, "encoding"), aabb_scale)
    density = _network(table(root, "network"), "network", levels.levels * levels.features)
    if density.outputs != 16:
        raise ValueError(f"its density network has {density.outputs} outputs, 16 are known here")
    degree = _sh_degree(table(root, "dir_encoding"))
    colour = table(root, "rgb_network")
    seen = next_multiple((degree + 1) ** 2 + extra, _alignment(colour, "rgb_network"))
    rgb = _network({**colour, "n_output_dims": 3}, "rgb_network", 16 + seen)
    if rgb.width != density.width:
        raise ValueError(f"its networks are {density.width} and {rgb.width} wide, equal widths are known here")
    return Layout(levels, density, rgb, degree, extra)


def table(parent: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A named map inside a map; ValueError where there is none."""
    value = parent.get(name)
    if not isinstance(value, dict):
        raise ValueError(f"it lacks '{name}'")
    return value


def integer(parent: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """A named whole number; ValueError where it is none."""
    value = parent.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"its '{name}' is no whole number")
    return value


def number(parent: Mapping[str, Any], name: str, default: float | None = None) -> float:
    """A named finite number; ValueError where it is none."""
    value = parent.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"its '{name}' is no finite number")
    return float(value)


def _levels(encoding: dict[str, Any], aabb_scale: int) -> HashLevels:
    kind = str(encoding.get("otype", "")).lower()
    if kind not in GRIDS or str(encoding.get("type", "hash")).lower() != "hash":
        raise ValueError(f"it encodes positions by '{kind[:40]}', HashGrid is known here")
    for name, known in (("interpolation", "linear"), ("hash", "coherentprime")):
        if str(encoding.get(name, known)).lower() != known:
            raise ValueError(f"its '{name}' is '{str(encoding[name])[:40]}', {known} is known here")
    features = integer(encoding, "n_features_per_level", 2)
    count = integer(encoding, "n_levels", 16)
    if integer(encoding, "n_features", 0) > 0 and features > 0:
        count = integer(encoding, "n_features") // features
    log2_table = integer(encoding, "log2_hashmap_size", 15)
    base = integer(encoding, "base_resolution", 0) or 1 << max(0, min(log2_table, 30)) // 3
    growth = number(encoding, "per_level_scale", 0.0)
    if growth <= 0.0 and count > 1 and base > 0:
        growth = math.exp(math.log(FINEST_CELLS * aabb_scale / base) / (count - 1))
    return HashLevels(count, features, log2_table, base, growth if count > 1 else 1.0)


def _alignment(config: dict[str, Any], name: str) -> int:
    kind = str(config.get("otype", "")).lower()
    if kind not in NETWORKS:
        raise ValueError(f"its '{name}' is a '{kind[:40]}', FullyFusedMLP and CutlassMLP are known here")
    return NETWORKS[kind]


def _network(config: dict[str, Any], name: str, inputs: int) -> TcnnNetwork:
    alignment = _alignment(config, name)
    for key, known in (("activation", "relu"), ("output_activation", "none")):
        if str(config.get(key, known)).lower() != known:
            raise ValueError(f"the {key} of its '{name}' is '{str(config[key])[:40]}', {known} is known here")
    width, layers = integer(config, "n_neurons", 128), integer(config, "n_hidden_layers", 5)
    if not (1 <= width <= 1 << 12 and 1 <= layers <= 64):
        raise ValueError(f"its '{name}' has {layers} layers of {width}")
    return TcnnNetwork(inputs, integer(config, "n_output_dims", 16), width, layers, alignment)


def _sh_degree(config: dict[str, Any]) -> int:
    """Degree counted from 0, of an encoding of the direction alone or composed with one that passes latents on."""
    parts = [config]
    if str(config.get("otype", "")).lower() == "composite":
        nested = config.get("nested")
        parts = [part for part in nested if isinstance(part, dict)] if isinstance(nested, list) else []
    kinds = [str(part.get("otype", "")).lower() for part in parts]
    if kinds not in (["sphericalharmonics"], ["sphericalharmonics", "identity"]):
        raise ValueError(f"it encodes directions by {kinds}, SphericalHarmonics is known here")
    degree = integer(parts[0], "degree", 4)
    if not 1 <= degree <= 5:
        raise ValueError(f"its directions have harmonics of degree {degree}, 1 to 5 are known here")
    return degree - 1
