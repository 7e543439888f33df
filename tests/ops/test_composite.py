"""Compositing: physics in closed form, then the kernels against the float64 reference."""

import math
from itertools import pairwise

import pytest
import torch
from grading import assert_grade
from torch import Tensor

from volkit.ops import backend
from volkit.ops.composite import Composited, composite, median_depth


def _rays(lengths: list[int], seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    count = int(offsets[-1])
    t0 = torch.rand(count, generator=generator) * 3
    t1 = t0 + 0.1 * torch.rand(count, generator=generator)
    density = 40 * torch.rand(count, generator=generator) * (torch.rand(count, generator=generator) < 0.5)
    return density, t0, t1, offsets


def _slab(sigma: float, edges: Tensor) -> Composited:
    t0, t1 = edges[:-1], edges[1:]
    channels = torch.ones(len(t0), 2, dtype=edges.dtype) * torch.tensor([1.0, 0.25], dtype=edges.dtype)
    offsets = torch.tensor([0, len(t0)])
    return composite(torch.full_like(t0, sigma), channels, t0, t1, offsets, stop=0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_slab_is_one_minus_exp(dtype: torch.dtype) -> None:
    seen = _slab(1.7, torch.linspace(1, 3, 33, dtype=dtype))
    expected = 1 - math.exp(-1.7 * 2)
    # 32 sums of float32 at 6e-8 each
    tolerance = 2e-6 if dtype == torch.float32 else 1e-12
    assert seen.opacity.item() == pytest.approx(expected, abs=tolerance)
    assert seen.channels[0].tolist() == pytest.approx([expected, 0.25 * expected], abs=tolerance)


def test_splitting_an_interval_changes_nothing() -> None:
    edges = torch.tensor([0.0, 0.3, 1.0, 2.5], dtype=torch.float64)
    halves = torch.cat([edges, 0.5 * (edges[1:] + edges[:-1])]).sort().values
    whole, split = _slab(0.8, edges), _slab(0.8, halves)
    # the same exponentials in another order, float64
    torch.testing.assert_close(split.channels, whole.channels, atol=1e-14, rtol=0)
    torch.testing.assert_close(split.opacity, whole.opacity, atol=1e-14, rtol=0)


def test_depth_is_of_quadrature_order_two() -> None:
    sigma, near, far = 1.3, 1.0, 4.0
    # the integral of t sigma exp(-sigma (t - near)) over the slab
    exact = near + 1 / sigma - math.exp(-sigma * (far - near)) * (far + 1 / sigma)
    errors = [
        abs(_slab(sigma, torch.linspace(near, far, n + 1, dtype=torch.float64)).depth.item() - exact)
        for n in (16, 32, 64)
    ]
    for coarse, fine in pairwise(errors):
        # halving the interval quarters the error; 5 % for the next order
        assert coarse / fine == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 4, 27, 64])
def test_kernel_against_float64(isa: str, channels: int, planar: bool) -> None:
    density, t0, t1, offsets = _rays([0, 5, 0, 0, 1, 33, 700, 12, 0])
    count, results = len(density), []
    values = torch.randn(channels, count, generator=torch.Generator().manual_seed(1)).T
    values = values if planar else values.contiguous()
    for dtype, kind in ((torch.float32, "native"), (torch.float64, "reference")):
        given = density.to(dtype).clone().requires_grad_()
        colours = values.to(dtype).clone(memory_format=torch.preserve_format).requires_grad_()
        with backend.use(kind):
            seen = composite(given, colours, t0.to(dtype), t1.to(dtype), offsets)
        noise = torch.Generator().manual_seed(2)
        sum((each * torch.randn(each.shape, generator=noise).to(dtype)).sum() for each in seen).backward()
        results.append([*seen, given.grad, colours.grad])
    assert results[0][5].stride() == values.stride()
    for got, wanted in zip(*results, strict=True):
        # float32 sums of up to 700 terms, the optical depth among them: 6e-8 sqrt(700)
        assert_grade(got, wanted, rtol=2e-5, l2=2e-6)


def test_only_the_gradients_that_arrive(isa: str) -> None:
    density, t0, t1, offsets = _rays([3, 0, 20])
    for field in Composited._fields:
        grads = []
        for kind in ("native", "reference"):
            given = density.clone().requires_grad_()
            colours = torch.ones(len(density), 3).requires_grad_()
            with backend.use(kind):
                seen = composite(given, colours, t0, t1, offsets)
            getattr(seen, field).square().sum().backward()
            grads.append(torch.cat([given.grad, torch.zeros(0) if colours.grad is None else colours.grad[:, 0]]))
        if field == "channels":
            # float32 against float32, 20 terms
            torch.testing.assert_close(grads[0], grads[1], atol=1e-5, rtol=1e-4)
        else:
            count = len(density)
            # float32 against float32, 20 terms
            torch.testing.assert_close(grads[0][:count], grads[1][:count], atol=1e-5, rtol=1e-4)


