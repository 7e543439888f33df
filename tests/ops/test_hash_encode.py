"""Hash encoding: kernels against the float64 reference, the layout of tiny-cuda-nn, borders, poison,
determinism."""

import math

import pytest
import torch
from grading import assert_grade

from volkit.ops import HashLevels, backend, hash_encode
from volkit.ops.hash_encode import _level_rows, _reference, _scatter

SMALL = HashLevels.with_finest(200, levels=6, log2_table=11)


def draw(levels: HashLevels, points: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(levels.entries, levels.features, generator=generator)
    return torch.rand(points, 3, generator=generator), table


def gradients(positions, table, levels, weights):
    positions, table = positions.detach().requires_grad_(), table.detach().requires_grad_()
    out = hash_encode(positions, table, levels)
    return out, *torch.autograd.grad((out * weights.to(out.dtype)).sum(), (positions, table))


def test_parameter_counts_of_published_models():
    # instant-ngp logs 12,196,240 encoding parameters at aabb_scale 1 and 13,074,912 at 4 (issues 992, 845).
    assert HashLevels.with_finest(2048).entries * 2 == 12_196_240
    assert HashLevels.with_finest(8192).entries * 2 == 13_074_912
    assert HashLevels.with_finest(2048).resolutions[:3] == [16, 23, 31]
    assert all(size % 8 == 0 for size in SMALL.sizes)


@pytest.mark.parametrize("features", [1, 2, 4, 8])
@pytest.mark.parametrize("points", [1, 15, 16, 1003])
def test_kernel_follows_float64(isa: str, features: int, points: int):
    levels = HashLevels.with_finest(200, levels=6, features=features, log2_table=11)
    positions, table = draw(levels, points)
    weights = torch.randn(points, 6 * features, generator=torch.Generator().manual_seed(1))
    out, to_positions, to_table = gradients(positions, table, levels, weights)
    truth, true_positions, true_table = gradients(positions.double(), table.double(), levels, weights)
    assert out.stride() == (1, points)
    # A position has 24 bits; times the scale 200 that leaves 1e-5 of a cell, times slopes of a few units.
    torch.testing.assert_close(out.double(), truth, rtol=0, atol=1e-4)
    # The same 1e-5 of a cell; a point within it of a face may take the slope of the neighbouring cell.
    assert_grade(to_positions, true_positions, rtol=1e-3, fail_ratio=2e-3, l2=2e-2)
    # Weights err by 1e-5; an entry that only such an error reaches is one of those `missing` leaves out.
    assert_grade(to_table, true_table, rtol=1e-3, fail_ratio=1e-3)


def test_half_table(isa: str):
    for features in (1, 2, 4, 8):
        levels = HashLevels.with_finest(200, levels=6, features=features, log2_table=11)
        positions, table = draw(levels, 333)
        half = table.half()
        half[0], half[-1] = 6e-8, 65504.0  # a denormal and the largest number
        # The same table widened: the kernels read equal numbers, so only nothing may differ.
        assert torch.equal(hash_encode(positions, half, levels), hash_encode(positions, half.float(), levels))


def test_gradient_lands_in_the_buffer(isa: str):
    positions, table = draw(SMALL, 500)
    weights = torch.randn(500, 12, generator=torch.Generator().manual_seed(2))
    _, _, truth = gradients(positions, table, SMALL, weights)
    for leaf in (table.clone(), table.half()):
        leaf.requires_grad_()
        buffer = torch.ones_like(table)
        for _ in range(2):
            (hash_encode(positions, leaf, SMALL, table_grad=buffer) * weights).sum().backward()
        assert leaf.grad is None
        # Two equal float32 sums on top of 1: an ulp of the partial sums, of size up to 30.
        torch.testing.assert_close(buffer, 1 + 2 * truth, rtol=1e-5, atol=1e-5)
    buffer = torch.zeros_like(table).double()
    leaf = table.double().requires_grad_()
    (hash_encode(positions.double(), leaf, SMALL, table_grad=buffer) * weights).sum().backward()
    assert leaf.grad is None
    assert_grade(truth, buffer, rtol=1e-3, fail_ratio=1e-3)  # as in test_kernel_follows_float64


def test_gradcheck_of_the_reference():
    levels = HashLevels.with_finest(9, levels=2, log2_table=6, base_resolution=3)
    positions, table = draw(levels, 7)
    inputs = (positions.double().requires_grad_(), table.double().requires_grad_())
    assert torch.autograd.gradcheck(lambda p, t: _reference(p, t, levels), inputs)


def test_opcheck():
    positions, table = draw(SMALL, 20)
    rows = _level_rows(SMALL)
    leaves = (positions.requires_grad_(), table.requires_grad_())
    torch.library.opcheck(torch.ops.volkit.hash_encode.default, (*leaves, rows, None))
    grad = torch.randn(12, 20).t()
    torch.library.opcheck(_scatter, (grad, positions.detach(), torch.zeros_like(table), rows))
    torch.library.opcheck(torch.ops.volkit.hash_slopes.default, (grad, positions.detach(), table.detach(), rows))


def test_box_faces_and_outside(isa: str):
    _, table = draw(SMALL, 1)
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    truth = _reference(corners.double(), table.double(), SMALL)
    # Cells are exact at 0 and 1; only the float32 scale's half-integer offset rounds.
    torch.testing.assert_close(hash_encode(corners, table, SMALL).double(), truth, rtol=0, atol=1e-4)
    outside = torch.tensor([[-3.0, 0.5, 0.2], [0.5, 1e30, 0.2], [torch.inf, -torch.inf, 0.2]], requires_grad=True)
    out = hash_encode(outside, table, SMALL)
    assert torch.equal(out, hash_encode(outside.detach().clamp(0, 1), table, SMALL))
    (slope,) = torch.autograd.grad(out.square().sum(), outside)
    assert ((slope == 0) == ((outside < 0) | (outside > 1))).all()


def test_poison_reads_inside_and_shows(isa: str):
    _, table = draw(SMALL, 1)
    positions = torch.rand(64, 3, generator=torch.Generator().manual_seed(3))
    positions[7, 1], positions[20] = torch.nan, torch.nan
    buffer = torch.zeros_like(table)
    leaf = positions.clone().requires_grad_()
    out = hash_encode(leaf, table.requires_grad_(), SMALL, table_grad=buffer)
    assert out.isnan().any(1).nonzero().flatten().tolist() == [7, 20]
    out.sum().backward()
    assert leaf.grad is not None and leaf.grad.isfinite().all(1).logical_not().nonzero().flatten().tolist() == [7, 20]


def test_empty_and_layouts(isa: str):
    positions, table = draw(SMALL, 40)
    assert hash_encode(positions[:0], table, SMALL).shape == (0, 12)
    wide = torch.zeros(40, 6)
    wide[:, ::2] = positions
    assert torch.equal(hash_encode(wide[:, ::2], table, SMALL), hash_encode(positions, table, SMALL))
    leaf = table.requires_grad_()
    out = hash_encode(positions, leaf, SMALL)
    rows = torch.randn(40, 12, generator=torch.Generator().manual_seed(4))
    (by_rows,) = torch.autograd.grad(out, leaf, rows, retain_graph=True)
    (by_planes,) = torch.autograd.grad(out, leaf, rows.t().contiguous().t())
    assert torch.equal(by_rows, by_planes)


def test_same_bits_for_any_number_of_threads(isa: str):
    levels = HashLevels.with_finest(500, levels=3, log2_table=14)
    positions, table = draw(levels, 60_000)
    weights = torch.randn(60_000, 6, generator=torch.Generator().manual_seed(5))
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            results.append(gradients(positions, table, levels, weights))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_refusals():
    positions, table = draw(SMALL, 4)
    for arguments, message in [
        ((positions[:, :2], table), "positions must be"),
        ((positions, table[:-1]), "table must be"),
        ((positions.double(), table), "both float32"),
        ((positions, table.half().requires_grad_()), "needs table_grad"),
    ]:
        with pytest.raises(ValueError, match=message):
            hash_encode(*arguments, SMALL)
    with pytest.raises(ValueError, match="table_grad must be"):
        hash_encode(positions, table, SMALL, table_grad=table[:4])
    with pytest.raises(ValueError, match="features must be"):
        HashLevels(features=3)
    with backend.use("cuda"), pytest.raises(RuntimeError, match="are on cpu"):
        hash_encode(positions, table, SMALL)
    assert math.isclose(HashLevels().per_level_scale, 1.447269, rel_tol=1e-6)  # six digits are printed
