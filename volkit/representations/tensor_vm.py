"""TensoRF, vector-matrix decomposition: sums of planes times lines (Chen et al. 2022)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn
from torch.nn import functional

from volkit.geometry import Domain, Points
from volkit.ops.param_group import ParamGroup
from volkit.ops.plane_sample import Factor, plane_sample
from volkit.representations.field import Field, FieldSample
from volkit.representations.growth import (
    adopt_shapes,
    factor,
    gradients_in_place,
    grid_size,
    refined_resolution,
    resample,
    sum_terms,
    total_variation,
)
from volkit.representations.heads import FeatureMlp, seed_linear, sh_colour
from volkit.representations.kinds import RepresentationConfig
from volkit.typing import Float, Tensor

__all__ = ["TensorVM", "TensorVMConfig"]

PLANES = ((0, 1), (0, 2), (1, 2))  # matMode; a plane's last axis is its first coordinate
LINES = (2, 1, 0)  # vecMode
TERMS = tuple((Factor(plane), Factor((line,))) for plane, line in zip(PLANES, LINES, strict=True))
SH_DEGREE = 2
FOG_FEATURE = {
    "softplus": 4.0,
    "relu": 2.5e-3,
}  # feature of an untrained field: density 0.06 per unit by the published constants


@dataclass(frozen=True)
class TensorVMConfig(RepresentationConfig):
    """Sizes of a vector-matrix decomposition: VM-192 of the paper.

    Attributes:
        resolution: cube root of the number of cells at the end.
        start: the same at the start.
        upsamplings: fractions of the budget at which the number of cells grows.
        density_components: factors of density, for each of the three orientations.
        appearance_components: factors of appearance, likewise.
        appearance_dim: appearance values of a point.
        shading: colour by spherical harmonics of degree 2, or by a network.
        feature_width: of the network's hidden layers.
        feature_bands: octaves of the encoding of appearance values.
        view_bands: octaves of the encoding of directions.
        activation: of density; relu takes the features without the shift.
        density_shift: added to the features of density before softplus.
        density_scale: density per edge of the unit cube, at an activation of 1.
        l1: weight of the mean magnitude of density factors.
        tv: weight of their total variation.
        lr: learning rate of the factors.
        lr_network: learning rate of the networks.

    Raises:
        ValueError: SH shading with another number of appearance values than 27.
    """

    kind: ClassVar[str] = "tensor_vm"
    activation_bytes: ClassVar[int] = 1_600
    resolution: int = 300
    start: int = 128
    upsamplings: tuple[float, ...] = (0.067, 0.1, 0.133, 0.183, 0.233)  # fractions of the budget: 2000 .. 7000 of 30000
    density_components: int = 16
    appearance_components: int = 48
    appearance_dim: int = 27
    shading: Literal["SH", "MLP_Fea"] = "SH"  # SH: 4 times faster than the network on a CPU
    feature_width: int = 128
    feature_bands: int = 2
    view_bands: int = 2
    activation: Literal["softplus", "relu"] = "softplus"  # of density; relu takes the features without the shift
    density_shift: float = -10.0
    density_scale: float = 75.0  # per edge of the unit cube: the published 25 per unit, in a box of edge 3
    l1: float = 8e-5
    tv: float = 0.0
    lr: float = 0.02
    lr_network: float = 1e-3

    def __post_init__(self) -> None:
        if self.shading == "SH" and self.appearance_dim != 27:
            raise ValueError(f"tensor_vm: SH shading has 27 appearance values, got {self.appearance_dim}")

    @classmethod
    def for_prior(cls, pixels: float) -> "TensorVMConfig":
        """Two cells a pixel, from the start."""
        cells = 2 * max(16, round(pixels))
        return cls(resolution=cells, start=cells, l1=0.0)

    def build(self, domain: Domain, generator: torch.Generator) -> "TensorVM":
        """An untrained field: factors from a normal distribution of width 0.1, as published, and thin fog."""
        return TensorVM(self, domain, generator)


class TensorVM(Field):
    """Features `sum_i plane_i(x_a, x_b) line_i(x_c)`; density `density_scale / edge activation(sum of features)`.

    Colour is SH of degree 2 or a network over `basis_mat` of the appearance features. `density_plane.i`
    [1, R, size_b, size_a], `density_line.i` [1, R, size_c, 1], `app_plane.i`, `app_line.i`, `basis_mat.weight`,
    `renderModule.mlp`: names and layout of apchenstu/TensoRF `tensoRF.py`, class TensorVMSplit.
    """

    density_plane: nn.ParameterList
    density_line: nn.ParameterList
    app_plane: nn.ParameterList
    app_line: nn.ParameterList
    renderModule: FeatureMlp | None

    def __init__(self, config: TensorVMConfig, domain: Domain, generator: torch.Generator) -> None:
        super().__init__(domain)
        self.config = config
        size = grid_size(domain, min(config.start, config.resolution))
        for name, components in (("density", config.density_components), ("app", config.appearance_components)):
            planes = [(1, components, size[b], size[a]) for a, b in PLANES]
            lines = [(1, components, size[c], 1) for c in LINES]
            setattr(self, f"{name}_plane", _factors(planes, generator))
            setattr(self, f"{name}_line", _factors(lines, generator))
        _raise_fog(self.density_plane, self.density_line, FOG_FEATURE[config.activation])
        self.basis_mat = nn.Linear(3 * config.appearance_components, config.appearance_dim, bias=False)
        seed_linear(self.basis_mat, generator)
        self.renderModule = None
        if config.shading == "MLP_Fea":
            bands = (config.feature_bands, config.view_bands)
            self.renderModule = FeatureMlp(config.appearance_dim, config.feature_width, bands, generator)

    def density(self, positions: Float[Tensor, "point 3"]) -> Float[Tensor, " point"]:
        """Density in 1 / local unit."""
        return self._density(*self._coordinates(positions))

    def query(self, points: Points) -> FieldSample:
        """Density and colour."""
        where, inside = self._coordinates(points.positions)
        features = self.basis_mat(self._read("app", where))
        if self.renderModule is None:
            rgb = sh_colour(features, points.directions, SH_DEGREE)
        else:
            rgb = self.renderModule(features, points.directions)
        return FieldSample(self._density(where, inside), {"rgb": rgb})

    def factors(self, name: Literal["density", "app"]) -> list[Tensor]:
        """Planes and lines of density or appearance, in the order of their terms."""
        planes, lines = getattr(self, f"{name}_plane"), getattr(self, f"{name}_line")
        return [part for pair in zip(planes, lines, strict=True) for part in pair]

    def param_groups(self) -> list[ParamGroup]:
        """Factors at 0.02, networks at 1e-3: the published rates."""
        return [
            ParamGroup(
                "factors",
                tuple(p for n, p in self.named_parameters() if "_plane." in n or "_line." in n),
                self.config.lr,
            ),
            ParamGroup("networks", tuple(self.basis_mat.parameters()) + self._network(), self.config.lr_network),
        ]

    def penalties(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Mean magnitude of the density factors (section 4.1 of the paper) and their total variation."""
        losses = {}
        if self.config.l1:
            losses["l1"] = self.config.l1 * sum_terms(part.abs().mean() for part in self.factors("density"))
        if self.config.tv:
            losses["tv"] = self.config.tv * sum_terms(total_variation(part) for part in self.factors("density"))
        return losses

    def refine(self, fraction: float) -> bool:
        """Interpolate all factors to the next size, evenly spaced in the logarithm of the number of voxels."""
        resolution = refined_resolution(self.config.start, self.config.resolution, self.config.upsamplings, fraction)
        size = grid_size(self.domain, resolution)
        if all(new <= old for new, old in zip(size, self.grid_size, strict=True)):
            return False
        for name in ("density", "app"):
            for index, ((a, b), c) in enumerate(zip(PLANES, LINES, strict=True)):
                resample(self, f"{name}_plane.{index}", (size[b], size[a]))
                resample(self, f"{name}_line.{index}", (size[c], 1))
        return True

    @property
    def grid_size(self) -> tuple[int, int, int]:
        """Cells along x, y, z."""
        xy, z = self.factors("density")[:2]
        return xy.shape[3], xy.shape[2], z.shape[2]

    def _sizes(self) -> list[str]:
        return [" x ".join(map(str, self.grid_size)) + " cells", *super()._sizes()]

    def _network(self) -> tuple[nn.Parameter, ...]:
        return () if self.renderModule is None else tuple(self.renderModule.parameters())

    def _coordinates(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        unit = self.domain.unit_from_local(positions)
        return unit * 2.0 - 1.0, ((unit >= 0) & (unit <= 1)).all(-1)

    def _density(self, where: Tensor, inside: Tensor) -> Tensor:
        feature = self._read("density", where, reduce=True)[:, 0]
        if self.config.activation == "softplus":
            feature = functional.softplus(feature + self.config.density_shift)
        return feature.relu() * (inside * (self.config.density_scale / self.domain.unit_edge))

    def _read(self, name: Literal["density", "app"], where: Tensor, *, reduce: bool = False) -> Tensor:
        factors = self.factors(name)
        return plane_sample(where, factors, TERMS, reduce=reduce, factor_grads=gradients_in_place(factors))

    def _load_from_state_dict(self, state_dict, prefix, *rest) -> None:
        adopt_shapes(self, state_dict, ("density_plane", "density_line", "app_plane", "app_line"))
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _factors(shapes: list[tuple[int, int, int, int]], generator: torch.Generator) -> nn.ParameterList:
    return nn.ParameterList([factor(shape, 0.1 * torch.randn(shape, generator=generator)) for shape in shapes])


@torch.no_grad()
def _raise_fog(planes: nn.ParameterList, lines: nn.ParameterList, feature: float) -> None:
    """Let the first components add up to a constant: at a feature of 0 density has hardly a gradient to start with."""
    for plane, line in zip(planes, lines, strict=True):
        plane[:, 0], line[:, 0] = 1.0, feature / len(planes)
