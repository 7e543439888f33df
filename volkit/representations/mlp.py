"""NeRF: positional encoding and dense layers, nothing else (Mildenhall et al. 2020)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from volkit.geometry import Domain, Points
from volkit.ops.param_group import ParamGroup
from volkit.representations.field import Field, FieldSample
from volkit.representations.heads import reviving_relu, seed_linear
from volkit.representations.kinds import RepresentationConfig
from volkit.typing import Float, Tensor

__all__ = ["Mlp", "MlpConfig"]

DENSITY_RATE = 10.0  # of the density layer's learning rate to the others'
POINTS_AT_ONCE = 1 << 13  # without gradients: their activations stay in the cache
MIN_MATRIX_SIZE = 16  # rows and columns of matrices that Muon trains: smaller ones have few directions to equalise


@dataclass(frozen=True)
class MlpConfig(RepresentationConfig):
    """Sizes of a NeRF network: those of the paper, 8 layers of 256, encodings with 10 and 4 octaves.

    Attributes:
        layers: number of layers before the outputs.
        width: of these layers.
        skip: the encoding enters again before hidden layers `skip + 1`, `2 skip + 1`, ...; 0: never.
        position_bands: octaves of the encoding of positions.
        direction_bands: octaves of the encoding of directions.
        position_input: whether the encoding includes the positions themselves.
        direction_input: the same for directions.
        log_bands: frequencies 2^k; else evenly spaced up to the same largest one.
        view_directions: whether colour depends on the direction.
        coordinates: `domain` encodes `(x - centre) / half edge` (contracted where the domain is), so that frequencies
            are relative to the size of the scene; `local` encodes positions as they are, as in checkpoints of other
            programs.
        products: precision of the factors of matrix products; bfloat16 is twice as fast on CPUs that support it.
        lr: learning rate of the output layers.
        hidden_lr: learning rate of the hidden matrices, for Muon.
    """

    kind: ClassVar[str] = "mlp"
    batch_samples: ClassVar[int] = 1 << 13
    activation_bytes: ClassVar[int] = 20_000
    regression_only: ClassVar[bool] = True
    layers: int = 8
    width: int = 256
    skip: int = 4
    position_bands: int = 10
    direction_bands: int = 4
    position_input: bool = True
    direction_input: bool = True
    log_bands: bool = True
    view_directions: bool = True
    coordinates: Literal["domain", "local"] = "domain"
    products: Literal["float32", "bfloat16"] = "bfloat16"
    lr: float = 1e-3
    hidden_lr: float = 1e-2

    @classmethod
    def for_prior(cls, pixels: float) -> "MlpConfig":
        """A small network without directions."""
        return cls(layers=3, width=64, skip=0, position_bands=5, view_directions=False)

    def build(self, domain: Domain, generator: torch.Generator) -> "Mlp":
        """An untrained network."""
        return Mlp(self, domain, generator)


class Mlp(Field):
    """Density `relu(fc_alpha(h))`, colour `sigmoid(fc_rgb(layers_dir([relu(fc_feat(h)), PE(direction)])))`.

    `h` follows `layer1` (no activation) and `layers_xyz` (ReLU each). Parameter names, and which layer takes the
    encoding again, are those of krrish94/nerf-pytorch `models.py`, class FlexibleNeRFModel; there the encoding is
    `[x, sin(2^0 x), cos(2^0 x), sin(2^1 x), ...]`. With `coordinates` `domain` density is per half edge.
    """

    occupancy_evaluations = 1 << 15  # as much work as half a training step's

    def __init__(self, config: MlpConfig, domain: Domain, generator: torch.Generator) -> None:
        super().__init__(domain)
        self.config = config
        width = config.width
        encoded = _code_size(config.position_bands, config.position_input)
        self.layer1 = nn.Linear(encoded, width)
        self.layers_xyz = nn.ModuleList(
            [nn.Linear(width + encoded * self._skips(i), width) for i in range(config.layers - 1)]
        )
        if config.view_directions:
            view_size = _code_size(config.direction_bands, config.direction_input)
            self.layers_dir = nn.ModuleList([nn.Linear(view_size + width, width // 2)])
            self.fc_alpha = nn.Linear(width, 1)
            self.fc_rgb = nn.Linear(width // 2, 3)
            self.fc_feat = nn.Linear(width, width)
        else:
            self.fc_out = nn.Linear(width, 4)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                seed_linear(layer, generator)
        with torch.no_grad():
            last = self.fc_alpha.bias if config.view_directions else self.fc_out.bias[3:]
            last.fill_(0.1)  # thin fog: where ReLU starts below 0 everywhere there is no gradient at all

    def density(self, positions: Float[Tensor, "point 3"]) -> Float[Tensor, " point"]:
        """Density in 1 / local unit."""
        if len(positions) > POINTS_AT_ONCE and not torch.is_grad_enabled():
            return torch.cat([self.density(some) for some in positions.split(POINTS_AT_ONCE)])
        with self._products(positions):
            hidden = self._trunk(positions)
            raw = self.fc_alpha(hidden) if self.config.view_directions else self.fc_out(hidden)[:, 3:]
        return self._activate(raw, positions)

    def query(self, points: Points) -> FieldSample:
        """Density and colour."""
        if len(points) > POINTS_AT_ONCE and not torch.is_grad_enabled():
            parts = [self.query(points[at : at + POINTS_AT_ONCE]) for at in range(0, len(points), POINTS_AT_ONCE)]
            rgb = torch.cat([part.rgb for part in parts])
            return FieldSample(torch.cat([part.density for part in parts]), {"rgb": rgb})
        with self._products(points.positions):
            hidden = self._trunk(points.positions)
            if self.config.view_directions:
                raw = self.fc_alpha(hidden)
                directions = self._encode(points.directions, self.config.direction_bands, self.config.direction_input)
                hidden = torch.cat([self.fc_feat(hidden).relu(), directions], -1)
                for layer in self.layers_dir:
                    hidden = layer(hidden).relu()
                rgb = self.fc_rgb(hidden)
            else:
                rgb, raw = self.fc_out(hidden).split([3, 1], -1)
        rgb = torch.sigmoid(rgb.to(points.positions.dtype))
        return FieldSample(self._activate(raw, points.positions), {"rgb": rgb})

    def param_groups(self) -> list[ParamGroup]:
        """Hidden matrices by Muon; the rest by Adam, density at a higher rate: it ranges from 0 to hundreds."""
        last = self.fc_alpha if self.config.view_directions else self.fc_out
        density = set(last.parameters())
        hidden = tuple(p for p in self.parameters() if p.dim() == 2 and min(p.shape) >= MIN_MATRIX_SIZE)
        rest = tuple(p for p in self.parameters() if p not in density.union(hidden))
        return [
            ParamGroup("hidden", hidden, self.config.hidden_lr, rule="muon"),
            ParamGroup("colour", rest, self.config.lr),
            ParamGroup("density", tuple(last.parameters()), DENSITY_RATE * self.config.lr),
        ]

    def _skips(self, index: int) -> bool:
        """Whether `layers_xyz.index` takes the encoding again."""
        every = self.config.skip
        return every > 0 and index > 0 and index % every == 0 and index != self.config.layers - 1

    def _trunk(self, positions: Tensor) -> Tensor:
        if self.config.coordinates == "domain":
            positions = self.domain.to_centred(positions)
        encoded = self._encode(positions, self.config.position_bands, self.config.position_input)
        hidden = self.layer1(encoded)
        for index, layer in enumerate(self.layers_xyz):
            hidden = layer(torch.cat([hidden, encoded], -1) if self._skips(index) else hidden).relu()
        return hidden

    def _encode(self, values: Tensor, bands: int, keep: bool) -> Tensor:
        powers = torch.arange(bands, device=values.device, dtype=values.dtype)
        highest = 2.0 ** (bands - 1)
        scales = 2.0**powers if self.config.log_bands else 1.0 + powers * (highest - 1.0) / max(1, bands - 1)
        angles = values[:, None, :] * scales[:, None]
        code = torch.cat([angles.sin(), angles.cos()], -1).flatten(1)
        return torch.cat([values, code], -1) if keep else code

    def _activate(self, raw: Tensor, positions: Tensor) -> Tensor:
        density = reviving_relu(raw[:, 0].to(positions.dtype)) * self.domain.contains(positions)
        return density * (2.0 / max(self.domain.extent)) if self.config.coordinates == "domain" else density

    def _products(self, positions: Tensor) -> torch.autocast:
        rounded = self.config.products == "bfloat16" and positions.dtype == torch.float32
        return torch.autocast(positions.device.type, torch.bfloat16, enabled=rounded)


def _code_size(bands: int, keep: bool) -> int:
    return 3 * (2 * bands + keep)
