"""Splatting in plain torch: the reference of the kernels, in float64 for gradcheck."""

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from volkit.geometry.quaternions import rotations_of
from volkit.geometry.spherical_harmonics import sh_basis
from volkit.typing import Float, Tensor

if TYPE_CHECKING:
    from volkit.ops.splat.project import SplatView

__all__ = ["DILATION", "MAX_ALPHA", "MIN_ALPHA", "MIN_TRANSMITTANCE", "SURFEL_FILTER", "blend", "project"]

DILATION = 0.3  # pixel^2 added to the covariance: no splat is thinner than a pixel (3DGS)
SURFEL_FILTER = 0.5  # pixel^2, variance of the screen-space filter of surfels (2DGS: "FilterInvSquare = 2", gsplat)
MIN_SURFEL_WIDTH = 1e-3  # pixels: an edge-on surfel that is thinner has no face
MIN_HORIZON = 1e-3  # of the depth of its centre: a surfel that comes nearer to the camera's plane has no bound
UNBOUNDED_VARIANCE = 1e12  # pixel^2
MIN_ALPHA = 1.0 / 255.0  # smaller alpha counts as 0 (3DGS, gsplat)
MAX_ALPHA = 0.99  # so that splats behind keep a gradient (3DGS)
MIN_TRANSMITTANCE = 1e-4  # a pixel ends before the splat that would reduce it further (3DGS, gsplat)
JACOBIAN_MARGIN = 0.3  # of a picture, beyond which the Jacobian of perspective is clamped (3DGS, gsplat)
PAIRS_AT_ONCE = 1 << 22  # pixels times splats at once


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
    in_front = local[:, 2] > view.near
    x, y, z = torch.where(in_front[:, None], local, local.new_tensor([0.0, 0.0, 1.0])).unbind(-1)
    axes = rotation @ rotations_of(quaternions)[:, :, : log_scales.shape[1]] * log_scales.exp()[:, None, :]
    sigmoid = torch.sigmoid(logits)
    outline = _ellipses if log_scales.shape[1] == 3 else _surfels
    shapes, opacity, variances = outline(axes, x, y, z, sigmoid, view)
    flat = torch.stack([fx * x / z + cx, fy * y / z + cy], -1)
    extents = (_squared_reach(opacity)[:, None] * variances).detach().sqrt()
    size = flat.new_tensor(view.size)
    visible = ((flat + extents > 0) & (flat - extents < size)).all(-1) & in_front & (opacity > MIN_ALPHA)
    visible = visible & torch.isfinite(torch.cat([flat, shapes, extents], -1)).all(-1)
    direction = functional.normalize(means + translation @ rotation, dim=-1)
    degree = math.isqrt(sh_rest.shape[1] + 1) - 1
    basis = sh_basis(direction, degree)
    colour = torch.einsum("nb,nbc->nc", basis, torch.cat([sh_dc, sh_rest], 1)) + 0.5
    masked = lambda value: torch.where(visible.view(-1, *[1] * (value.dim() - 1)), value, 0.0)  # noqa: E731
    return (
        masked(flat),
        masked(shapes),
        masked(opacity),
        masked(z),
        masked(colour.clamp_min(0.0)),
        masked(extents).detach(),
    )


def _squared_reach(opacity: Tensor) -> Tensor:
    """Squared distance, in standard deviations, at which alpha is 1/255."""
    return (2.0 * torch.log(opacity.detach() / MIN_ALPHA)).clamp_min(0.0)


def _ellipses(
    axes: Float[Tensor, "splat 3 3"], x: Tensor, y: Tensor, z: Tensor, sigmoid: Tensor, view: "SplatView"
) -> tuple[Tensor, Tensor, Tensor]:
    """Conics, opacities, variances on the picture. The Jacobian is held where a direction is far off the picture."""
    fx, fy, cx, cy = view.intrinsics
    width, height = view.size
    tilt_x = (x / z).clamp(
        -(cx / fx + JACOBIAN_MARGIN * width / (2 * fx)), (width - cx) / fx + JACOBIAN_MARGIN * width / (2 * fx)
    )
    tilt_y = (y / z).clamp(
        -(cy / fy + JACOBIAN_MARGIN * height / (2 * fy)), (height - cy) / fy + JACOBIAN_MARGIN * height / (2 * fy)
    )
    spread = _jacobian(tilt_x, tilt_y, z, view) @ axes
    thin = spread @ spread.transpose(1, 2)
    xx, xy, yy = thin[:, 0, 0] + DILATION, thin[:, 0, 1], thin[:, 1, 1] + DILATION
    determinant = xx * yy - xy * xy
    conics = torch.stack([yy, -xy, xx], -1) / determinant[:, None]
    if view.mip:
        energy = (thin[:, 0, 0] * thin[:, 1, 1] - thin[:, 0, 1].square()) / determinant
        sigmoid = sigmoid * energy.clamp_min(1e-12).sqrt()
    return conics, sigmoid, torch.stack([xx, yy], -1)


