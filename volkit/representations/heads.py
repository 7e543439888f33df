"""Heads of fields: colour from features and viewing directions, and activations of density."""

import torch
from torch import nn

from volkit.geometry import sh_basis, sh_count
from volkit.typing import Float, Tensor

__all__ = ["FeatureMlp", "reviving_relu", "sh_colour", "sin_cos", "truncated_exp"]


EXPONENT_LIMIT = 15.0  # instant-ngp's bound on the exponent in the backward pass


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


class _TruncatedExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, exponent: Tensor) -> Tensor:
        result = exponent.exp()
        ctx.save_for_backward(exponent)
        return result

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> Tensor:
        (exponent,) = ctx.saved_tensors
        return gradients[0] * exponent.clamp(-EXPONENT_LIMIT, EXPONENT_LIMIT).exp()


def truncated_exp(exponent: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """`exp(x)`, with `exp(clamp(x, -15, 15))` as its derivative so that neither end of training can explode."""
    return _TruncatedExp.apply(exponent)  # pyright: ignore[reportReturnType]


class _RevivingRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, raw: Tensor) -> Tensor:
        ctx.save_for_backward(raw)
        return raw.relu()

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> Tensor:
        (raw,) = ctx.saved_tensors
        # A descent step lowers values with a positive gradient: below 0 only negative gradients pass, which raise them.
        return torch.where((raw > 0) | (gradients[0] < 0), gradients[0], 0.0)


def reviving_relu(raw: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """`max(x, 0)` that passes those gradients below 0 which raise x, so that dead density can come back.

    Where x > 0 the derivative is the true one. Elsewhere it is 1 instead of 0 for losses that fall as x grows.
    """
    return _RevivingRelu.apply(raw)  # pyright: ignore[reportReturnType]
