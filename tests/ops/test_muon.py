"""Muon: every direction moves by one length, whatever the gradient's scale; poison shows; shapes are checked."""

import pytest
import torch

from volkit.ops.muon import MuonRule, muon_, orthogonalise


def matrix(rows: int, columns: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("shape", [(16, 16), (64, 256), (256, 63), (1, 40)])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6])
def test_singular_values_become_one(shape: tuple[int, int], scale: float):
    left, values, right = torch.linalg.svd(matrix(*shape), full_matrices=False)
    flat = left @ torch.diag(values.clamp_min(0.02 * values[0])) @ right
    found = torch.linalg.svdvals(orthogonalise(scale * flat))
    # The published quintic maps all of [0.01, 1] into about [0.68, 1.21] in five steps.
    assert found.min() > 0.6
    assert found.max() < 1.25


def test_directions_are_those_of_the_matrix():
    given = matrix(32, 48)
    left, _, right = torch.linalg.svd(given, full_matrices=False)
    rotated = left.t() @ orthogonalise(given) @ right.t()
    # Powers of the matrix share its singular vectors; float64 keeps the rest at rounding.
    assert (rotated - torch.diag(rotated.diagonal())).abs().max() < 1e-12


def test_half_products_stay_close():
    given = matrix(128, 256)
    # bfloat16 keeps 8 bits: five steps of rounded products stay within a few per cent of an orthogonal matrix's norm.
    distance = (orthogonalise(given.float()).double() - orthogonalise(given)).norm() / 128**0.5
    assert distance < 0.05


def test_step_is_the_formula_and_clears_the_gradient():
    param, grad, momentum = matrix(16, 64), matrix(16, 64, 1), matrix(16, 64, 2)
    heavier = 0.9 * momentum + 0.1 * grad
    wanted = param - 0.2 * 8.0 * 1e-2 * orthogonalise(0.9 * heavier + 0.1 * grad)
    muon_(param, grad, momentum, MuonRule(1e-2, momentum=0.9))
    torch.testing.assert_close(param, wanted, rtol=1e-12, atol=1e-12)  # the same formula in float64
    torch.testing.assert_close(momentum, heavier, rtol=1e-12, atol=1e-12)  # as above
    assert not grad.any()


def test_zero_gradient_moves_nothing_and_nan_is_not_hidden():
    param, still = matrix(16, 16), matrix(16, 16)
    muon_(param, torch.zeros(16, 16, dtype=torch.float64), torch.zeros(16, 16, dtype=torch.float64), MuonRule(1e-2))
    assert torch.equal(param, still)
    broken = torch.full((16, 16), float("nan"), dtype=torch.float64)
    muon_(param, broken, torch.zeros(16, 16, dtype=torch.float64), MuonRule(1e-2))
    assert param.isnan().all()


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match="one shape"):
        muon_(matrix(3, 4), matrix(4, 3), matrix(3, 4), MuonRule(1e-2))
    with pytest.raises(ValueError, match="matrices"):
        muon_(torch.zeros(3), torch.zeros(3), torch.zeros(3), MuonRule(1e-2))
