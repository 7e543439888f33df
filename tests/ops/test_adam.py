"""Adam: every implementation against float64, and the promises on layout, untouched rows and clearing."""

import pytest
import torch

from volkit.ops import AdamRule, adam_, backend

RULE = AdamRule(lr=1e-2)


def state(rows: int, features: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draw = [torch.randn(rows, features, generator=generator) for _ in range(4)]
    draw[1][torch.rand(rows, generator=generator) < 0.5] = 0
    draw[3] = draw[3].abs()
    return [t.to(dtype) for t in draw]


@pytest.mark.parametrize("touched_only", [False, True])
@pytest.mark.parametrize(("rows", "features"), [(1, 1), (37, 2), (5000, 4), (3, 100), (70001, 2), (129, 3)])
def test_kernel_follows_float64(isa: str, rows: int, features: int, touched_only: bool):
    ours, truth = state(rows, features), state(rows, features, torch.float64)
    for step in range(1, 4):
        fresh = state(rows, features, torch.float64, seed=step)[1]
        ours[1].copy_(fresh)
        truth[1].copy_(fresh.float())
        with backend.use("native"):
            adam_(*ours, step, RULE, touched_only=touched_only)
        adam_(*truth, step, RULE, touched_only=touched_only)
    for mine, true in zip(ours, truth, strict=True):
        # Three float32 steps of values near 1: a few ulp of 1e-7, magnified by lr / sqrt(v) for small v.
        torch.testing.assert_close(mine.double(), true, rtol=1e-5, atol=2e-6)


def test_matches_torch_adam():
    param, grad, first, second = state(100, 2)
    first.zero_(), second.zero_()
    theirs = torch.nn.Parameter(param.clone())
    optimiser = torch.optim.Adam([theirs], lr=RULE.lr, betas=(RULE.beta1, RULE.beta2), eps=RULE.eps)
    for step in range(1, 6):
        theirs.grad = grad.clone()
        optimiser.step()
        adam_(param, grad.clone(), first, second, step, RULE)
    # Zero gradients divide 0 by eps in both; five float32 steps of the same formula in another order.
    torch.testing.assert_close(param, theirs.detach(), rtol=1e-5, atol=1e-6)


def test_untouched_rows_stay_and_gradient_is_cleared(isa: str):
    param, grad, first, second = state(1000, 2)
    before = [t.clone() for t in (param, first, second)]
    untouched = (grad == 0).all(1)
    adam_(param, grad, first, second, 7, RULE, touched_only=True)
    for now, then in zip((param, first, second), before, strict=True):
        assert torch.equal(now[untouched], then[untouched])
        assert not (now[~untouched] == then[~untouched]).any()
    assert not grad.any()


def test_nan_gradient_is_not_hidden(isa: str):
    param, grad, first, second = state(64, 2)
    grad.zero_()
    grad[5, 1] = torch.nan
    adam_(param, grad, first, second, 1, RULE, touched_only=True)
    assert param.isnan().nonzero().tolist() == [[5, 1]]


def test_dense_layouts():
    four = [t.to(memory_format=torch.channels_last) for t in torch.rand(4, 1, 8, 5, 6).unbind()]
    copies = [t.contiguous() for t in four]
    adam_(*four, 3, RULE)
    adam_(*copies, 3, RULE)
    for mine, plain in zip(four, copies, strict=True):
        assert torch.equal(mine, plain)


def test_empty_and_refusals():
    empty = [torch.zeros(0, 2) for _ in range(4)]
    adam_(*empty, 1, RULE)
    param, grad, first, second = state(8, 2)
    with pytest.raises(ValueError, match="step counts from 1"):
        adam_(param, grad, first, second, 0, RULE)
    with pytest.raises(ValueError, match="they must agree"):
        adam_(param, grad[:4], first, second, 1, RULE)
    with pytest.raises(ValueError, match="not dense"):
        adam_(*[t[:, :1] for t in (param, grad, first, second)], 1, RULE)
    with backend.use("native"), pytest.raises(RuntimeError, match="takes float32"):
        adam_(*state(8, 2, torch.float64), 1, RULE)
