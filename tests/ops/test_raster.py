"""Triangles on pixels: closed forms, silhouettes that know their length, kernels against the float64 reference."""

import math

import pytest
import torch
from grading import assert_grade
from torch import Tensor

from volkit.ops import backend
from volkit.ops.raster import antialias, opposite_corners, rasterise

SIZE = (45, 37)
SQUARE = torch.tensor([[0, 1, 2], [0, 2, 3]])


def _homogeneous(points: Tensor) -> Tensor:
    """Camera-frame points as a camera of focal length 40 sees them."""
    x, y, z = points.unbind(-1)
    return torch.stack([40 * x + 22.3 * z, 43 * y + 18.6 * z, z], -1)


def _soup(count: int = 300, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Triangles of all sizes; some pass the camera's plane, some lie behind it."""
    generator = torch.Generator().manual_seed(seed)
    middle = torch.randn(count, 1, 3, generator=generator) * torch.tensor([2.0, 2.0, 1.5])
    middle = middle + torch.tensor([0.0, 0.0, 3.0])
    corners = middle + 0.6 * torch.rand(count, 1, 1, generator=generator) * torch.randn(
        count, 3, 3, generator=generator
    )
    return _homogeneous(corners.view(-1, 3)), torch.arange(3 * count).view(-1, 3)


def _ball(rings: int = 48, radius: float = 1.0) -> tuple[Tensor, Tensor]:
    """A closed ball at depth 6, of faces that are smaller than pixels at its outline."""
    polar, turn = torch.meshgrid(torch.linspace(0, math.pi, rings + 1), torch.arange(2 * rings) * math.pi / rings,
                                 indexing="ij")  # fmt: skip
    points = radius * torch.stack([polar.sin() * turn.cos(), polar.cos(), polar.sin() * turn.sin()], -1)
    a, b = torch.meshgrid(torch.arange(rings), torch.arange(2 * rings), indexing="ij")
    corner = lambda i, j: (i * 2 * rings + j % (2 * rings)).flatten()  # noqa: E731
    one, two, three, four = corner(a, b), corner(a + 1, b), corner(a + 1, b + 1), corner(a, b + 1)
    faces = torch.cat([torch.stack([one, two, three], -1), torch.stack([one, three, four], -1)])
    return points.view(-1, 3) + torch.tensor([0.0, 0.0, 6.0]), faces


def _weights(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


def _pulled(points: Tensor, faces: Tensor) -> list[Tensor]:
    """Face, barycentrics, depth, a smoothed picture of both, and the gradient of a random sum."""
    points = points.clone().requires_grad_()
    seen = rasterise(points, faces, SIZE)
    depth = torch.where(seen.face >= 0, seen.depth, 0.0)
    picture = torch.cat([seen.barycentric, 0.1 * depth[..., None]], -1)
    picture = antialias(picture, seen, points, faces, opposite_corners(faces))
    (picture * _weights(*picture.shape).to(picture)).sum().backward()
    assert points.grad is not None
    return [seen.face, seen.barycentric, depth, picture, points.grad]


@pytest.mark.parametrize("kind", ["native", "reference"])
def test_a_pixel_sees_where_its_ray_meets_the_face(kind: backend.Choice) -> None:
    points, faces = _soup()
    with backend.use(kind):
        seen = rasterise(points, faces, SIZE)
    hit = seen.face >= 0
    assert 0.3 < float(hit.float().mean()) < 1.0
    met = (points[faces[seen.face[hit].long()]] * seen.barycentric[hit][..., None]).sum(1)
    y, x = hit.nonzero().unbind(-1)
    wanted = torch.stack([x + 0.5, y + 0.5, torch.ones(len(x))], -1) * seen.depth[hit][:, None]
    # float32 of depths that reach 8 and pixels that reach 45, through faces seen on their edge
    assert ((met - wanted).abs().amax(-1) > 1e-2).float().mean() < 1e-2
    assert (seen.depth[hit] >= 0.0099).all() and torch.isinf(seen.depth[~hit]).all()
    torch.testing.assert_close(seen.barycentric[hit].sum(-1), torch.ones(len(x)), rtol=0, atol=1e-5)  # float32 of 3


@pytest.mark.parametrize("kind", ["native", "reference"])
def test_nearer_faces_hide_farther_ones_and_the_first_of_equals_shows(kind: backend.Choice) -> None:
    corners = torch.tensor([[-9.0, -9, 1], [9.0, -9, 1], [0.0, 18, 1]])
    points = _homogeneous(torch.cat([3 * corners, 2 * corners, 2 * corners]))
    with backend.use(kind):
        seen = rasterise(points, torch.arange(9).view(3, 3), SIZE)
    assert (seen.face == 1).all()
    torch.testing.assert_close(seen.depth, torch.full(seen.depth.shape, 2.0), rtol=1e-5, atol=0)  # float32


@pytest.mark.parametrize("kind", ["native", "reference"])
def test_a_floor_that_passes_below_the_camera(kind: backend.Choice) -> None:
    floor = torch.tensor([[-50.0, 1, -50], [50.0, 1, -50], [50.0, 1, 50], [-50.0, 1, 50]])
    with backend.use(kind):
        seen = rasterise(_homogeneous(floor), SQUARE, SIZE)
    row = torch.arange(SIZE[1]) + 0.5
    wanted = 43 / (row - 18.6)  # y = 1
    there = (wanted > 0) & (wanted < 49)
    assert (seen.face[~there & (row < 18.6)] < 0).all()
    # float32 of corners 50 away
    torch.testing.assert_close(seen.depth[there], wanted[there, None].expand(-1, SIZE[0]), rtol=1e-3, atol=0)


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.1])
def test_no_pixel_falls_between_neighbours(isa: str, angle: float) -> None:
    side = torch.linspace(-3, 3, 80)
    y, x = torch.meshgrid(side, side, indexing="ij")
    x, y = math.cos(angle) * x - math.sin(angle) * y, math.sin(angle) * x + math.cos(angle) * y
    points = torch.stack([x, y, 3 + 0.3 * x + 0.2 * (9 * y).sin()], -1).view(-1, 3)
    index = torch.arange(80 * 80).view(80, 80)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = torch.cat([torch.stack([a, b, c], -1).view(-1, 3), torch.stack([a, c, d], -1).view(-1, 3)])
    seen = rasterise(_homogeneous(points), faces, SIZE)
    assert (seen.face >= 0).all()


