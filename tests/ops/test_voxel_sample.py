"""Sparse voxels: the kernels against the float64 reference and against grid_sample on a full grid."""

import pytest
import torch
from grading import assert_grade
from torch import Tensor
from torch.nn import functional

from volkit.ops import backend
from volkit.ops.voxel_sample import voxel_sample


def _grid(channels: int, filled: float = 0.7) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(channels)
    links = torch.full((9, 8, 7), -1, dtype=torch.int32)
    occupied = torch.rand(links.shape, generator=generator) < filled
    rows = int(occupied.sum())
    links[occupied] = torch.randperm(rows, generator=generator).int()
    positions = torch.rand(3000, 3, generator=generator) * 11 - 1.5
    return positions, links, torch.randn(rows, channels, generator=generator)


def _pull(positions: Tensor, links: Tensor, data: Tensor) -> list[Tensor]:
    positions, data = positions.clone().requires_grad_(), data.clone().requires_grad_()
    value = voxel_sample(positions, links, data)
    generator = torch.Generator().manual_seed(1)
    (value * torch.randn(value.shape, generator=generator).to(value.dtype)).sum().backward()
    return [value.detach(), positions.grad, data.grad]


@pytest.mark.parametrize("channels", [1, 2, 5, 16, 27, 28])
def test_kernel_against_float64(isa: str, channels: int) -> None:
    positions, links, data = _grid(channels)
    with backend.use("native"):
        got = _pull(positions, links, data)
    wanted = _pull(positions.double(), links, data.double())
    for a, b in zip(got, wanted, strict=True):
        # float32 sums of about fifty corners a row, each with a weight to 1e-6
        assert_grade(a, b, rtol=1e-5, l2=2e-6)


def test_full_grid_is_grid_sample(isa: str) -> None:
    positions, links, _ = _grid(4)
    links = torch.arange(links.numel(), dtype=torch.int32).reshape(links.shape)
    data = torch.randn(links.numel(), 4, generator=torch.Generator().manual_seed(2))
    volume = data.reshape(*links.shape, 4).permute(3, 0, 1, 2)[None]
    size = torch.tensor(links.shape) - 1
    unit = (positions / size * 2 - 1).flip(1)[None, None, None]
    wanted = functional.grid_sample(volume, unit, padding_mode="border", align_corners=True)[0, :, 0, 0].T
    # grid_sample goes through [-1, 1] and back: a few ulp of a coordinate of 9
    torch.testing.assert_close(voxel_sample(positions, links, data), wanted, atol=2e-5, rtol=0)


def test_gradcheck_of_reference() -> None:
    positions, links, data = _grid(2)
    assert torch.autograd.gradcheck(
        lambda x, d: voxel_sample(x, links, d),
        (positions[:5].double().requires_grad_(), data.double().requires_grad_()),
    )


@pytest.mark.parametrize("kind", ["native", "reference"])
def test_gradient_goes_into_the_buffer(kind: backend.Choice) -> None:
    positions, links, data = _grid(3)
    wanted = _pull(positions.double(), links, data.double())[2]
    data.requires_grad_()
    buffer = torch.ones_like(data)
    with backend.use(kind):
        value = voxel_sample(positions, links, data, data_grad=buffer)
    generator = torch.Generator().manual_seed(1)
    value.backward(torch.randn(value.shape, generator=generator))
    assert data.grad is None
    # float32 sums of about fifty corners a row
    torch.testing.assert_close(buffer.double(), wanted + 1, atol=1e-4, rtol=1e-5)
    with pytest.raises(ValueError, match="data_grad"):
        voxel_sample(positions, links, data, data_grad=buffer[:, :2])


def test_broken_numbers_never_leave_the_grid(isa: str) -> None:
    positions, links, data = _grid(5)
    bad = torch.tensor([torch.nan, torch.inf, -torch.inf, 3e38, -3e38, 1e-45])
    positions[:216] = torch.cartesian_prod(bad, bad, bad)
    links[0, 0, 0] = len(data) + 5
    links[8, 7, 6] = -7
    value, _, grad = _pull(positions, links, data)
    assert value.shape == (3000, 5) and grad.shape == data.shape
    assert value[216:].isfinite().all()
    assert value[:216].isnan().any(1).sum() <= 216 - 125 and value[43:].isfinite().any()


def test_edges_of_the_grid(isa: str) -> None:
    links = torch.arange(24, dtype=torch.int32).reshape(2, 3, 4)
    data = torch.arange(24.0)[:, None]
    corners = torch.tensor([[0.0, 0, 0], [1, 2, 3], [1, 0, 3], [-4, -4, -4], [9, 9, 9]])
    assert voxel_sample(corners, links, data)[:, 0].tolist() == [0, 23, 15, 0, 23]
    flat = torch.zeros(1, 1, 1, dtype=torch.int32)
    assert voxel_sample(corners, flat, torch.tensor([[2.5]]))[:, 0].tolist() == [2.5] * 5


def test_empty_batch_and_empty_grid(isa: str) -> None:
    positions, links, data = _grid(4)
    nothing = _pull(positions[:0], links, data)
    assert nothing[0].shape == (0, 4) and nothing[2].abs().max() == 0
    hollow = _pull(positions, torch.full_like(links, -1), torch.zeros(0, 4))
    assert hollow[0].abs().max() == 0 and hollow[1].abs().max() == 0
    with pytest.raises(ValueError, match="no voxel"):
        voxel_sample(positions, links[:0], data)
    with pytest.raises(ValueError, match="int32"):
        voxel_sample(positions, links.long(), data)


def test_same_bits_for_any_number_of_threads(isa: str) -> None:
    positions, links, data = _grid(7)
    runs = []
    for threads in (1, 2, 3, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        runs.append(_pull(positions, links, data))
        torch.set_num_threads(before)
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(run, runs[0], strict=True))


def test_operator_contract(isa: str) -> None:
    positions, links, data = _grid(3)
    arguments = (positions[:9].clone().requires_grad_(), links, data.clone().requires_grad_(), None)
    torch.library.opcheck(torch.ops.volkit.voxel_sample.default, arguments)
