"""Grades of a gradient against the truth.

A single tolerance passes a zeroed gradient as soon as it exceeds the truth, and hides a bias below the noise.
So: the share of elements outside a tolerance, the relative L2 distance, the cosine, the signed bias, and the
share of elements that should have a gradient but have none.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Grade:
    """How far `mine` is from `truth`: all zero but `cosine`, which is 1, for equal tensors."""

    fail_ratio: float
    relative_l2: float
    cosine: float
    bias: float
    missing: float
    finite: bool


def grade(mine: Tensor, truth: Tensor, *, rtol: float, atol: float = 0.0) -> Grade:
    """Compare a gradient with the truth.

    An element fails where |mine - truth| > atol + rtol * max(|truth|, rms(truth)). bias = mean(mine - truth)
    / rms(truth); missing = share of the elements with |truth| > 1e-3 rms(truth) at which mine is exactly
    zero.
    """
    mine, truth = mine.detach().double().flatten(), truth.detach().double().flatten()
    assert mine.shape == truth.shape, f"{mine.shape} against {truth.shape}"
    scale = truth.square().mean().sqrt().clamp_min(1e-300)
    difference = mine - truth
    expected = truth.abs() > 1e-3 * scale
    fails = difference.abs() > atol + rtol * truth.abs().clamp_min(scale)
    norms = (mine.norm() * truth.norm()).clamp_min(1e-300)
    return Grade(
        fail_ratio=fails.double().mean().item(),
        relative_l2=(difference.norm() / truth.norm().clamp_min(1e-300)).item(),
        cosine=(mine @ truth / norms).item() if truth.any() else float(not mine.any()),
        bias=(difference.mean() / scale).item(),
        missing=(expected & (mine == 0)).sum().item() / max(int(expected.sum()), 1),
        finite=bool(mine.isfinite().all()),
    )


def assert_grade(
    mine: Tensor,
    truth: Tensor,
    *,
    rtol: float,
    atol: float = 0.0,
    fail_ratio: float = 0.0,
    l2: float | None = None,
) -> None:
    """Fail with the whole grade: at most `fail_ratio` outside rtol, L2 below `l2` (default rtol), nothing
    missing."""
    result = grade(mine, truth, rtol=rtol, atol=atol)
    limit = rtol if l2 is None else l2
    assert result.finite, result
    assert result.fail_ratio <= fail_ratio, result
    assert result.relative_l2 <= limit, result
    assert result.cosine >= 1 - limit, result
    assert abs(result.bias) <= limit, result
    assert result.missing <= fail_ratio, result
