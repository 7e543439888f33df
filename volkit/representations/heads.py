"""From features and a viewing direction to colour."""

import torch
from torch import nn

from volkit.geometry import sh_basis, sh_count
from volkit.typing import Float, Tensor

__all__ = ["FeatureMlp", "sh_colour", "sin_cos"]


def sh_colour(
    coefficients: Float[Tensor, "point coefficient"], directions: Float[Tensor, "point 3"], degree: int
) -> Float[Tensor, "point 3"]:
    """`max(0, 0.5 + coefficients . Y(direction))`; coefficients of one colour channel follow each other."""
    basis = sh_basis(directions, degree)
    return (coefficients.view(-1, 3, sh_count(degree)) * basis[:, None]).sum(-1).add(0.5).relu()


def sin_cos(values: Float[Tensor, "point value"], bands: int) -> Float[Tensor, "point code"]:
    """TensoRF's positional encoding: all sines, then all cosines, of `2^k x` with k fastest."""
    scaled = (values[:, :, None] * 2.0 ** torch.arange(bands, device=values.device)).flatten(1)
    return torch.cat([scaled.sin(), scaled.cos()], -1)


class FeatureMlp(nn.Module):
    """TensoRF's `MLP_Fea`: `sigmoid(mlp(features, direction, PE(features), PE(direction)))`.

    Layout: apchenstu/TensoRF `tensorBase.py`, class MLPRender_Fea.
    """

    def __init__(self, inputs: int, width: int, bands: tuple[int, int], generator: torch.Generator) -> None:
        super().__init__()
        self.feature_bands, self.view_bands = bands
        size = inputs * (1 + 2 * self.feature_bands) + 3 * (1 + 2 * self.view_bands)
        last = nn.Linear(width, 3)
        self.mlp = nn.Sequential(nn.Linear(size, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), last)
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                seed_linear(layer, generator)
        nn.init.zeros_(last.bias)

    def forward(
        self, features: Float[Tensor, "point feature"], directions: Float[Tensor, "point 3"]
    ) -> Float[Tensor, "point 3"]:
        """Colour in (0, 1)."""
        parts = [features, directions]
        if self.feature_bands:
            parts.append(sin_cos(features, self.feature_bands))
        if self.view_bands:
            parts.append(sin_cos(directions, self.view_bands))
        return torch.sigmoid(self.mlp(torch.cat(parts, -1)))


@torch.no_grad()
def seed_linear(layer: nn.Linear, generator: torch.Generator) -> None:
    """Torch's own initialisation of a linear layer, uniform in +-1 / sqrt(inputs), from a generator."""
    bound = layer.in_features**-0.5
    layer.weight.uniform_(-bound, bound, generator=generator)
    if layer.bias is not None:
        layer.bias.uniform_(-bound, bound, generator=generator)
