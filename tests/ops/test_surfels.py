"""Surfels: the plane that each ray meets, found by a linear system of its own, and where there is none."""

import math

import pytest
import torch
from grading import assert_grade
from torch import Tensor

from volkit.ops import backend
from volkit.ops.splat import SplatView, blend, project

SIZE = (33, 25)
KINDS = pytest.mark.parametrize("kind", ["native", "reference"])


def _surfel(mean, quaternion, scales, opacity: float = 0.9) -> list[Tensor]:
    """One surfel, grey."""
    rows = [torch.tensor([v], dtype=torch.float32) for v in (mean, quaternion, [math.log(s) for s in scales])]
    return [*rows, torch.logit(torch.tensor([opacity])), torch.zeros(1, 1, 3), torch.zeros(1, 0, 3)]


def _view(size: tuple[int, int] = SIZE, dtype: torch.dtype = torch.float32, middle: float = 16.2) -> SplatView:
    """From the origin along +Z."""
    return SplatView(torch.eye(3, 4, dtype=dtype), (30.0, 32.0, middle, 12.9), size)


def _rotation(q: Tensor) -> Tensor:
    w, x, y, z = (q / q.norm()).unbind()
    return torch.stack([
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]),
    ])  # fmt: skip


def _met(surfel: list[Tensor], view: SplatView) -> tuple[Tensor, Tensor]:
    """Alpha and depth of one surfel at every pixel: `mean + u a + v b = z ray` solved for u, v, z; then the filter."""
    mean, quaternion, log_scales, logit = (t[0].double() for t in surfel[:4])
    fx, fy, cx, cy = view.intrinsics
    width, height = view.size
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    rays = torch.stack([(x - cx) / fx, (y - cy) / fy, torch.ones_like(x)], -1).double()
    axes = _rotation(quaternion)[:, :2] * log_scales.exp()
    system = torch.cat([axes.expand(height, width, 3, 2), -rays[..., None]], -1)
    u, v, z = torch.linalg.solve(system, -mean.expand(height, width, 3)).unbind(-1)
    d2 = (x - (fx * mean[0] / mean[2] + cx)).square() + (y - (fy * mean[1] / mean[2] + cy)).square()
    plane, blur = torch.where(z > 0, torch.exp(-0.5 * (u * u + v * v)), 0.0), torch.exp(-d2)
    alpha = (torch.sigmoid(logit) * torch.maximum(plane, blur)).clamp_max(0.99)
    return torch.where(alpha >= 1 / 255, alpha, 0.0), torch.where(plane > blur, z, mean[2])


FACING, SLANTED, STEEP = [1.0, 0.0, 0.0, 0.0], [0.8, 0.5, 0.3, 0.1], [0.71, 0.7, 0.02, 0.03]


@KINDS
@pytest.mark.parametrize(("mean", "quaternion", "scales"), [
    ((0.1, -0.2, 3.0), FACING, (0.5, 0.2)),
    ((0.3, 0.2, 3.0), SLANTED, (0.6, 0.3)),
    ((-0.4, 0.1, 2.0), STEEP, (0.4, 0.4)),
    ((0.1, 0.1, 3.0), SLANTED, (0.01, 0.01)),  # smaller than a pixel: the filter draws it
    ((0.0, 0.4, 1.0), STEEP, (1.0, 2.0)),  # a floor that goes on behind the camera
    ((9.0, 0.5, 1.5), STEEP, (3.0, 3.0)),  # its centre is far off the picture
])  # fmt: skip
def test_rays_meet_the_plane(kind: str, mean, quaternion, scales) -> None:
    surfel, view = _surfel(mean, quaternion, scales), _view()
    with backend.use(kind):
        picture = blend(*project(*surfel, view), SIZE, depth=True)
    alpha, z = _met(surfel, view)
    assert (alpha > 0).any()
    # float32 pixels and axes: an alpha of 1/255 may fall on either side
    assert_grade(picture.opacity, alpha, rtol=1e-3, fail_ratio=2e-3, l2=1e-4)
    seen = (alpha > 0.01) & (picture.opacity > 0)
    depth = picture.channels[..., -1] / picture.opacity
    # float32; where plane and filter are equal up to rounding, depth is of either
    assert_grade(depth[seen], z[seen], rtol=1e-3, fail_ratio=2e-2, l2=1e-2)


