"""Instant-NGP: a multiresolution hash grid and two small networks (Mueller et al. 2022)."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import nn

from volkit.geometry import Domain, Points, sh_basis, sh_count
from volkit.ops.fused_mlp import MlpShape, fused_mlp
from volkit.ops.hash_encode import HashLevels, hash_encode
from volkit.ops.param_group import ParamGroup
from volkit.representations.field import Field, FieldSample
from volkit.representations.heads import truncated_exp
from volkit.representations.kinds import RepresentationConfig
from volkit.typing import Float, Tensor

__all__ = ["HashGrid", "HashGridConfig"]

DENSITY_OUTPUTS = 16  # the first is the logarithm of density; all of them feed the colour network
CELLS_PER_PIXEL = 4.0  # of the finest level, for training on pictures
PRIOR_CELLS_PER_PIXEL = 2.5  # the same under a prior
PRIOR_FIRST_CELLS, PRIOR_GROWTH = 4, 1.7  # cells of the first level there, and from level to level


@dataclass(frozen=True)
class HashGridConfig(RepresentationConfig):
    """Sizes of a hash grid: those of instant-ngp's `base.json` before version 2, 16 levels of 16 to 2048 cells.

    Attributes:
        levels: number of resolutions.
        features: numbers in a table entry.
        log2_table: binary logarithm of the most entries of a level.
        base_resolution: cells a side of the coarsest level.
        per_level_scale: resolution of a level over that of the one before it.
        width: of the hidden layers of both networks.
        density_layers: hidden layers of the density network.
        rgb_layers: hidden layers of the colour network.
        sh_degree: of the encoding of directions; 0: colour does not depend on them.
        density_scale: density where the network gives 0, per edge of the unit cube.
        lookup: how entries are found (`HashLevels`).
        bias: whether both networks take a constant 1 after their inputs.
        products: precision of the factors of matrix products.
        lr: learning rate of the table.
        network_lr: learning rate of the networks.

    Example:
        >>> HashGridConfig(log2_table=15).with_finest(256.0).encoding.resolutions[-1]
        256
    """

    kind: ClassVar[str] = "hash_grid"
    batch_samples: ClassVar[int] = 1 << 15  # 1.6 dB more from planes than with twice as many, 0.6 from photographs
    activation_bytes: ClassVar[int] = 1_200
    levels: int = 16
    features: int = 2
    log2_table: int = 19
    base_resolution: int = 16
    per_level_scale: float = 2.0 ** (7.0 / 15.0)  # finest 2048 = 16 * scale^15
    width: int = 64
    density_layers: int = 1
    rgb_layers: int = 2
    sh_degree: int = 3
    density_scale: float = 1.0  # density where h_0 = 0, per edge of the unit cube: instant-ngp's aabb_scale
    lookup: Literal["tcnn", "torch-ngp", "nerfstudio"] = "tcnn"  # nerfstudio: without a kernel
    bias: bool = False  # for files of programs whose networks have biases
    products: Literal["float32", "bfloat16"] = "bfloat16"
    lr: float = 1e-1  # ten times the published rate: 24.6 instead of 23.5 dB in a minute of a room at 480 pixels
    network_lr: float = 1e-2

    def with_finest(self, cells: float) -> "HashGridConfig":
        """The same with a finest level of `cells` a side, at most this one's."""
        finest = self.base_resolution * self.per_level_scale ** (self.levels - 1)
        ratio = min(max(cells, 2.0 * self.base_resolution), finest) / self.base_resolution
        return replace(self, per_level_scale=ratio ** (1.0 / max(self.levels - 1, 1)))

    def for_pictures(self, pixels: float) -> "HashGridConfig":
        """A finest level of a few cells a pixel; at 200 pixels, 2048 cells cost 1.3 dB in the same minute."""
        return self.with_finest(CELLS_PER_PIXEL * pixels)

    @classmethod
    def for_prior(cls, pixels: float) -> "HashGridConfig":
        """A coarse first level, and as many finer ones as the pictures can show."""
        finest = PRIOR_CELLS_PER_PIXEL * pixels / PRIOR_FIRST_CELLS
        return cls(
            levels=1 + max(2, math.ceil(math.log(finest) / math.log(PRIOR_GROWTH))),
            features=4,
            log2_table=15,
            base_resolution=PRIOR_FIRST_CELLS,
            per_level_scale=PRIOR_GROWTH,
            width=32,
            sh_degree=0,
            products="float32",
            lr=2e-2,
            network_lr=5e-3,
        )

    def with_encoding(self, levels: HashLevels) -> "HashGridConfig":
        """The same with `levels` for its `encoding`."""
        return replace(
            self, levels=levels.levels, features=levels.features, log2_table=levels.log2_table,
            base_resolution=levels.base_resolution, per_level_scale=levels.per_level_scale, lookup=levels.lookup,
        )  # fmt: skip

    @property
    def encoding(self) -> HashLevels:
        """The table's layout."""
        return HashLevels(
            self.levels, self.features, self.log2_table, self.base_resolution, self.per_level_scale, self.lookup
        )

    @property
    def density_shape(self) -> MlpShape:
        """Network from table features to density and 15 more values."""
        return MlpShape(self.levels * self.features + self.bias, DENSITY_OUTPUTS, self.width, self.density_layers)

    @property
    def rgb_shape(self) -> MlpShape:
        """Network from density outputs and direction to colour."""
        return MlpShape(DENSITY_OUTPUTS + sh_count(self.sh_degree) + self.bias, 3, self.width, self.rgb_layers)

    def build(self, domain: Domain, generator: torch.Generator) -> "HashGrid":
        """An untrained field; the domain grows to a cube about its centre, as instant-ngp's grids need."""
        return HashGrid(self, domain.to_cube(), generator)


