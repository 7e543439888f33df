"""Planes and lines: TensoRF's own formula, then the kernels against the float64 reference."""

import pytest
import torch
from grading import assert_grade
from torch import Tensor
from torch.nn import functional

from volkit.ops import backend
from volkit.ops.plane_sample import Factor, plane_sample

VM = (
    (Factor((0, 1)), Factor((2,))),
    (Factor((0, 2)), Factor((1,))),
    (Factor((1, 2)), Factor((0,))),
)
CP = ((Factor((0,)), Factor((1,)), Factor((2,))),)
TRIPLANE = ((Factor((0, 1)),), (Factor((0, 2)),), (Factor((1, 2)),))
KPLANES = ((Factor((0, 1)), Factor((0, 2)), Factor((1, 2))),)
FORMS = {"vm": VM, "cp": CP, "triplane": TRIPLANE, "kplanes": KPLANES}
SIZE = (13, 17, 11)


def _factors(terms: tuple, channels: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(*reversed([SIZE[a] for a in f.axes]), 1)[:2] for term in terms for f in term]
    return [torch.randn(1, channels, *shape, generator=generator) for shape in shapes]


def _positions(count: int = 700) -> Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(9)) * 2.2 - 1.1


def _pull(positions: Tensor, factors: list[Tensor], terms: tuple, reduce: bool = False) -> list[Tensor]:
    positions = positions.clone().requires_grad_()
    factors = [factor.clone(memory_format=torch.preserve_format).requires_grad_() for factor in factors]
    value = plane_sample(positions, factors, terms, reduce=reduce)
    noise = torch.randn(value.shape, generator=torch.Generator().manual_seed(1)).to(value.dtype)
    (value * noise).sum().backward()
    return [value.detach(), positions.grad, *(factor.grad for factor in factors)]


