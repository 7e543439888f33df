"""The same field in plain torch: a hash grid in nerfstudio's form, every level hashed, and networks with biases."""

from collections.abc import Callable

import torch
from torch import nn

from volkit.representations.hash_grid import HashGridConfig
from volkit.typing import Float, Int, Tensor

__all__ = ["TorchGrid"]

PRIMES = (1, 2654435761, 805459861)


class TorchGrid(nn.Module):
    """nerfstudio's `HashEncoding` and `MLP` with implementation "torch", of a HashGrid's sizes, written anew.

    Level i has floor(base growth^i) cells a side; a point's eight corners mix the ceilings and floors of its scaled
    coordinates, each hashed into the level's 2^log2_table rows, dense levels as well. Source: nerfstudio,
    field_components/encodings.py and mlp.py.
    """

    def __init__(self, config: HashGridConfig, rate: float, compiled: bool = False) -> None:
        super().__init__()
        levels, rows = config.levels, 2**config.log2_table
        growth = config.per_level_scale ** torch.arange(levels)
        self.register_buffer("scales", torch.floor(config.base_resolution * growth))
        self.register_buffer("starts", torch.arange(levels) * rows)
        self.rows = rows
        self.table = nn.Parameter((torch.rand(levels * rows, config.features) * 2 - 1) * 1e-3)
        density, colour = config.density_shape, config.rgb_shape
        self.density = _layers(density.inputs, density.width, density.hidden_layers, density.outputs)
        self.colour = _layers(colour.inputs, colour.width, colour.hidden_layers, colour.outputs)
        self.adam = torch.optim.Adam(self.parameters(), lr=rate, betas=(0.9, 0.99), eps=1e-15, fused=True)
        self.run: Callable[[Tensor, Tensor], Tensor] = torch.compile(self.forward) if compiled else self.forward
        self.outputs: Tensor | None = None

    def encode(self, unit: Float[Tensor, "point 3"]) -> Float[Tensor, "point level*feature"]:
        """Features of all levels at once, trilinear."""
        scaled = unit[:, None] * self.scales[:, None]
        above, below = torch.ceil(scaled).long(), torch.floor(scaled).long()
        part = scaled - below
        rows = [self._row(above, below, corner) for corner in range(8)]
        values = [self.table[row] for row in rows]
        for axis in range(3):  # corners are numbered with x as their highest bit: halves join one axis at a time
            weight, half = part[..., axis : axis + 1], len(values) // 2
            values = [values[i] * weight + values[i + half] * (1 - weight) for i in range(half)]
        return values[0].flatten(1)

    def forward(self, unit: Float[Tensor, "point 3"], basis: Float[Tensor, "point 16"]) -> Float[Tensor, "point 4"]:
        """Logarithm of density and raw colour."""
        hidden = self.density(self.encode(unit))
        return torch.cat([hidden[:, :1], self.colour(torch.cat([hidden, basis], 1))], 1)

    def answers(self, unit: Float[Tensor, "point 3"], basis: Float[Tensor, "point 16"]) -> Float[Tensor, "point 4"]:
        """The same, kept for `learn`."""
        self.outputs = self.run(unit, basis)
        return self.outputs.detach()

    def learn(self, grad: Float[Tensor, "point 4"]) -> None:
        """Carry gradients of the answers back to the parameters, and take a step of Adam."""
        assert self.outputs is not None
        self.outputs.backward(grad)
        self.outputs = None
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)

    def _row(self, above: Tensor, below: Tensor, corner: int) -> Int[Tensor, "point level"]:
        x, y, z = ((below if corner >> (2 - axis) & 1 else above)[..., axis] for axis in range(3))
        return (x * PRIMES[0] ^ y * PRIMES[1] ^ z * PRIMES[2]) % self.rows + self.starts


def _layers(inputs: int, width: int, hidden: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for size in [width] * hidden:
        layers += [nn.Linear(inputs, size), nn.ReLU()]
        inputs = size
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))