@KINDS
def test_a_surfel_on_its_edge_is_a_dot(kind: str) -> None:
    # its plane holds the camera and, on the picture, the centres of a column of pixels
    half = math.sqrt(0.5)
    leaves = [t.requires_grad_() for t in _surfel((0.0, 0.0, 3.0), [half, 0.0, half, 0.0], (0.5, 0.5))]
    with backend.use(kind):
        picture = blend(*project(*leaves, _view(middle=16.5)), SIZE, depth=True)
    alpha = picture.opacity.detach()
    y, x = torch.meshgrid(torch.arange(25) + 0.5, torch.arange(33) + 0.5, indexing="ij")
    wanted = 0.9 * torch.exp(-((x - 16.5).square() + (y - 12.9).square()))
    wanted = torch.where(wanted >= 1 / 255, wanted, 0.0)
    torch.testing.assert_close(alpha, wanted, atol=1e-5, rtol=0)  # float32 exponentials
    torch.testing.assert_close(picture.median[alpha > 0.5], torch.full((1,), 3.0).expand(int((alpha > 0.5).sum())))
    picture.channels.sum().backward()
    assert all(t.grad is not None and t.grad.isfinite().all() for t in leaves)
    assert leaves[0].grad.abs().sum() > 0


@KINDS
def test_nothing_behind_the_camera(kind: str) -> None:
    with backend.use(kind):
        seen = project(*_surfel((0.0, 0.0, -2.0), SLANTED, (0.5, 0.5)), _view())
        assert seen.extents.eq(0).all() and blend(*seen, SIZE).opacity.eq(0).all()


@KINDS
def test_one_pixel(kind: str) -> None:
    surfel, view = _surfel((-0.5, -0.4, 3.0), SLANTED, (0.6, 0.3)), _view((1, 1))
    with backend.use(kind):
        picture = blend(*project(*surfel, view), (1, 1), depth=True)
    alpha, z = _met(surfel, view)
    torch.testing.assert_close(picture.opacity.double(), alpha, rtol=1e-4, atol=0)  # float32 through an exponential
    torch.testing.assert_close((picture.channels[..., -1] / picture.opacity).double(), z, rtol=1e-5, atol=0)


def test_gradients_of_all_parameters_and_pose(isa: str) -> None:
    generator = torch.Generator().manual_seed(4)
    normal = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    count = 600
    scene = (normal(count, 3) * torch.tensor([1.0, 1.0, 0.7]) + torch.tensor([0.0, 0.0, 3.5]), normal(count, 4),
             0.6 * normal(count, 2) - 2.0, normal(count), normal(count, 1, 3), 0.3 * normal(count, 8, 3))  # fmt: skip
    weights = normal(SIZE[1], SIZE[0], 5)
    found = []
    for dtype, kind in ((torch.float32, "native"), (torch.float64, "reference")):
        leaves, view = [t.to(dtype).clone().requires_grad_() for t in scene], _view(dtype=dtype)
        view.camera_from_world.requires_grad_()
        with backend.use(kind):
            picture = blend(*project(*leaves, view), SIZE, depth=True)
        (torch.cat([picture.channels, picture.opacity[..., None]], -1) * weights.to(dtype)).sum().backward()
        found.append([picture.channels, *(t.grad for t in leaves), view.camera_from_world.grad])
    for mine, truth in zip(*found, strict=True):
        # a pixel whose alpha is 1/255 but for rounding is drawn by one and not by the other
        assert_grade(mine, truth, rtol=5e-3, fail_ratio=2e-2, l2=1e-3)
