"""The fused network: kernels against the float64 reference, with and without bfloat16 products."""

import pytest
import torch
from grading import assert_grade

from volkit.ops import MlpShape, backend, fused_mlp
from volkit.ops.fused_mlp import _reference

SHAPES = [
    MlpShape(32, 16, 64, 2),
    MlpShape(5, 1, 16, 1),
    MlpShape(160, 20, 128, 4),
    MlpShape(48, 3, 80, 3),
    MlpShape(16, 128, 32, 1),
]


def draw(shape: MlpShape, points: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.randn(out * into, generator=generator) * (2 / into) ** 0.5 for out, into in shape.matrices]
    inputs = torch.randn(points, shape.inputs, generator=generator)
    return inputs, torch.cat(parts), torch.randn(points, shape.outputs, generator=generator)


def gradients(function, inputs, weights, grad):
    inputs, weights = inputs.detach().requires_grad_(), weights.detach().requires_grad_()
    out = function(inputs, weights)
    return out, *torch.autograd.grad(out, (inputs, weights), grad.to(out.dtype))


def test_counts_of_tiny_cuda_nn():
    assert MlpShape(32, 16, 64, 1).parameters + MlpShape(32, 3, 64, 2).parameters == 10_240  # instant-ngp's log
    assert MlpShape(63, 3, 64, 2).matrices == [(64, 64), (64, 64), (16, 64)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("points", [1, 300])
def test_float32_products(isa: str, shape: MlpShape, points: int):
    inputs, weights, grad = draw(shape, points)
    ours = gradients(lambda x, w: fused_mlp(x, w, shape, products="float32"), inputs, weights, grad)
    true = gradients(lambda x, w: _reference(x, w, shape), inputs.double(), weights.double(), grad)
    assert ours[0].stride() == (1, points)
    # Sums of up to 160 float32 products, five in a row: 1e-6. A rectifier within that of 0 may open or close.
    assert_grade(ours[0], true[0], rtol=1e-5)
    assert_grade(ours[1], true[1], rtol=1e-4, fail_ratio=5e-3, l2=2e-2)
    assert_grade(ours[2], true[2], rtol=1e-4, fail_ratio=5e-3, l2=2e-2)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bfloat16_products(isa: str, shape: MlpShape):
    inputs, weights, grad = draw(shape, 300)
    if isa not in ("avx512_bf16", "amx_bf16"):
        assert torch.equal(fused_mlp(inputs, weights, shape), fused_mlp(inputs, weights, shape, products="float32"))
        return
    ours = gradients(lambda x, w: fused_mlp(x, w, shape), inputs, weights, grad)
    true = gradients(lambda x, w: _reference(x, w, shape, True), inputs.double(), weights.double(), grad)
    # Operands are rounded alike; sums differ by 1e-6, which now and then rounds a hidden value to the other
    # neighbour (4e-3 of it) or moves a rectifier, and a product sums up to 128 of those.
    for mine, truth in zip(ours, true, strict=True):
        assert_grade(mine, truth, rtol=4e-3, fail_ratio=2e-2, l2=2e-2)
    # And rounding itself must cost no more than its 8 bits allow over five layers.
    exact = gradients(lambda x, w: _reference(x, w, shape), inputs.double(), weights.double(), grad)
    assert_grade(ours[0], exact[0], rtol=5e-2, l2=2e-2)


def test_float32_reference_rounds_as_the_kernel_does():
    inputs, weights, _ = draw(SHAPES[0], 100)
    with backend.use("reference"):
        ours = fused_mlp(inputs, weights, SHAPES[0])
    truth = _reference(inputs.double(), weights.double(), SHAPES[0], True)
    assert_grade(ours, truth, rtol=4e-3, fail_ratio=1e-2)  # as in test_bfloat16_products


def test_padded_inputs_are_ones(isa: str):
    shape = MlpShape(13, 4, 32, 1)
    inputs, weights, _ = draw(shape, 50)
    whole = MlpShape(16, 4, 32, 1)
    padded = torch.cat([inputs, torch.ones(50, 3)], 1)
    assert torch.equal(fused_mlp(inputs, weights, shape), fused_mlp(padded, weights, whole))


def test_gradcheck_of_the_reference():
    shape = MlpShape(5, 2, 16, 2)
    inputs, weights, _ = draw(shape, 3)
    arguments = (inputs.double().requires_grad_(), weights.double().requires_grad_())
    assert torch.autograd.gradcheck(lambda x, w: fused_mlp(x, w, shape), arguments)


def test_opcheck():
    shape = MlpShape(7, 3, 16, 1)
    inputs, weights, grad = draw(shape, 9)
    numbers = [7, 3, 16, 1, 0]
    torch.library.opcheck(
        torch.ops.volkit.fused_mlp.default,
        (inputs.t().contiguous().t().requires_grad_(), weights.requires_grad_(), numbers),
    )
    planar = [t.detach().t().contiguous().t() for t in (grad, inputs)]
    for wanted in ([True, True], [False, True], [True, False]):
        torch.library.opcheck(torch.ops.volkit.fused_mlp_backward.default, (*planar, weights.detach(), numbers, wanted))


def test_only_what_is_asked(isa: str):
    shape = SHAPES[0]
    inputs, weights, grad = draw(shape, 200)
    _, to_inputs, to_weights = gradients(lambda x, w: fused_mlp(x, w, shape), inputs, weights, grad)
    leaf = inputs.clone().requires_grad_()
    fused_mlp(leaf, weights, shape).backward(grad)
    assert torch.equal(leaf.grad, to_inputs)
    leaf = weights.clone().requires_grad_()
    fused_mlp(inputs, leaf, shape).backward(grad)
    assert torch.equal(leaf.grad, to_weights)


def test_layouts_empty_and_repeats(isa: str):
    shape = SHAPES[0]
    inputs, weights, grad = draw(shape, 1000)
    first = gradients(lambda x, w: fused_mlp(x, w, shape), inputs, weights, grad)
    second = gradients(lambda x, w: fused_mlp(x, w, shape), inputs.t().contiguous().t(), weights, grad)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    out, to_inputs, to_weights = gradients(lambda x, w: fused_mlp(x, w, shape), inputs[:0], weights, grad[:0])
    assert out.shape == (0, 16) and to_inputs.shape == (0, 32) and not to_weights.any()


def test_points_do_not_mix_and_poison_shows(isa: str):
    shape = SHAPES[0]
    inputs, weights, _ = draw(shape, 200)
    spoiled = inputs.clone()
    spoiled[17, 3], spoiled[150, 0] = torch.nan, torch.inf
    clean, out = fused_mlp(inputs, weights, shape), fused_mlp(spoiled, weights, shape)
    touched = torch.zeros(200, dtype=torch.bool)
    touched[[17, 150]] = True
    assert torch.equal(out[~touched], clean[~touched])
    assert not out[17].isfinite().any() and not out[150].isfinite().all()


def test_refusals():
    shape = SHAPES[0]
    inputs, weights, _ = draw(shape, 4)
    for arguments, message in [
        ((inputs[:, 1:], weights), "inputs must be"),
        ((inputs, weights[1:]), "parameters, got"),
        ((inputs.double(), weights), "both float32"),
    ]:
        with pytest.raises(ValueError, match=message):
            fused_mlp(*arguments, shape)
    with pytest.raises(ValueError, match="multiple of 16"):
        MlpShape(3, 3, width=40)
    with pytest.raises(ValueError, match="inputs 1 to"):
        MlpShape(161, 3)
