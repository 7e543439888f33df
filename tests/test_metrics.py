"""The metrics against closed forms and against an independent implementation."""

import math

import pytest
import torch

from volkit.evaluation.metrics import Scores, flip, mean_scores, psnr, round_to_8_bits, score, ssim, ssim_map


def pair(seed: int = 0, size: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(size, size + 7, 3, generator=generator)
    return (truth + 0.1 * torch.randn(truth.shape, generator=generator)).clamp(0, 1), truth


def test_psnr_of_a_constant_difference():
    truth = torch.full((12, 12, 3), 100 / 255)
    # 1e-4 dB: 51/255 is exact to float32 rounding, 6e-8 of a difference of 0.2
    assert psnr(truth + 51 / 255, truth) == pytest.approx(-20 * math.log10(0.2), abs=1e-4)


def test_identical_pictures_have_no_psnr():
    _, truth = pair()
    assert psnr(truth, truth) is None
    assert ssim(truth, truth) == pytest.approx(1.0, abs=1e-9)  # window sums in float64 of 121 terms
    assert flip(truth, truth) in (None, pytest.approx(0.0, abs=1e-6))  # flip works in float32


def test_eight_bit_rounding_hides_what_a_file_cannot_keep():
    _, truth = pair()
    truth = round_to_8_bits(truth)
    assert psnr(truth + 0.3 / 255, truth) is None
    assert psnr(torch.full_like(truth, 3.0), torch.ones_like(truth)) is None  # above 1 is white in a file


def test_ssim_agrees_with_scikit_image():
    structural_similarity = pytest.importorskip("skimage.metrics").structural_similarity
    for seed in range(3):
        prediction, truth = (round_to_8_bits(p) for p in pair(seed))
        theirs = structural_similarity(
            truth.double().numpy(),
            prediction.double().numpy(),
            channel_axis=-1,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert ssim(prediction, truth) == pytest.approx(theirs, abs=1e-9)  # both float64, sums in another order


def test_ssim_is_differentiable():
    prediction, truth = (p.double() for p in pair(size=12))
    prediction.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda a: ssim_map(a, truth).mean(), (prediction,), fast_mode=True)


def test_flip_orders_errors():
    pytest.importorskip("flip_evaluator")
    prediction, truth = pair()
    near, far = flip(truth + 0.2 * (prediction - truth), truth), flip(prediction, truth)
    assert 0 < near < far < 1


def test_means_leave_identical_views_out():
    views = [Scores(None, 1.0, 0.0), Scores(30.0, 0.9, 0.2), Scores(20.0, 0.8, 0.1)]
    mean = mean_scores(views)
    assert mean.psnr == 25.0
    assert mean.ssim == pytest.approx(0.9, abs=1e-12)  # one float64 sum
    assert mean_scores([views[0]]).psnr is None
    with pytest.raises(ValueError, match="no views"):
        mean_scores([])


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="one size"):
        score(torch.zeros(12, 12, 3), torch.zeros(12, 13, 3))
    with pytest.raises(ValueError, match="at least 11"):
        ssim(torch.zeros(5, 5, 3), torch.zeros(5, 5, 3))
