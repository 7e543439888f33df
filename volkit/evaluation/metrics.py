"""PSNR, SSIM and FLIP of pictures, per view and averaged; chamfer distance and F-score of surfaces.

Conventions: colours are display-referred in [0, 1]; both pictures are rounded to 8 bits first, so that a picture equals
itself after a round trip through a PNG; pictures with alpha are composited over white before they get here.
"""

from dataclasses import dataclass
from importlib.util import find_spec

import torch

from volkit.typing import Float, Tensor

__all__ = [
    "FLIP_PIXELS_PER_DEGREE",
    "WINDOW",
    "Scores",
    "SurfaceScores",
    "flip",
    "mean_scores",
    "psnr",
    "round_to_8_bits",
    "score",
    "ssim",
    "ssim_map",
    "surface_distances",
]

FLIP_PIXELS_PER_DEGREE = 67.0  # a 0.7 m wide 4K display seen from 0.7 m: the published default
WINDOW, SIGMA = 11, 1.5  # of SSIM, pixels
K1, K2 = 0.01, 0.03


@dataclass(frozen=True)
class Scores:
    """`psnr` in dB (None: identical), `ssim` at most 1, `flip` in [0, 1], lower is better (None: not installed)."""

    psnr: float | None
    ssim: float
    flip: float | None


def round_to_8_bits(rgb: Float[Tensor, "*pixel 3"]) -> Float[Tensor, "*pixel 3"]:
    """A picture as an 8-bit file stores it: `round(255 clamp(rgb)) / 255`."""
    return (rgb.clamp(0.0, 1.0) * 255.0).round() / 255.0


def psnr(prediction: Float[Tensor, "height width 3"], truth: Float[Tensor, "height width 3"]) -> float | None:
    """`-10 log10(mean squared error)` after rounding to 8 bits; None for identical pictures."""
    _same_shape(prediction, truth)
    error = (round_to_8_bits(prediction) - round_to_8_bits(truth)).double().square().mean().item()
    return None if error == 0.0 else float(-10.0 * torch.log10(torch.tensor(error, dtype=torch.float64)))


def ssim_map(
    a: Float[Tensor, "height width channel"], b: Float[Tensor, "height width channel"]
) -> Float[Tensor, "h w channel"]:
    """Structural similarity where the 11x11 Gaussian window (sigma 1.5) fits; differentiable.

    `(2 m_a m_b + C1)(2 s_ab + C2) / ((m_a^2 + m_b^2 + C1)(s_a^2 + s_b^2 + C2))`, `C_i = K_i^2`, range 1, population
    covariance (Wang et al. 2004). No padding, as in scikit-image and torchmetrics; a test compares it with the former.
    """
    if min(a.shape[:2]) < WINDOW:
        raise ValueError(f"ssim: pictures must be at least {WINDOW} pixels high and wide, got {tuple(a.shape[:2])}")
    offset = torch.arange(WINDOW, dtype=a.dtype, device=a.device) - WINDOW // 2
    weights = torch.exp(-0.5 * (offset / SIGMA) ** 2)
    weights = weights / weights.sum()

    def blurred(planes: Tensor) -> Tensor:
        rows = torch.nn.functional.conv2d(planes[:, None], weights.view(1, 1, WINDOW, 1))
        return torch.nn.functional.conv2d(rows, weights.view(1, 1, 1, WINDOW))[:, 0]

    x, y = a.permute(2, 0, 1), b.permute(2, 0, 1)
    mean_x, mean_y = blurred(x), blurred(y)
    var_x, var_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
    covariance = blurred(x * y) - mean_x * mean_y
    c1, c2 = K1**2, K2**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (var_x + var_y + c2)
    return (luminance * structure).permute(1, 2, 0)


def ssim(prediction: Float[Tensor, "height width 3"], truth: Float[Tensor, "height width 3"]) -> float:
    """Mean of `ssim_map` over pixels and channels, after rounding to 8 bits."""
    _same_shape(prediction, truth)
    return float(ssim_map(round_to_8_bits(prediction).double(), round_to_8_bits(truth).double()).mean())


def flip(prediction: Float[Tensor, "height width 3"], truth: Float[Tensor, "height width 3"]) -> float | None:
    """Mean FLIP-LDR at 67 pixels per degree (Andersson et al. 2020), by NVIDIA's `flip-evaluator`; None without it."""
    _same_shape(prediction, truth)
    if find_spec("flip_evaluator") is None:
        return None
    import flip_evaluator

    reference, test = (round_to_8_bits(p).float().cpu().contiguous().numpy() for p in (truth, prediction))
    settings = {"ppd": FLIP_PIXELS_PER_DEGREE}
    _, mean, _ = flip_evaluator.evaluate(reference, test, "LDR", applyMagma=False, parameters=settings)
    return float(mean)


def score(prediction: Float[Tensor, "height width 3"], truth: Float[Tensor, "height width 3"]) -> Scores:
    """All three metrics of one view."""
    return Scores(psnr(prediction, truth), ssim(prediction, truth), flip(prediction, truth))


def mean_scores(views: list[Scores]) -> Scores:
    """Mean over views; identical views have no finite PSNR and are left out of its mean (None: all are identical)."""
    if not views:
        raise ValueError("metrics: no views to average")
    return Scores(
        _mean([v.psnr for v in views]), sum(v.ssim for v in views) / len(views), _mean([v.flip for v in views])
    )


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _same_shape(prediction: Tensor, truth: Tensor) -> None:
    if prediction.shape != truth.shape or prediction.ndim != 3 or prediction.shape[-1] != 3:
        shapes = f"{tuple(prediction.shape)} and {tuple(truth.shape)}"
        raise ValueError(f"metrics: pictures must be [height, width, 3] and of one size, got {shapes}")


@dataclass(frozen=True)
class SurfaceScores:
    """`chamfer`: mean of the two mean distances; `f_score`: harmonic mean of the shares within a bound;
    `normals`: mean cosine between a point's normal and that of the nearest point on the other."""

    chamfer: float
    f_score: float
    normals: float


Oriented = tuple[Float[Tensor, "point 3"], Float[Tensor, "point 3"]]


def surface_distances(mine: Oriented, truth: Oriented, bound: float) -> SurfaceScores:
    """Distances between two surfaces, from points with unit normals sampled evenly on each.

    Chamfer distance in the points' unit; F-score within `bound`, as in section 4 of Tanks and Temples (Knapitsch et al.
    2017).
    """
    to_truth, nearest_truth = _nearest(mine[0], truth[0])
    to_mine, nearest_mine = _nearest(truth[0], mine[0])
    precision, recall = float((to_truth < bound).double().mean()), float((to_mine < bound).double().mean())
    f_score = 2.0 * precision * recall / max(precision + recall, 1e-12)
    cosine = (mine[1] * truth[1][nearest_truth]).sum(-1).mean() + (truth[1] * mine[1][nearest_mine]).sum(-1).mean()
    return SurfaceScores(float(0.5 * (to_truth.mean() + to_mine.mean())), f_score, float(0.5 * cosine))


def _nearest(points: Float[Tensor, "point 3"], others: Float[Tensor, "other 3"]) -> tuple[Tensor, Tensor]:
    """Distance to the nearest of the others, and its index."""
    from scipy.spatial import KDTree

    distance, index = KDTree(others.numpy()).query(points.numpy())
    return torch.from_numpy(distance), torch.from_numpy(index)