class HashGrid(Field):
    """A hash grid and two networks: `h = D(encode(u))`, density `density_scale exp(h_0)`, rgb `sigmoid(C(h, SH(d)))`.

    Density is per edge of the unit cube. Differentiable in parameters and positions.

    Parameters are instant-ngp's, in its order: `density_network`, `rgb_network` (row-major matrices, outputs padded
    to 16), `table` (levels one after the other, features fastest). Layout: NVlabs/instant-ngp `nerf_network.h`,
    tiny-cuda-nn `grid.h`, `fully_fused_mlp.h`.
    """

    def __init__(self, config: HashGridConfig, domain: Domain, generator: torch.Generator) -> None:
        super().__init__(domain)
        self.config = config
        self.density_network = nn.Parameter(xavier(config.density_shape, generator))
        self.rgb_network = nn.Parameter(xavier(config.rgb_shape, generator))
        entries = config.encoding.entries
        self.table = nn.Parameter(torch.empty(entries, config.features).uniform_(-1e-4, 1e-4, generator=generator))

    def density(self, positions: Float[Tensor, "point 3"]) -> Float[Tensor, " point"]:
        """Density in 1 / local unit."""
        hidden, inside = self._hidden(positions)
        return self._activate(hidden, inside)

    def query(self, points: Points) -> FieldSample:
        """Density and colour."""
        return self.query_hidden(points)[0]

    def query_hidden(self, points: Points, *, colour: bool = True) -> tuple[FieldSample, Float[Tensor, "point 16"]]:
        """As `query`, with the density network's 16 outputs; without `colour` there are no channels."""
        hidden, inside = self._hidden(points.positions)
        channels = {"rgb": self._rgb(hidden, points.directions)} if colour else {}
        return FieldSample(self._activate(hidden, inside), channels), hidden

    def _rgb(self, hidden: Tensor, directions: Tensor) -> Tensor:
        # Feature-major rows join without a transposition.
        inputs = self._with_bias(hidden.t(), sh_basis(directions, self.config.sh_degree).t())
        return torch.sigmoid(fused_mlp(inputs, self.rgb_network, self.config.rgb_shape, products=self.config.products))

    def param_groups(self) -> list[ParamGroup]:
        """Table and networks; the table skips rows without gradient."""
        networks = (self.density_network, self.rgb_network)
        return [
            ParamGroup("table", (self.table,), self.config.lr, sparse=True),
            ParamGroup("networks", networks, self.config.network_lr),
        ]

    def _sizes(self) -> list[str]:
        finest = self.config.base_resolution * self.config.per_level_scale ** (self.config.levels - 1)
        return [f"{self.config.levels} levels to {finest:.0f} cells", *super()._sizes()]

    def _hidden(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        unit = self.domain.unit_from_local(positions)
        inside = ((unit >= 0) & (unit <= 1)).all(-1)
        # Gradients are added to an existing buffer: 49 MB need not be allocated and cleared at every step.
        table_grad = self.table.grad if self.table.requires_grad and torch.is_grad_enabled() else None
        features = hash_encode(unit.clamp(0.0, 1.0), self.table, self.config.encoding, table_grad=table_grad)
        if self.config.bias:
            features = self._with_bias(features.t())
        shape, products = self.config.density_shape, self.config.products
        return fused_mlp(features, self.density_network, shape, products=products), inside

    def _with_bias(self, *rows: Tensor) -> Tensor:
        """Network inputs of feature-major rows, and 1 after them where there is a bias."""
        return torch.cat([*rows, *([torch.ones_like(rows[0][:1])] if self.config.bias else [])]).t()

    def _activate(self, hidden: Tensor, inside: Tensor) -> Tensor:
        return truncated_exp(hidden[:, 0]) * (inside * (self.config.density_scale / self.domain.unit_edge))


def xavier(shape: MlpShape, generator: torch.Generator) -> Tensor:
    """Uniform in +-sqrt(6 / (in + out)) per padded matrix, tiny-cuda-nn's initialisation."""
    sizes = [rows * columns for rows, columns in shape.matrices]
    weights = torch.empty(sum(sizes))
    for part, (rows, columns) in zip(weights.split(sizes), shape.matrices, strict=True):
        part.uniform_(-1.0, 1.0, generator=generator).mul_((6.0 / (rows + columns)) ** 0.5)
    return weights
