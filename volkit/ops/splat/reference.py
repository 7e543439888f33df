"""Splats in plain torch: the truth of the kernels, in float64 for gradcheck."""

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from volkit.geometry.quaternions import rotations_of
from volkit.geometry.spherical_harmonics import sh_basis
from volkit.typing import Float, Tensor

if TYPE_CHECKING:
    from volkit.ops.splat.project import SplatView

__all__ = ["DILATION", "FAINTEST", "OPAQUEST", "STOP", "blend", "project"]

DILATION = 0.3  # pixel^2 added to the covariance: no splat is thinner than a pixel (3DGS)
FAINTEST = 1.0 / 255.0  # alpha below this is not drawn (3DGS, gsplat)
OPAQUEST = 0.99  # alpha is never above this: what is behind keeps a gradient (3DGS)
STOP = 1e-4  # a pixel is done before the splat that would leave less light than this (3DGS, gsplat)
MARGIN = 0.3  # of a picture: where the Jacobian of perspective is held (3DGS, gsplat)
QUESTIONS = 1 << 22  # pixels times splats at once


def project(
    means: Tensor,
    quaternions: Tensor,
    log_scales: Tensor,
    logits: Tensor,
    sh_dc: Tensor,
    sh_rest: Tensor,
    view: "SplatView",
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See `volkit.ops.splat.project`."""
    rotation, translation = view.camera_from_world[:, :3], view.camera_from_world[:, 3]
    fx, fy, cx, cy = view.intrinsics
    local = means @ rotation.T + translation
    seen = local[:, 2] > view.near
    x, y, z = torch.where(seen[:, None], local, local.new_tensor([0.0, 0.0, 1.0])).unbind(-1)
    jacobian = _jacobian(x, y, z, view)
    spread = jacobian @ rotation @ rotations_of(quaternions) * log_scales.exp()[:, None, :]
    thin = spread @ spread.transpose(1, 2)
    xx, xy, yy = thin[:, 0, 0] + DILATION, thin[:, 0, 1], thin[:, 1, 1] + DILATION
    determinant = xx * yy - xy * xy
    conics = torch.stack([yy, -xy, xx], -1) / determinant[:, None]
    opacity = torch.sigmoid(logits)
    if view.mip:
        kept = (thin[:, 0, 0] * thin[:, 1, 1] - thin[:, 0, 1].square()) / determinant
        opacity = opacity * kept.clamp_min(1e-12).sqrt()
    flat = torch.stack([fx * x / z + cx, fy * y / z + cy], -1)
    reach = (2.0 * torch.log(opacity.detach() / FAINTEST)).clamp_min(0.0)
    extents = (reach[:, None] * torch.stack([xx, yy], -1).detach()).sqrt()
    size = flat.new_tensor(view.size)
    on = ((flat + extents > 0) & (flat - extents < size)).all(-1) & seen & (opacity > FAINTEST)
    on = on & torch.isfinite(torch.cat([flat, conics, extents], -1)).all(-1)
    direction = functional.normalize(means + translation @ rotation, dim=-1)
    degree = math.isqrt(sh_rest.shape[1] + 1) - 1
    basis = sh_basis(direction, degree)
    colour = torch.einsum("nb,nbc->nc", basis, torch.cat([sh_dc, sh_rest], 1)) + 0.5
    drawn = lambda value: torch.where(on.view(-1, *[1] * (value.dim() - 1)), value, 0.0)  # noqa: E731
    return drawn(flat), drawn(conics), drawn(opacity), drawn(z), drawn(colour.clamp_min(0.0)), drawn(extents).detach()


def _jacobian(x: Tensor, y: Tensor, z: Tensor, view: "SplatView") -> Float[Tensor, "splat 2 3"]:
    """Derivative of perspective, held where a direction is far off the picture: there it grows without bound."""
    fx, fy, cx, cy = view.intrinsics
    width, height = view.size
    tilt_x = (x / z).clamp(-(cx / fx + MARGIN * width / (2 * fx)), (width - cx) / fx + MARGIN * width / (2 * fx))
    tilt_y = (y / z).clamp(-(cy / fy + MARGIN * height / (2 * fy)), (height - cy) / fy + MARGIN * height / (2 * fy))
    nothing = torch.zeros_like(z)
    rows = [fx / z, nothing, -fx * tilt_x / z, nothing, fy / z, -fy * tilt_y / z]
    return torch.stack(rows, -1).view(-1, 2, 3)


def blend(
    means: Tensor,
    conics: Tensor,
    opacities: Tensor,
    depths: Tensor,
    channels: Tensor,
    extents: Tensor,
    size: tuple[int, int],
) -> tuple[Tensor, Tensor, Tensor]:
    """See `volkit.ops.splat.blend`."""
    width, height = size
    drawn = (extents[:, 0] > 0).nonzero()[:, 0]
    order = drawn[torch.argsort(depths[drawn].detach(), stable=True)]
    means, conics, opacities, channels = means[order], conics[order], opacities[order], channels[order]
    nearness = depths[order].detach()
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    pixels = torch.stack([x, y], -1).view(-1, 2).to(means)
    parts = []
    for some in pixels.split(max(1, QUESTIONS // max(1, len(order)))):
        dx, dy = (some[:, None] - means).unbind(-1)
        a, b, c = conics.unbind(-1)
        power = -0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy
        alpha = (opacities * power.exp()).clamp_max(OPAQUEST)
        alpha = torch.where(alpha >= FAINTEST, alpha, 0.0)
        left = torch.cumprod(1.0 - alpha, 1)
        alpha = torch.where(left.detach() > STOP, alpha, 0.0)
        left = torch.cumprod(1.0 - alpha, 1)
        before = torch.cat([torch.ones_like(left[:, :1]), left[:, :-1]], 1)
        weights = before * alpha
        half = (before > 0.5) & (left <= 0.5)
        median = torch.where(half.any(1), (half * nearness).sum(1), torch.inf)
        parts.append((weights @ channels, weights.sum(1), median.detach()))
    colour, opacity, median = (torch.cat(part) for part in zip(*parts, strict=True))
    return colour.view(height, width, -1), opacity.view(height, width), median.view(height, width)
