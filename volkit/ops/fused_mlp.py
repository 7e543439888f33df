"""A small bias-free ReLU network as one op, in the parameter layout of tiny-cuda-nn."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch

from volkit.ops import backend
from volkit.ops.library import torch_op
from volkit.typing import Float, Tensor

__all__ = ["MlpShape", "fused_mlp"]

_MAX_INPUTS, _MAX_WIDTH, _MAX_LAYERS = 160, 128, 4


def _pad(n: int) -> int:
    return -(-n // 16) * 16


@dataclass(frozen=True)
class MlpShape:
    """The shape of a network: `inputs` to `hidden_layers` layers of `width`, to `outputs`.

    Attributes:
        inputs: numbers a point has.
        outputs: numbers that come out.
        width: of the hidden layers, a multiple of 16.
        hidden_layers: how many there are, at least 1.

    Raises:
        ValueError: the kernels have no room for such a network.

    Example:
        >>> MlpShape(inputs=3, outputs=4).matrices  # of the ones beside 3 inputs, one is the bias
        [(64, 16), (16, 64)]
    """

    inputs: int
    outputs: int
    width: int = 64
    hidden_layers: int = 1

    def __post_init__(self) -> None:
        """Refuse what the kernels have no room for."""
        if not (1 <= self.inputs <= _MAX_INPUTS and 1 <= self.outputs <= _MAX_WIDTH):
            raise ValueError(f"MlpShape: inputs 1 to {_MAX_INPUTS}, outputs 1 to {_MAX_WIDTH}; got {self}")
        if self.width % 16 or not 16 <= self.width <= _MAX_WIDTH or not 1 <= self.hidden_layers <= _MAX_LAYERS:
            raise ValueError(
                f"MlpShape: width a multiple of 16 up to {_MAX_WIDTH}, hidden_layers 1 to {_MAX_LAYERS}; got {self}"
            )

    @property
    def padded_inputs(self) -> int:
        """Columns of the first matrix; those beyond `inputs` see the constant 1."""
        return _pad(self.inputs)

    @property
    def padded_outputs(self) -> int:
        """Rows of the last matrix; those beyond `outputs` are not returned and get no gradient."""
        return _pad(self.outputs)

    @property
    def matrices(self) -> list[tuple[int, int]]:
        """(out, in) of each matrix, in the order of their parameters."""
        sizes = [self.padded_inputs, *[self.width] * self.hidden_layers, self.padded_outputs]
        return [(out, into) for into, out in pairwise(sizes)]

    @property
    def parameters(self) -> int:
        """Length of the weight vector."""
        return sum(out * into for out, into in self.matrices)


def fused_mlp(
    inputs: Float[Tensor, "point in"],
    weights: Float[Tensor, " parameter"],
    shape: MlpShape,
    *,
    products: Literal["float32", "bfloat16"] = "bfloat16",
) -> Float[Tensor, "point out"]:
    """Evaluate the network at each point.

    h₁ = W₀ [x; 1], hᵢ₊₁ = Wᵢ relu(hᵢ), y = the first `outputs` rows of the last h. The ones fill the inputs
    up to a multiple of 16, so a padded input is a bias. Matrices are row-major (out, in), one after another.

    With `products="bfloat16"` the operands of every product, forward and backward, are rounded to bfloat16
    and summed in float32; on a processor without AVX-512 BF16, and on CUDA for now, that choice means float32
    products (`backend.describe()` says which). Returns [point, out] with strides (1, point); inputs may have
    any strides and are read without a copy in that same layout. Gradients reach inputs and weights, once.
    Results are the same bits for the same number of threads. float64 takes the reference, without rounding.

    Args:
        inputs: a point a row.
        weights: all matrices in one vector of `shape.parameters` numbers.
        shape: the network's.
        products: precision of the products' operands.

    Raises:
        ValueError: shapes or dtypes do not fit each other.

    Example:
        >>> shape = MlpShape(inputs=32, outputs=4)
        >>> weights = torch.zeros(shape.parameters, requires_grad=True)
        >>> fused_mlp(torch.rand(5, 32), weights, shape).shape
        torch.Size([5, 4])

    Source: tiny-cuda-nn `fully_fused_mlp.cu` (layout and padding).
    """
    _check(inputs, weights, shape, products)
    if backend.choose("fused_mlp", inputs, weights) == "reference":
        rounded = products == "bfloat16" and inputs.dtype == torch.float32
        return _reference(inputs, weights, shape, rounded)
    numbers = [shape.inputs, shape.outputs, shape.width, shape.hidden_layers, int(products == "bfloat16")]
    return _mlp(_planar(inputs), weights.contiguous(), numbers)


def _reference(inputs: Tensor, weights: Tensor, shape: MlpShape, rounded: bool = False) -> Float[Tensor, "point out"]:
    ones = inputs.new_ones(len(inputs), shape.padded_inputs - shape.inputs)
    hidden = torch.cat([inputs, ones], 1)
    for i, (matrix, (out, into)) in enumerate(
        zip(weights.split([out * into for out, into in shape.matrices]), shape.matrices, strict=True)
    ):
        hidden = _Product.apply(hidden.relu() if i else hidden, matrix.view(out, into), rounded)
    return _planar(hidden[:, : shape.outputs])


class _Product(torch.autograd.Function):
    """x Wᵀ whose operands, in both directions, are rounded to bfloat16 if `rounded`; sums in the dtype of x."""

    generate_vmap_rule = False

    @staticmethod
    def forward(ctx, x: Tensor, matrix: Tensor, rounded: bool) -> Tensor:
        if rounded:
            x, matrix = _round(x), _round(matrix)
        ctx.save_for_backward(x, matrix)
        ctx.rounded = rounded
        return x @ matrix.t()

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, matrix = ctx.saved_tensors
        grad = _round(grad) if ctx.rounded else grad
        return grad @ matrix, grad.t() @ x, None


def _round(x: Tensor) -> Tensor:
    return x.bfloat16().to(x.dtype)


def _planar(x: Tensor) -> Tensor:
    return x.t().contiguous().t()


@torch_op("fused_mlp")
def _mlp(inputs: Tensor, weights: Tensor, numbers: list[int]) -> Tensor:
    out = inputs.new_empty(numbers[1], len(inputs))
    _run("fused_mlp", inputs, numbers, weights=weights, out=out)
    return out.t()


@_mlp.register_fake
def _(inputs: Tensor, weights: Tensor, numbers: list[int]) -> Tensor:
    return inputs.new_empty(numbers[1], inputs.shape[0]).t()


@torch_op("fused_mlp_backward", gradient=False)
def _mlp_backward(
    grad: Tensor, inputs: Tensor, weights: Tensor, numbers: list[int], needed: list[bool]
) -> tuple[Tensor, Tensor]:
    grad_inputs = inputs.new_empty(numbers[0] if needed[0] else 0, len(inputs))
    grad_weights = torch.zeros_like(weights) if needed[1] else weights.new_empty(0)
    into = {
        "grad_inputs": grad_inputs if needed[0] else None,
        "grad_weights": grad_weights if needed[1] else None,
    }
    _run("fused_mlp_backward", inputs, numbers, weights=weights, grad_out=grad.t(), **into)
    return grad_inputs.t(), grad_weights


@_mlp_backward.register_fake
def _(grad: Tensor, inputs: Tensor, weights: Tensor, numbers: list[int], needed: list[bool]) -> tuple[Tensor, Tensor]:
    grad_inputs = inputs.new_empty(numbers[0] if needed[0] else 0, inputs.shape[0]).t()
    return grad_inputs, torch.empty_like(weights) if needed[1] else weights.new_empty(0)


def _run(op: str, inputs: Tensor, numbers: list[int], **memory: Tensor | None) -> None:
    """Call a kernel, whose tensors are planar: [in, point], [out, point]."""
    shape = dict(zip(("input_count", "output_count", "width", "hidden_layers", "bfloat16"), numbers, strict=True))
    backend.run(op, inputs, inputs=inputs.t(), points=len(inputs), **shape, **memory)


def _remember(ctx, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])
    ctx.numbers = inputs[2]


def _backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    inputs, weights = ctx.saved_tensors
    needed = list(ctx.needs_input_grad[:2])
    grad_inputs, grad_weights = _mlp_backward(_planar(grad), inputs, weights, ctx.numbers, needed)
    return grad_inputs if needed[0] else None, grad_weights if needed[1] else None, None


_mlp.register_autograd(_backward, setup_context=_remember)


def _check(inputs: Tensor, weights: Tensor, shape: MlpShape, products: str) -> None:
    if inputs.ndim != 2 or inputs.shape[1] != shape.inputs:
        raise ValueError(f"fused_mlp: inputs must be [point, {shape.inputs}], got {tuple(inputs.shape)}")
    if tuple(weights.shape) != (shape.parameters,):
        raise ValueError(f"fused_mlp: {shape} has {shape.parameters} parameters, got {tuple(weights.shape)}")
    if inputs.dtype not in (torch.float32, torch.float64) or weights.dtype != inputs.dtype:
        raise ValueError(f"fused_mlp: inputs {inputs.dtype}, weights {weights.dtype}; both float32 or both float64")
    if products not in ("float32", "bfloat16"):
        raise ValueError(f"fused_mlp: products must be 'float32' or 'bfloat16', got '{products}'")
