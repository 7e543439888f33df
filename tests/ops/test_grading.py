"""The gradient grades must catch what a plain tolerance lets through."""

import pytest
import torch
from grading import assert_grade, grade


def truth() -> torch.Tensor:
    return torch.randn(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_equal_is_perfect():
    result = grade(truth(), truth(), rtol=1e-6)
    assert (result.fail_ratio, result.relative_l2, result.bias, result.missing) == (0, 0, 0, 0)
    assert result.cosine == pytest.approx(1) and result.finite
    assert_grade(truth(), truth(), rtol=1e-6)


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        (lambda g: torch.zeros_like(g), "missing"),
        (lambda g: torch.where(torch.arange(1000) % 50 == 0, 0, g), "missing"),
        (lambda g: -g, "cosine"),
        (lambda g: g + 0.05, "bias"),
        (lambda g: torch.where(torch.arange(1000) == 3, g + 5, g), "fail_ratio"),
        (lambda g: torch.where(torch.arange(1000) == 3, torch.nan, g), "finite"),
    ],
)
def test_each_defect_is_named(spoil, field: str):
    good, bad = grade(truth(), truth(), rtol=1e-3), grade(spoil(truth()), truth(), rtol=1e-3)
    assert getattr(good, field) != getattr(bad, field)
    with pytest.raises(AssertionError, match="Grade"):
        assert_grade(spoil(truth()), truth(), rtol=1e-3)


def test_small_truth_is_graded_by_its_own_size():
    tiny = truth() * 1e-12
    assert grade(torch.zeros_like(tiny), tiny, rtol=1e-3).fail_ratio > 0.99
    assert grade(torch.zeros(5), torch.zeros(5), rtol=1e-3).fail_ratio == 0