def test_gradcheck_of_reference() -> None:
    density, t0, t1, offsets = _rays([4, 0, 3])
    given = (0.1 * density + 0.1).double().requires_grad_()
    values = torch.rand(7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda d, c: tuple(composite(d, c, t0.double(), t1.double(), offsets)), (given, values)
    )


def test_stopped_samples_have_no_weight_and_no_gradient() -> None:
    for dtype in (torch.float32, torch.float64):
        t0 = torch.arange(6, dtype=dtype)
        density = torch.full((6,), 5.0, dtype=dtype, requires_grad=True)
        channels = torch.rand(6, 3, dtype=dtype).requires_grad_()
        seen = composite(density, channels, t0, t0 + 1, torch.tensor([0, 6]), stop=1e-4)
        # exp(-5 i) falls below 1e-4 at i = 2
        assert seen.weights[2:].tolist() == [0, 0, 0, 0]
        (seen.channels.sum() + seen.depth.sum() + seen.weights.square().sum()).backward()
        assert density.grad[2:].tolist() == [0, 0, 0, 0] and bool((density.grad[:2] != 0).all())
        assert channels.grad[2:].abs().max() == 0


def test_empty_batches(isa: str) -> None:
    for rays in (0, 3):
        nothing = torch.zeros(0, requires_grad=True)
        colours = torch.zeros(0, 3, requires_grad=True)
        seen = composite(nothing, colours, torch.zeros(0), torch.zeros(0), torch.zeros(rays + 1, dtype=torch.int64))
        assert seen.channels.tolist() == [[0, 0, 0]] * rays and seen.opacity.tolist() == [0] * rays
        (seen.channels.sum() + seen.opacity.sum()).backward()
        assert nothing.grad.shape == (0,) and colours.grad.shape == (0, 3)


def test_extreme_densities_stay_on_their_ray(isa: str) -> None:
    density = torch.tensor([1.0, torch.inf, 3.0, 1e-30, torch.nan, 1.0, 2.0, 3e38])
    t0 = torch.tensor([0.0, 1, 2, 0, 1, 2, 0, 1])
    seen = composite(density, torch.ones(8, 3), t0, t0 + 1, torch.tensor([0, 3, 6, 8]))
    assert seen.opacity[0] == 1 and seen.weights[2] == 0
    assert seen.opacity[1].isnan() and seen.opacity[2] == 1


def test_thin_media_keep_their_digits(isa: str) -> None:
    t0 = torch.zeros(16)
    seen = composite(torch.full((16,), 1e-6), torch.ones(16, 1), t0, t0 + 0.1, torch.arange(17))
    # 1 - exp(-1e-7) by subtraction would be 1.19e-7
    torch.testing.assert_close(seen.weights, torch.full((16,), 1e-7), rtol=1e-5, atol=0)


def test_same_bits_each_time(isa: str) -> None:
    density, t0, t1, offsets = _rays([7, 30, 200] * 40)
    runs = []
    for threads in (1, 2, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        given = density.clone().requires_grad_()
        colours = torch.ones(len(density), 3).requires_grad_()
        seen = composite(given, colours, t0, t1, offsets)
        seen.channels.square().sum().backward()
        runs.append([*seen, given.grad, colours.grad])
        torch.set_num_threads(before)
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(run, runs[0], strict=True))


def test_operator_contract(isa: str) -> None:
    density, t0, t1, offsets = _rays([4, 0, 9])
    given, colours = density.clone().requires_grad_(), torch.rand(13, 3).requires_grad_()
    torch.library.opcheck(torch.ops.volkit.composite.default, (given, colours, t0, t1, offsets, 1e-4))


def test_wrong_shapes_are_named() -> None:
    one = torch.ones(4)
    with pytest.raises(ValueError, match=r"density \[sample\]"):
        composite(one, torch.ones(5, 3), one, one, torch.tensor([0, 4]))
    with pytest.raises(ValueError, match="int64"):
        composite(one, torch.ones(4, 3), one, one, torch.tensor([0, 4], dtype=torch.int32))
    with pytest.raises(ValueError, match="t0 and t1"):
        composite(one, torch.ones(4, 3), one[:3], one, torch.tensor([0, 4]))


def test_median_depth_of_a_slab_and_of_thin_air() -> None:
    edges = torch.linspace(1, 5, 401, dtype=torch.float64)
    weights = _slab(2.0, edges).weights
    offsets = torch.tensor([0, 0, 400, 800])
    twice = torch.cat([weights, 0.4 * weights])
    depth = median_depth(twice, edges[:-1].repeat(2), edges[1:].repeat(2), offsets)
    half = 0.5 * (1 - math.exp(-2.0 * 4))
    # linear within an interval of 0.01: error below 0.01^2
    assert depth[1].item() == pytest.approx(1 - math.log(1 - half) / 2.0, abs=1e-4)
    assert depth[0].isinf() and depth[2].isinf()