def test_vm_is_tensorfs_own_formula(isa: str) -> None:
    # density_plane.{i} is (1, R, G[mat1], G[mat0]) and density_line.{i} (1, R, G[vec], 1)
    mat_mode, vec_mode = [[0, 1], [0, 2], [1, 2]], [2, 1, 0]
    x, factors = _positions(), _factors(VM, 8)
    features = []
    for i in range(3):
        plane, line = factors[2 * i], factors[2 * i + 1]
        assert plane.shape[2:] == (SIZE[mat_mode[i][1]], SIZE[mat_mode[i][0]])
        at = torch.stack([x[:, mat_mode[i][0]], x[:, mat_mode[i][1]]], -1).reshape(1, -1, 1, 2)
        along = torch.stack([torch.zeros(len(x)), x[:, vec_mode[i]]], -1).reshape(1, -1, 1, 2)
        on_plane = functional.grid_sample(plane, at, align_corners=True, padding_mode="border").reshape(8, -1)
        on_line = functional.grid_sample(line, along, align_corners=True, padding_mode="border").reshape(8, -1)
        features.append((on_plane * on_line).T)
    # float32 products of numbers of order 3
    torch.testing.assert_close(plane_sample(x, factors, VM), torch.cat(features, 1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("reduce", [False, True])
@pytest.mark.parametrize("channels", [1, 8, 27, 48])
@pytest.mark.parametrize("form", FORMS)
def test_kernel_against_float64(isa: str, form: str, channels: int, reduce: bool) -> None:
    terms, positions = FORMS[form], _positions()
    factors = _factors(terms, channels)
    with backend.use("native"):
        got = _pull(positions, factors, terms, reduce)
    wanted = _pull(positions.double(), [factor.double() for factor in factors], terms, reduce)
    for a, b in zip(got, wanted, strict=True):
        # a coordinate of 17 texels carries 1e-6 of a texel, times slopes of order 2; sums of 50 points a texel
        assert_grade(a, b, rtol=3e-5, l2=5e-6)


def test_gradcheck_of_reference() -> None:
    factors = [factor.double().requires_grad_() for factor in _factors(VM, 2)]
    positions = 0.9 * _positions(4).double().clamp(-1, 1)
    assert torch.autograd.gradcheck(lambda x, *f: plane_sample(x, list(f), VM), (positions.requires_grad_(), *factors))


def test_border_texels_are_exact_and_held(isa: str) -> None:
    factors = _factors(TRIPLANE, 4)
    ends = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    got, beyond = plane_sample(ends, factors, TRIPLANE), plane_sample(3 * ends, factors, TRIPLANE)
    corner = factors[0][0][:, [0, 0, -1, -1], :][:, :, [0, -1]]
    assert torch.equal(got[0, :4], corner[:, 0, 0]) and torch.equal(got[7, :4], corner[:, 2, 1])
    assert torch.equal(got, beyond)


def test_single_texels(isa: str) -> None:
    factors = [torch.full((1, 3, 1, 1), 2.0), torch.full((1, 3, 1, 1), 5.0)]
    got = _pull(_positions(5), factors, ((Factor((0, 1)), Factor((2,))),))
    assert got[0].tolist() == [[10.0] * 3] * 5 and got[1].abs().max() == 0


def test_memory_layout_changes_nothing(isa: str) -> None:
    factors = _factors(VM, 16)
    last = [factor.to(memory_format=torch.channels_last) for factor in factors]
    for a, b in zip(_pull(_positions(), factors, VM), _pull(_positions(), last, VM), strict=True):
        assert torch.equal(a, b)
    slanted = torch.randn(3, 50).T
    assert torch.equal(plane_sample(slanted, last, VM), plane_sample(slanted.contiguous(), last, VM))


@pytest.mark.parametrize("kind", ["native", "reference"])
def test_gradients_go_into_the_buffers(kind: backend.Choice) -> None:
    factors = [factor.to(memory_format=torch.channels_last).requires_grad_() for factor in _factors(VM, 8)]
    with backend.use(kind):
        wanted = _pull(_positions(), [factor.detach() for factor in factors], VM)[2:]
        buffers = [torch.ones_like(factor) for factor in factors]
        value = plane_sample(_positions(), factors, VM, factor_grads=buffers)
        value.backward(torch.randn(value.shape, generator=torch.Generator().manual_seed(1)))
    for factor, buffer, grad in zip(factors, buffers, wanted, strict=True):
        assert factor.grad is None
        # the same additions starting from 1 instead of 0
        torch.testing.assert_close(buffer, grad + 1, atol=2e-4, rtol=1e-5)
    with pytest.raises(ValueError, match="factor_grads"):
        plane_sample(_positions(), factors, VM, factor_grads=buffers[:1] * 6)


def test_broken_positions_never_leave_the_planes(isa: str) -> None:
    bad = torch.tensor([torch.nan, torch.inf, -torch.inf, 3e38, -3e38, 0.5])
    positions = torch.cat([torch.cartesian_prod(bad, bad, bad), _positions(100)])
    factors = _factors(VM, 8)
    got = _pull(positions, factors, VM)
    assert got[0][216:].isfinite().all()
    assert got[0][:36].isnan().any(1).all()
    finite = ~positions.isnan().any(1)
    assert plane_sample(positions[finite], factors, VM).isfinite().all()


def test_empty_batch(isa: str) -> None:
    got = _pull(torch.zeros(0, 3), _factors(VM, 8), VM)
    assert got[0].shape == (0, 24) and all(grad.abs().max() == 0 for grad in got[2:])


def test_same_bits_for_any_number_of_threads(isa: str) -> None:
    factors, positions = _factors(VM, 20), _positions(3000)
    runs = []
    for threads in (1, 2, 3, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        runs.append(_pull(positions, factors, VM))
        torch.set_num_threads(before)
    for number, (a, b) in enumerate((a, b) for run in runs[1:] for a, b in zip(run, runs[0], strict=True)):
        # vectors of channels are cut at other places: a product may be rounded before its sum or not
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5, msg=lambda m, n=number: f"{n}: {m}")
    assert all(torch.equal(a, b) for a, b in zip(runs[1], runs[3], strict=True))


def test_operator_contract(isa: str) -> None:
    factors = [factor.to(memory_format=torch.channels_last).requires_grad_() for factor in _factors(CP, 8)]
    arguments = (_positions(9).requires_grad_(), factors, [], [0, -1, 1, -1, 2, -1], [3], False)
    torch.library.opcheck(torch.ops.volkit.plane_sample.default, arguments)


def test_wrong_factors_are_named() -> None:
    factors = _factors(CP, 4)
    with pytest.raises(ValueError, match="one tensor per factor"):
        plane_sample(_positions(), factors[:2], CP)
    with pytest.raises(ValueError, match="equal channels"):
        plane_sample(_positions(), [factors[0][:, :2], *factors[1:]], CP)
    with pytest.raises(ValueError, match=r"\[1, channel, size, 1\]"):
        plane_sample(_positions(), [factors[0].transpose(2, 3), *factors[1:]], CP)
    with pytest.raises(ValueError, match="coordinates"):
        plane_sample(_positions(), factors, ((Factor((0,)), Factor((1,)), Factor((3,))),))
    with pytest.raises(ValueError, match="one axis"):
        Factor((0, 1, 2))
