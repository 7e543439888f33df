"""DVGO: dense voxels of density and colour features, with a shallow network (Sun et al. 2022)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from volkit.geometry import Domain, Points
from volkit.ops.param_group import ParamGroup
from volkit.representations.field import Field, FieldSample
from volkit.representations.heads import seed_linear, sin_cos
from volkit.representations.kinds import RepresentationConfig
from volkit.typing import Float, Tensor

__all__ = ["VoxelFeatures", "VoxelFeaturesConfig"]


@dataclass(frozen=True)
class VoxelFeaturesConfig(RepresentationConfig):
    """Sizes of DVGO's fine stage; without layers its coarse stage, whose 3 features are colour before `sigmoid`.

    Attributes:
        size: voxels along x, y and z.
        features: colour features of a voxel.
        layers: of the network; 0: no network.
        width: of its hidden layers.
        view_bands: octaves of the encoding of directions.
        direct: whether the network takes all features; else the first three are added to its output.
        density_shift: added to density before softplus.
        density_scale: density per local unit, at a softplus of 1.
        lr: learning rate of the grids.
        lr_network: learning rate of the network.

    Raises:
        ValueError: fewer than 2 voxels along an axis, or features and layers that do not fit each other.
    """

    kind: ClassVar[str] = "voxel_features"
    trainable: ClassVar[bool] = False
    size: tuple[int, int, int] = (160, 160, 160)
    features: int = 12
    layers: int = 3
    width: int = 128
    view_bands: int = 4
    direct: bool = False
    density_shift: float = -13.8  # log(1 / (1 - alpha) - 1) of the paper's initial alpha 1e-6
    density_scale: float = 100.0  # 1 / voxel edge for which that alpha is meant
    lr: float = 0.1
    lr_network: float = 1e-3

    def __post_init__(self) -> None:
        if min(self.size) < 2 or self.features < 3 or self.layers == 1:
            raise ValueError(f"voxel_features: 2 voxels along every axis, 3 features, no or 2 layers; got {self}")
        if self.layers == 0 and self.features != 3:
            raise ValueError(f"voxel_features: {self.features} features are no colour, and there is no network")

    def build(self, domain: Domain, generator: torch.Generator) -> "VoxelFeatures":
        """An untrained field: thin grey fog."""
        return VoxelFeatures(self, domain, generator)


class VoxelFeatures(Field):
    """Density `density_scale softplus(s + shift)`, colour `sigmoid(f_rgb + rgbnet([f_view, d, sin 2^k d, cos 2^k d]))`.

    `density_grid` [1, 1, X, Y, Z] and `k0` [1, C, X, Y, Z] are interpolated between corners that span the box;
    `rgbnet` has DVGO's nested names. Layout: sunset1995/DirectVoxGO `dvgo.py` and `grid.py`, DenseGrid.
    """

    rgbnet: nn.Sequential | None

    def __init__(self, config: VoxelFeaturesConfig, domain: Domain, generator: torch.Generator) -> None:
        super().__init__(domain)
        self.config = config
        self.density_grid = nn.Parameter(torch.zeros(1, 1, *config.size))
        self.k0 = nn.Parameter(torch.zeros(1, config.features, *config.size))
        self.rgbnet = None
        if config.layers:
            inputs = config.features - (0 if config.direct else 3) + 3 * (1 + 2 * config.view_bands)
            hidden = [nn.Sequential(nn.Linear(config.width, config.width), nn.ReLU()) for _ in range(config.layers - 2)]
            self.rgbnet = nn.Sequential(nn.Linear(inputs, config.width), nn.ReLU(), *hidden, nn.Linear(config.width, 3))
            for layer in self.rgbnet.modules():
                if isinstance(layer, nn.Linear):
                    seed_linear(layer, generator)

    def density(self, positions: Float[Tensor, "point 3"]) -> Float[Tensor, " point"]:
        """Density in 1 / local unit."""
        unit = self.domain.unit_from_local(positions)
        inside = ((unit >= 0) & (unit <= 1)).all(-1)
        raw = _read(self.density_grid, unit)[:, 0]
        return functional.softplus(raw + self.config.density_shift) * (self.config.density_scale * inside)

    def query(self, points: Points) -> FieldSample:
        """Density and colour."""
        features = _read(self.k0, self.domain.unit_from_local(points.positions))
        if self.rgbnet is None:
            raw = features
        else:
            view_features = features if self.config.direct else features[:, 3:]
            raw = self.rgbnet(torch.cat([view_features, points.directions, self._encode(points.directions)], -1))
            raw = raw if self.config.direct else raw + features[:, :3]
        return FieldSample(self.density(points.positions), {"rgb": torch.sigmoid(raw)})

    def param_groups(self) -> list[ParamGroup]:
        """Grids at 0.1, the network at 1e-3: the published rates."""
        groups = [ParamGroup("grids", (self.density_grid, self.k0), self.config.lr)]
        if self.rgbnet is not None:
            groups.append(ParamGroup("network", tuple(self.rgbnet.parameters()), self.config.lr_network))
        return groups

    def _encode(self, directions: Tensor) -> Tensor:
        return sin_cos(directions, self.config.view_bands)


def _read(grid: Float[Tensor, "1 channel x y z"], unit: Float[Tensor, "point 3"]) -> Float[Tensor, "point channel"]:
    where = (unit * 2.0 - 1.0).flip(-1).view(1, 1, 1, -1, 3)
    return functional.grid_sample(grid, where, align_corners=True, padding_mode="border")[0, :, 0, 0].t()