def test_kernels_against_float64(isa: str) -> None:
    points, faces = _soup()
    mine = _pulled(points, faces)
    with backend.use("reference"):
        truth = _pulled(points.double(), faces)
    assert float((mine[0] != truth[0]).float().mean()) < 2e-3  # centres within rounding of an edge
    same = (mine[0] == truth[0])[..., None]
    for a, b in zip(mine[1:4], truth[1:4], strict=True):
        a, b = (t.view(SIZE[1], SIZE[0], -1) * same for t in (a, b))
        # float32 of faces seen on their edge; an edge's crossing that is missed is half of a colour
        assert_grade(a, b, rtol=2e-3, fail_ratio=5e-3, l2=2e-2)
    # few triangles seen on their edge, whose gradients are the inverse of their area, would be all of the norm
    usual = truth[4].norm(dim=-1) < 20 * truth[4].norm(dim=-1).median().clamp_min(1e-3)
    assert_grade(mine[4][usual], truth[4][usual], rtol=2e-2, fail_ratio=2e-2, l2=5e-2)


def test_gradcheck() -> None:
    points, faces = _soup(6, seed=2)

    def picture(given: Tensor) -> Tensor:
        seen = rasterise(given, faces, (12, 10))
        depth = torch.where(seen.face >= 0, seen.depth, 0.0)
        flat = torch.cat([seen.barycentric, depth[..., None]], -1)
        return antialias(flat, seen, given, faces, opposite_corners(faces))

    narrow = points.double() * torch.tensor([0.27, 0.27, 1.0])
    assert bool((picture(narrow)[..., 3] > 0).any())
    assert torch.autograd.gradcheck(picture, narrow.requires_grad_(), eps=1e-7, atol=1e-5)