def _surfels(
    axes: Float[Tensor, "splat 3 2"], x: Tensor, y: Tensor, z: Tensor, sigmoid: Tensor, view: "SplatView"
) -> tuple[Tensor, Tensor, Tensor]:
    """d(x, y, ln z) / d(u, v), opacities, variances of what bounds them on the picture."""
    flat, slope = _jacobian(x / z, y / z, z, view) @ axes, axes[:, 2:] / z[:, None, None]
    far = 1.0 - _squared_reach(sigmoid).sqrt() * slope[:, 0].norm(dim=-1)
    bound = flat.square().sum(-1) / far.square()[:, None] + SURFEL_FILTER
    shapes = torch.cat([flat, slope], 1).flatten(1)
    return shapes, sigmoid, torch.where(far[:, None] > MIN_HORIZON, bound, UNBOUNDED_VARIANCE)


def _jacobian(tilt_x: Tensor, tilt_y: Tensor, z: Tensor, view: "SplatView") -> Float[Tensor, "splat 2 3"]:
    """Derivative of perspective at (tilt_x z, tilt_y z, z)."""
    fx, fy, nothing = view.intrinsics[0], view.intrinsics[1], torch.zeros_like(z)
    rows = [fx / z, nothing, -fx * tilt_x / z, nothing, fy / z, -fy * tilt_y / z]
    return torch.stack(rows, -1).view(-1, 2, 3)


def blend(
    means: Tensor,
    shapes: Tensor,
    opacities: Tensor,
    depths: Tensor,
    channels: Tensor,
    extents: Tensor,
    size: tuple[int, int],
    varies_with_pixel: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """See `volkit.ops.splat.blend`."""
    width, height = size
    masked = (extents[:, 0] > 0).nonzero()[:, 0]
    order = masked[torch.argsort(depths[masked].detach(), stable=True)]
    means, shapes, opacities, channels = means[order], shapes[order], opacities[order], channels[order]
    centres = depths[order].detach()
    powers = _ellipse_powers if shapes.shape[1] == 3 else _surfel_powers
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    pixels = torch.stack([x, y], -1).view(-1, 2).to(means)
    parts = []
    for some in pixels.split(max(1, PAIRS_AT_ONCE // max(1, len(order)))):
        power, depth_scale = powers(some[:, None] - means, shapes)
        alpha = (opacities * power.exp()).clamp_max(MAX_ALPHA)
        alpha = torch.where(alpha >= MIN_ALPHA, alpha, 0.0)
        transmitted = torch.cumprod(1.0 - alpha, 1)
        alpha = torch.where(transmitted.detach() > MIN_TRANSMITTANCE, alpha, 0.0)
        transmitted = torch.cumprod(1.0 - alpha, 1)
        before = torch.cat([torch.ones_like(transmitted[:, :1]), transmitted[:, :-1]], 1)
        weights = before * alpha
        half = (before > 0.5) & (transmitted <= 0.5)
        median = torch.where(half.any(1), (half * centres * depth_scale).sum(1), torch.inf)
        in_front = weights @ channels
        if varies_with_pixel:
            in_front = torch.cat([in_front[:, :-1], (weights * depth_scale) @ channels[:, -1:]], 1)
        parts.append((in_front, weights.sum(1), median.detach()))
    colour, opacity, median = (torch.cat(part) for part in zip(*parts, strict=True))
    return colour.view(height, width, -1), opacity.view(height, width), median.view(height, width)


def _ellipse_powers(d: Float[Tensor, "pixel splat 2"], conics: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithm of the Gaussian at pixels, and depth there in depths of the centre."""
    (dx, dy), (a, b, c) = d.unbind(-1), conics.unbind(-1)
    return -0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy, torch.ones_like(dx)


def _surfel_powers(d: Float[Tensor, "pixel splat 2"], shapes: Tensor) -> tuple[Tensor, Tensor]:
    """As of ellipses, where the ray meets the plane; or of the filter, where that draws more."""
    (dx, dy), (xu, xv, yu, yv, ku, kv) = d.unbind(-1), shapes.unbind(-1)
    determinant = xu * yv - xv * yu
    face = determinant.square() > MIN_SURFEL_WIDTH**2 * shapes[:, :4].square().sum(-1)
    inverse = 1.0 / torch.where(face, determinant, 1.0)
    hu, hv = (yv * dx - xv * dy) * inverse, (xu * dy - yu * dx) * inverse
    nearness = 1.0 - ku * hu - kv * hv
    hits_plane = face & (nearness > 0)
    depth_scale = 1.0 / torch.where(hits_plane, nearness, 1.0)
    plane, blur = -0.5 * (hu.square() + hv.square()) * depth_scale.square(), -0.5 / SURFEL_FILTER * (dx * dx + dy * dy)
    hits_plane = hits_plane & (plane > blur)
    return torch.where(hits_plane, plane, blur), torch.where(hits_plane, depth_scale, 1.0)
