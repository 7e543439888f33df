"""Feature planes with small decoders: K-Planes (Fridovich-Keil et al. 2023); summed, tri-planes (Chan et al. 2022)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from volkit.geometry import Domain, Points, sh_basis
from volkit.ops.fused_mlp import MlpShape, fused_mlp
from volkit.ops.param_group import ParamGroup
from volkit.ops.plane_sample import Factor, plane_sample
from volkit.representations.field import Field, FieldSample
from volkit.representations.growth import adopt_shapes, factor, gradients_in_place, sum_terms, total_variation
from volkit.representations.hash_grid import xavier
from volkit.representations.heads import truncated_exp
from volkit.representations.kinds import RepresentationConfig
from volkit.typing import Float, Tensor

__all__ = ["Planes", "PlanesConfig"]

AXES = ((0, 1), (0, 2), (1, 2))  # combinations of axes; a plane's last axis is its first coordinate
GEOMETRY_FEATURES = 15  # outputs of the density network that are inputs of the colour network
SH_DEGREE = 3


@dataclass(frozen=True)
class PlanesConfig(RepresentationConfig):
    """Sizes of feature planes: those of the hybrid model of the K-Planes paper.

    Attributes:
        resolution: texels a side of planes of scale 1.
        scales: factors of the resolution, one set of three planes for each.
        channels: features of a plane.
        combine: how the three planes of a scale are combined.
        density_scale: density per edge of the unit cube, at a network output of 1.
        width: of the hidden layers of both networks.
        products: precision of the factors of matrix products.
        tv: weight of the total variation of planes.
        lr: learning rate of the planes.
        network_lr: learning rate of the networks.
    """

    kind: ClassVar[str] = "planes"
    batch_samples: ClassVar[int] = 1 << 14
    activation_bytes: ClassVar[int] = 1_200
    resolution: int = 64
    scales: tuple[int, ...] = (1, 2, 4)
    channels: int = 32
    combine: Literal["product", "sum"] = "product"
    density_scale: float = 3.0  # per edge of the unit cube: the published 1 per unit, in a box of edge 3
    width: int = 64
    products: Literal["float32", "bfloat16"] = "bfloat16"
    tv: float = 1e-4
    lr: float = 4e-2  # four times the published rate: 35 instead of 33 dB in the same minute
    network_lr: float = 3e-3  # at the published rate, three times this, colours of a pale mesh saturate: 21, not 41 dB

    @property
    def sigma_shape(self) -> MlpShape:
        """Network from plane features to 15 values and the logarithm of density."""
        return MlpShape(self.channels * len(self.scales), GEOMETRY_FEATURES + 1, self.width, 1)

    @property
    def colour_shape(self) -> MlpShape:
        """Network from direction and the 15 values to colour; the 32nd input is 1, tiny-cuda-nn's padding."""
        return MlpShape(32, 3, self.width, 2)

    @classmethod
    def for_prior(cls, pixels: float) -> "PlanesConfig":
        """Half a texel a pixel, and one."""
        return cls(resolution=max(16, max(16, round(pixels)) // 2), scales=(1, 2), channels=16, tv=0.0)

    def build(self, domain: Domain, generator: torch.Generator) -> "Planes":
        """An untrained field: features uniform in [0.1, 0.5], as published."""
        return Planes(self, domain, generator)


class Planes(Field):
    """Features of every scale are the product (or sum) of three planes.

    Density is `density_scale / edge exp(s - 1)`, colour a `sigmoid`.

    `grids.{scale}.{plane}` [1, C, size_b, size_a], `sigma_net.params` (its last output is the density's logarithm),
    `color_net.params` (inputs: SH of degree 3, then 15 values): names and layout of sarafridov/K-Planes
    `kplane_field.py` with tiny-cuda-nn's fully fused networks.
    """

    def __init__(self, config: PlanesConfig, domain: Domain, generator: torch.Generator) -> None:
        super().__init__(domain)
        self.config = config
        grids = [_planes_of_scale(config, scale, generator) for scale in config.scales]
        self.grids = nn.ModuleList(grids)
        self.sigma_net = _Network(xavier(config.sigma_shape, generator))
        self.color_net = _Network(xavier(config.colour_shape, generator))

    def density(self, positions: Float[Tensor, "point 3"]) -> Float[Tensor, " point"]:
        """Density in 1 / local unit."""
        return self._activate(*self._hidden(positions))

    def query(self, points: Points) -> FieldSample:
        """Density and colour."""
        hidden, inside = self._hidden(points.positions)
        return self._answer(points, hidden, inside, colour=True)

    def query_hidden(self, points: Points, *, colour: bool = True) -> tuple[FieldSample, Float[Tensor, "point 16"]]:
        """As `query`, and the density network's outputs, that of density first; without `colour` no channel."""
        hidden, inside = self._hidden(points.positions)
        return self._answer(points, hidden, inside, colour), hidden.roll(1, -1)

    def _answer(self, points: Points, hidden: Tensor, inside: Tensor, colour: bool) -> FieldSample:
        density = self._activate(hidden, inside)
        if not colour:
            return FieldSample(density, {})
        basis = sh_basis(points.directions, SH_DEGREE)
        inputs = torch.cat([basis.t(), hidden[:, :GEOMETRY_FEATURES].t(), torch.ones_like(basis[:, :1]).t()]).t()
        shape, products = self.config.colour_shape, self.config.products
        return FieldSample(
            density, {"rgb": torch.sigmoid(fused_mlp(inputs, self.color_net.params, shape, products=products))}
        )

    def _activate(self, hidden: Tensor, inside: Tensor) -> Tensor:
        return truncated_exp(hidden[:, GEOMETRY_FEATURES] - 1.0) * (
            inside * (self.config.density_scale / self.domain.unit_edge)
        )

    def param_groups(self) -> list[ParamGroup]:
        """Planes and networks."""
        networks = (self.sigma_net.params, self.color_net.params)
        return [
            ParamGroup("planes", tuple(self.grids.parameters()), self.config.lr),
            ParamGroup("networks", networks, self.config.network_lr),
        ]

    def penalties(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Total variation of the planes (equation 4 of the paper)."""
        if not self.config.tv:
            return {}
        return {"tv": self.config.tv * sum_terms(total_variation(plane) for plane in self.grids.parameters())}

    def _hidden(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        unit = self.domain.unit_from_local(positions)
        inside = ((unit >= 0) & (unit <= 1)).all(-1)
        planes: list[Tensor] = list(self.grids.parameters())
        if self.config.combine == "product":
            terms = tuple(tuple(Factor(axes) for axes in AXES) for _ in self.config.scales)
        else:
            terms = tuple((Factor(axes),) for _ in self.config.scales for axes in AXES)
        where = unit * 2.0 - 1.0
        features = plane_sample(where, planes, terms, factor_grads=gradients_in_place(planes))
        if self.config.combine == "sum":
            shape = (len(where), len(self.config.scales), len(AXES), self.config.channels)
            features = features.reshape(shape).sum(2).flatten(1)
        shape, products = self.config.sigma_shape, self.config.products
        return fused_mlp(features, self.sigma_net.params, shape, products=products), inside

    def _load_from_state_dict(self, state_dict, prefix, *rest) -> None:
        # Boxes that are no cubes have planes that are no squares in others' files.
        adopt_shapes(self, state_dict, ("grids",))
        super()._load_from_state_dict(state_dict, prefix, *rest)


class _Network(nn.Module):
    """Holds tiny-cuda-nn's one flat parameter under the name that its modules give it."""

    def __init__(self, params: Tensor) -> None:
        super().__init__()
        self.params = nn.Parameter(params)


def _planes_of_scale(config: PlanesConfig, scale: int, generator: torch.Generator) -> nn.ParameterList:
    side = config.resolution * scale
    shape = (1, config.channels, side, side)
    return nn.ParameterList([factor(shape, torch.rand(shape, generator=generator) * 0.4 + 0.1) for _ in AXES])