@pytest.mark.parametrize("kind", ["native", "reference"])
def test_coverage_grows_as_long_as_the_outline_that_moves(kind: backend.Choice) -> None:
    points = torch.tensor([[5.2, 4.3, 1], [30.4, 4.3, 1], [30.4, 20.9, 1], [5.2, 20.9, 1]]).requires_grad_()
    with backend.use(kind):
        seen = rasterise(points, SQUARE, SIZE)
        flat = (seen.face >= 0).float()[..., None]
        covered = antialias(flat, seen, points, SQUARE, opposite_corners(SQUARE)).sum()
    covered.backward()
    # corners of a pixel are blended along one axis after the other
    assert float(covered.detach()) == pytest.approx((30.4 - 5.2) * (20.9 - 4.3), abs=1.0)
    assert points.grad is not None
    to_the_right = points.grad[:, 0]
    # 16.6 pixels high; whole rows are counted
    assert float(to_the_right[1] + to_the_right[2]) == pytest.approx(16.6, abs=1.0)
    assert float(to_the_right[0] + to_the_right[3]) == pytest.approx(-16.6, abs=1.0)
    assert float(points.grad[2:, 1].sum()) == pytest.approx(25.2, abs=1.0)


@pytest.mark.parametrize("kind", ["native", "reference"])
def test_outlines_of_faces_below_a_pixel_are_found(kind: backend.Choice) -> None:
    """A ball's picture is a disc: its area, and how that grows with the radius."""
    points, faces = _ball()
    radius = torch.ones((), requires_grad=True)
    middle = torch.tensor([0.0, 0.0, 6.0])
    x, y, z = (middle + radius * (points - middle)).unbind(-1)
    grown = torch.stack([150 * x + 32.2 * z, 150 * y + 31.7 * z, z], -1)
    with backend.use(kind):
        seen = rasterise(grown, faces, (64, 64))
        flat = (seen.face >= 0).float()[..., None]
        covered = antialias(flat, seen, grown, faces, opposite_corners(faces)).sum()
    covered.backward()
    # of a ball at distance d the outline is a circle of f r / sqrt(d^2 - r^2); chords of 7.5 degrees lose 0.2 %, and
    # blending in a pixel along the nearer axis is right to a tenth of its step
    assert float(covered.detach()) == pytest.approx(math.pi * 150**2 / 35, rel=5e-3)
    assert radius.grad is not None
    assert float(radius.grad) == pytest.approx(2 * math.pi * 150**2 * 36 / 35**2, rel=5e-2)


def test_neighbours_across_edges() -> None:
    assert opposite_corners(SQUARE).tolist() == [[-1, 5, -1], [-1, -1, 1]]
    fan = torch.tensor([[0, 1, 2], [1, 0, 3], [0, 1, 4]])
    assert opposite_corners(fan)[:, 2].tolist() == [5, 8, 2]
    assert opposite_corners(torch.zeros(0, 3, dtype=torch.long)).shape == (0, 3)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 0.0])
def test_broken_faces_are_not_drawn(isa: str, bad: float) -> None:
    points, faces = _soup(200)
    good = _pulled(points[:300], faces[:100])
    broken = points.clone()
    broken[300:450] = broken[300:450] * bad  # 0: no area, at the camera
    broken[450:] = broken[450::3].repeat_interleave(3, 0)  # no area
    mine = _pulled(broken, faces)
    for a, b in zip(mine[:4], good[:4], strict=True):
        assert torch.equal(a, b)
    assert torch.equal(mine[4][:300], good[4]) and not mine[4][300:].any()


def test_nothing_to_draw(isa: str) -> None:
    points, faces = _soup(4)
    for some in (faces[:0], faces):
        seen = rasterise(points * torch.tensor([1.0, 1.0, -1e-3]), some, (7, 5))
        assert (seen.face == -1).all() and torch.isinf(seen.depth).all() and not seen.barycentric.any()
    with pytest.raises(ValueError, match="faces name points 0 to 11, there are 11"):
        rasterise(points[:-1], faces, SIZE)
    with pytest.raises(ValueError, match="points are"):
        rasterise(points[:, :2], faces, SIZE)


def test_same_bits_for_any_number_of_threads(isa: str) -> None:
    points, faces = _soup(600)
    runs = []
    for threads in (1, 2, 3, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        runs.append(_pulled(points, faces))
        torch.set_num_threads(before)
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(run, runs[0], strict=True))


def test_operator_contract(isa: str) -> None:
    points, faces = _soup(30)
    corners = points[faces].requires_grad_()
    torch.library.opcheck(torch.ops.volkit.raster.default, (corners, list(SIZE), 0.01))
