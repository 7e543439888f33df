"""Networks as tiny-cuda-nn stores them in checkpoints: one flat vector of matrices without biases.

Source: NVlabs/tiny-cuda-nn `fully_fused_mlp.cu` and `cutlass_mlp.cu`: row-major (out, in), inputs and outputs padded to
a multiple of 16 (fully fused) or 8 (Cutlass).
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch.nn import functional

from volkit.ops.fused_mlp import MlpShape
from volkit.typing import Float, Tensor

__all__ = ["TcnnNetwork", "flatten_padded", "round_up"]


def round_up(number: int, of: int) -> int:
    """The smallest multiple of `of` that is at least `number`."""
    return -(-number // of) * of


@dataclass(frozen=True)
class TcnnNetwork:
    """Sizes of one network; `inputs` and `outputs` before padding to `alignment`."""

    inputs: int
    outputs: int
    width: int
    hidden_layers: int
    alignment: int = 16

    @property
    def matrices(self) -> list[tuple[int, int]]:
        """(out, in) of each stored matrix, padding included."""
        ends = [round_up(size, self.alignment) for size in (self.inputs, self.outputs)]
        return list((out, into) for into, out in pairwise([ends[0], *[self.width] * self.hidden_layers, ends[1]]))

    @property
    def parameters(self) -> int:
        """Length of the stored vector."""
        return sum(out * into for out, into in self.matrices)

    def split(self, flat: Float[Tensor, " parameter"]) -> list[Float[Tensor, "out in"]]:
        """Views of a stored vector as its matrices."""
        parts = flat.split([out * into for out, into in self.matrices])
        return [part.view(size) for part, size in zip(parts, self.matrices, strict=True)]


def flatten_padded(matrices: list[Float[Tensor, "out in"]], shape: MlpShape) -> Float[Tensor, " parameter"]:
    """Matrices resized to a network of ours and flattened: padded with zeros, unused padding rows cut."""
    sized = [
        functional.pad(matrix, (0, into - matrix.shape[1], 0, out - matrix.shape[0]))
        for matrix, (out, into) in zip(matrices, shape.matrices, strict=True)
    ]
    return torch.cat([matrix.reshape(-1) for matrix in sized])
