"""TensoRF, canonical polyadic decomposition: sums of products of three lines (Chen et al. 2022)."""

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
)
from volkit.representations.heads import FeatureMlp, seed_linear, sh_colour
from volkit.representations.kinds import RepresentationConfig
from volkit.typing import Float, Tensor

__all__ = ["TensorCP", "TensorCPConfig"]

LINES = (2, 1, 0)  # vecMode
TERMS = (tuple(Factor((line,)) for line in LINES),)
SH_DEGREE = 2
FOG_FEATURE = {
    "softplus": 4.0,
    "relu": 2.5e-3,
}  # feature of an untrained field: density 0.06 per unit by the published constants


@dataclass(frozen=True)
class TensorCPConfig(RepresentationConfig):
    """Sizes of a canonical decomposition: CP-384 of the paper; members as of `TensorVMConfig`.

    Raises:
        ValueError: SH shading with another number of appearance values than 27.
    """

    kind: ClassVar[str] = "tensor_cp"
    batch_samples: ClassVar[int] = 1 << 15
    activation_bytes: ClassVar[int] = 1_600
    resolution: int = 500
    start: int = 128
    upsamplings: tuple[float, ...] = (0.067, 0.1, 0.133, 0.183, 0.233)  # fractions of the budget, as published
    density_components: int = 96
    appearance_components: int = 288
    appearance_dim: int = 27
    shading: Literal["SH", "MLP_Fea"] = "SH"
    feature_width: int = 128
    feature_bands: int = 2
    view_bands: int = 2
    activation: Literal["softplus", "relu"] = "softplus"  # of density; relu takes the features without the shift
    density_shift: float = -10.0
    density_scale: float = 75.0  # per edge of the unit cube: the published 25 per unit, in a box of edge 3
    l1: float = 1e-5
    lr: float = 0.02
    lr_network: float = 1e-3

    def __post_init__(self) -> None:
        if self.shading == "SH" and self.appearance_dim != 27:
            raise ValueError(f"tensor_cp: SH shading has 27 appearance values, got {self.appearance_dim}")

    @classmethod
    def for_prior(cls, pixels: float) -> "TensorCPConfig":
        """Two cells a pixel, from the start."""
        cells = 2 * max(16, round(pixels))
        return cls(resolution=cells, start=cells, l1=0.0)

    def build(self, domain: Domain, generator: torch.Generator) -> "TensorCP":
        """An untrained field: lines from a normal distribution of width 0.2, as published, and thin fog."""
        return TensorCP(self, domain, generator)


class TensorCP(Field):
    """Features `z_r(z) y_r(y) x_r(x)`; density `density_scale / edge activation(sum of features)`.

    Colour is as in `tensor_vm`.

    `density_line.i` and `app_line.i` [1, R, size, 1] along z, y, x, `basis_mat.weight`, `renderModule.mlp`: names and
    layout of apchenstu/TensoRF `tensoRF.py`, class TensorCP.
    """

    renderModule: FeatureMlp | None

    def __init__(self, config: TensorCPConfig, domain: Domain, generator: torch.Generator) -> None:
        super().__init__(domain)
        self.config = config
        size = grid_size(domain, min(config.start, config.resolution))
        self.density_line = _lines(config.density_components, size, generator)
        with torch.no_grad():  # the first components make thin fog, as in tensor_vm
            for line in self.density_line:
                line[:, 0] = FOG_FEATURE[config.activation] ** (1.0 / len(LINES))
        self.app_line = _lines(config.appearance_components, size, generator)
        self.basis_mat = nn.Linear(config.appearance_components, config.appearance_dim, bias=False)
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
        features = self.basis_mat(_read(self.app_line, where))
        if self.renderModule is None:
            rgb = sh_colour(features, points.directions, SH_DEGREE)
        else:
            rgb = self.renderModule(features, points.directions)
        return FieldSample(self._density(where, inside), {"rgb": rgb})

    def param_groups(self) -> list[ParamGroup]:
        """Lines at 0.02, networks at 1e-3: the published rates."""
        networks = [
            *self.basis_mat.parameters(),
            *([] if self.renderModule is None else self.renderModule.parameters()),
        ]
        return [
            ParamGroup("factors", (*self.density_line, *self.app_line), self.config.lr),
            ParamGroup("networks", tuple(networks), self.config.lr_network),
        ]

    def penalties(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Mean magnitude of the density lines (section 4.1 of the paper)."""
        if not self.config.l1:
            return {}
        return {"l1": self.config.l1 * sum_terms(line.abs().mean() for line in self.density_line)}

    def refine(self, fraction: float) -> bool:
        """Interpolate all lines to the next size, evenly spaced in the logarithm of the number of voxels."""
        resolution = refined_resolution(self.config.start, self.config.resolution, self.config.upsamplings, fraction)
        size = grid_size(self.domain, resolution)
        if all(size[axis] <= line.shape[2] for axis, line in zip(LINES, self.density_line, strict=True)):
            return False
        for name in ("density_line", "app_line"):
            for index, axis in enumerate(LINES):
                resample(self, f"{name}.{index}", (size[axis], 1))
        return True

    def _coordinates(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        unit = self.domain.unit_from_local(positions)
        return unit * 2.0 - 1.0, ((unit >= 0) & (unit <= 1)).all(-1)

    def _density(self, where: Tensor, inside: Tensor) -> Tensor:
        feature = _read(self.density_line, where, reduce=True)[:, 0]
        if self.config.activation == "softplus":
            feature = functional.softplus(feature + self.config.density_shift)
        return feature.relu() * (inside * (self.config.density_scale / self.domain.unit_edge))

    def _load_from_state_dict(self, state_dict, prefix, *rest) -> None:
        adopt_shapes(self, state_dict, ("density_line", "app_line"))
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _read(lines: nn.ParameterList, where: Tensor, *, reduce: bool = False) -> Tensor:
    factors = list(lines)
    return plane_sample(where, factors, TERMS, reduce=reduce, factor_grads=gradients_in_place(factors))


def _lines(components: int, size: tuple[int, int, int], generator: torch.Generator) -> nn.ParameterList:
    shapes = [(1, components, size[axis], 1) for axis in LINES]
    return nn.ParameterList([factor(shape, 0.2 * torch.randn(shape, generator=generator)) for shape in shapes])
