"""Splats: closed forms, then the kernels against the float64 reference."""

import math

import pytest
import torch
from grading import assert_grade
from torch import Tensor

from volkit.geometry.spherical_harmonics import sh_count
from volkit.ops import backend
from volkit.ops.splat import SplatView, blend, project

NAMES = ("means", "quaternions", "log_scales", "logits", "sh_dc", "sh_rest")
SIZE = (45, 37)  # neither side a multiple of a tile


def _scene(count: int, degree: int = 2, seed: int = 0, axes: int = 3) -> tuple[Tensor, ...]:
    """Splats (of two axes: surfels) at the origin, seen by `_view`; some behind the camera, beside it or faint."""
    generator = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    means = normal(count, 3)
    means[: count // 8] *= 6
    return (means, normal(count, 4), normal(count, 3)[:, :axes] * 0.7 - 2.0, normal(count) * 3, normal(count, 1, 3),
            0.3 * normal(count, sh_count(degree) - 1, 3))  # fmt: skip


def _view(dtype: torch.dtype = torch.float32, *, mip: bool = False) -> SplatView:
    c, s = math.cos(0.4), math.sin(0.4)
    pose = torch.tensor([[c, 0, s, 0.1], [0, 1, 0, -0.2], [-s, 0, c, 4.0]], dtype=dtype)
    return SplatView(pose, (40.0, 43.0, 21.5, 19.0), SIZE, mip=mip)


def _leaves(tensors: tuple[Tensor, ...], dtype: torch.dtype) -> list[Tensor]:
    return [t.to(dtype).clone().requires_grad_() for t in tensors]


def _random_like(values: list[Tensor]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(9)
    return [torch.randn(v.shape, generator=generator).to(v.dtype) for v in values]


@pytest.mark.parametrize(("axes", "mip"), [(3, False), (3, True), (2, False)])
@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
def test_projection_against_float64(isa: str, degree: int, axes: int, mip: bool) -> None:
    found = []
    for dtype, kind in ((torch.float32, "native"), (torch.float64, "reference")):
        given, view = _leaves(_scene(301, degree, axes=axes), dtype), _view(dtype, mip=mip)
        view.camera_from_world.requires_grad_()
        with backend.use(kind):
            seen = project(*given, view)
        values = list(seen[:5])
        sum((v * r).sum() for v, r in zip(values, _random_like(values), strict=True)).backward()
        found.append([*seen, *(t.grad for t in given), view.camera_from_world.grad])
    assert 100 < int((found[1][5][:, 0] > 0).sum()) < 301
    for mine, truth in zip(*found, strict=True):
        if truth.numel():
            # float32 through a matrix inverse: condition numbers of a few hundred times 6e-8
            assert_grade(mine, truth, rtol=1e-3, l2=1e-4)


@pytest.mark.parametrize("axes", [3, 2])
@pytest.mark.parametrize("channels", [1, 3, 4, 7])
def test_blending_against_float64(isa: str, channels: int, axes: int) -> None:
    with backend.use("reference"):
        seen = project(*(t.double() for t in _scene(400, axes=axes)), _view(torch.float64))
    colours = torch.rand(400, channels, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = []
    for dtype, kind in ((torch.float32, "native"), (torch.float64, "reference")):
        leaves = _leaves((seen.means, seen.shapes, seen.opacities, seen.depths, colours), dtype)
        with backend.use(kind):
            picture = blend(*leaves, seen.extents.to(dtype), SIZE, depth=True)
        pair = [picture.channels, picture.opacity]
        sum((v * r).sum() for v, r in zip(pair, _random_like(pair), strict=True)).backward()
        found.append([picture.channels, picture.opacity, *(t.grad for t in leaves), picture.median])
    *mine, my_median = found[0]
    *truth, median = found[1]
    for a, b in zip(mine, truth, strict=True):
        # a pixel whose alpha is 1/255 but for rounding is drawn by one and not by the other: 4e-3 of a colour
        assert_grade(a, b, rtol=2e-3, fail_ratio=2e-3, l2=1e-3)
    known = torch.isfinite(median)
    assert known.any()
    # the same splat but at pixels where half of the light is gone up to rounding
    assert float((my_median[known] - median[known]).abs().gt(1e-4).float().mean()) < 0.01


@pytest.mark.parametrize(("axes", "mip"), [(3, False), (3, True), (2, False)])
def test_gradcheck_of_reference(axes: int, mip: bool) -> None:
    scene = _scene(12, degree=1, seed=3, axes=axes)
    given, pose = _leaves(scene, torch.float64), _view(torch.float64).camera_from_world.requires_grad_()

    def picture(*values: Tensor) -> Tensor:
        *parameters, pose = values
        view = SplatView(pose, (8.0, 8.0, 4.0, 4.0), (8, 8), mip=mip)
        seen = project(*parameters, view)
        drawn = blend(*seen, (8, 8), depth=True)
        return torch.cat([drawn.channels, drawn.opacity[..., None]], -1)

    assert torch.autograd.gradcheck(picture, (*given, pose), eps=1e-7, atol=1e-5)


def _one(opacity: float, depth: float, colour: float, extent: float = 400.0) -> tuple[Tensor, ...]:
    """A splat so wide that it is flat on the picture."""
    return (torch.tensor([[8.0, 8.0]]), torch.tensor([[1e-9, 0.0, 1e-9]]), torch.tensor([opacity]),
            torch.tensor([depth]), torch.tensor([[colour]]), torch.full((1, 2), extent))  # fmt: skip


@pytest.mark.parametrize("kind", ["native", "reference"])
def test_nearer_splats_cover_farther_ones(kind: str) -> None:
    far, near = _one(0.5, 2.0, 1.0), _one(0.25, 1.0, 0.0)
    with backend.use(kind):
        picture = blend(*(torch.cat(pair) for pair in zip(far, near, strict=True)), (16, 16), depth=True)
    # 0.75 of the light reaches the far one: exact in float32
    colour, depth = torch.tensor(0.375), torch.tensor(0.25 * 1.0 + 0.375 * 2.0)
    torch.testing.assert_close(picture.channels, torch.stack([colour, depth]).expand(16, 16, 2), atol=1e-6, rtol=0)
    torch.testing.assert_close(picture.opacity, torch.full((16, 16), 0.625), atol=1e-6, rtol=0)
    assert picture.median.eq(2.0).all()


@pytest.mark.parametrize("kind", ["native", "reference"])
def test_a_pixel_is_done_before_the_splat_that_leaves_too_little_light(kind: str) -> None:
    stack = [_one(1.0, float(k), 1.0) for k in range(1, 5)]
    with backend.use(kind):
        picture = blend(*(torch.cat(parts) for parts in zip(*stack, strict=True)), (16, 16))
    # alpha is held at 0.99: the second leaves 1e-4, which is not above the limit, so that only the first is drawn
    torch.testing.assert_close(picture.opacity, torch.full((16, 16), 0.99), atol=1e-6, rtol=0)


def test_equal_depths_keep_their_order() -> None:
    pair = [torch.cat(p) for p in zip(_one(0.5, 1.0, 1.0), _one(0.5, 1.0, 0.0), strict=True)]
    for kind in ("native", "reference"):
        with backend.use(kind):
            # the first one is in front: half of the light is its own
            assert blend(*pair, (16, 16)).channels.mean().item() == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("axes", [3, 2])
def test_the_number_of_threads_changes_nothing(axes: int) -> None:
    threads, found = torch.get_num_threads(), []
    for count in (1, 2):
        torch.set_num_threads(count)
        given, view = _leaves(_scene(5000, axes=axes), torch.float32), _view()
        view.camera_from_world.requires_grad_()
        seen = project(*given, view)
        picture = blend(*seen, SIZE, depth=True)
        (picture.channels.square().sum() + picture.opacity.sum()).backward()
        found.append([*picture, *(t.grad for t in given), view.camera_from_world.grad])
    torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("axes", [3, 2])
def test_nothing_to_draw(axes: int) -> None:
    given, view = _leaves(_scene(0, axes=axes), torch.float32), _view()
    seen = project(*given, view)
    picture = blend(*seen, SIZE, depth=True)
    assert picture.opacity.eq(0).all() and picture.median.isinf().all() and picture.channels.shape == (37, 45, 4)
    (picture.channels.sum() + picture.opacity.sum()).backward()


@pytest.mark.parametrize("axes", [3, 2])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["means", "log_scales", "logits", "quaternions"])
def test_what_is_not_finite_is_culled(name: str, bad: float, axes: int) -> None:
    scene = _scene(64, axes=axes)
    scene[NAMES.index(name)][5:7] = bad
    given = _leaves(scene, torch.float32)
    seen = project(*given, _view())
    picture = blend(*seen, SIZE)
    assert picture.channels.isfinite().all() and picture.opacity.isfinite().all()
    picture.channels.sum().backward()
    clean = torch.ones(64, dtype=torch.bool).index_fill(0, torch.tensor([5, 6]), value=False)
    assert all(t.grad is not None and t.grad[clean].isfinite().all() for t in given)


def test_shapes_are_checked() -> None:
    means, quaternions, log_scales, logits, sh_dc, sh_rest = _scene(4)
    with pytest.raises(ValueError, match="quaternions must be"):
        project(means, quaternions[:, :3], log_scales, logits, sh_dc, sh_rest, _view())
    with pytest.raises(ValueError, match="make a degree"):
        project(means, quaternions, log_scales, logits, sh_dc, sh_rest[:, :2], _view())
