"""Every op on a GPU against the float64 reference; the same cases by the CPU kernels, so that the cases are right."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from grading import assert_grade
from torch import Tensor

from volkit.geometry import sh_count
from volkit.ops import AdamRule, HashLevels, MlpShape, adam_, backend, fused_mlp, hash_encode
from volkit.ops.composite import composite
from volkit.ops.march import MarchGrid, Stride, march
from volkit.ops.plane_sample import Factor, plane_sample
from volkit.ops.raster import antialias, opposite_corners, rasterise
from volkit.ops.splat import SplatView, blend, project
from volkit.ops.voxel_sample import voxel_sample

LEVELS = HashLevels.with_finest(200, levels=6, log2_table=11)
SHAPE = MlpShape(32, 16, 64, 2)
VM = tuple((Factor(plane), Factor(line)) for plane, line in (((0, 1), (2,)), ((0, 2), (1,)), ((1, 2), (0,))))
CP = ((Factor((0,)), Factor((1,)), Factor((2,))),)
SIZE = (45, 37)
PLACES = [pytest.param("cpu", "native"), pytest.param("cuda", "cuda", marks=pytest.mark.gpu)]


@dataclass(frozen=True)
class Case:
    """Leaves and other tensors, what is made of them, and how near float32 comes to float64."""

    leaves: tuple[Tensor, ...]
    others: tuple[Tensor, ...]
    run: Callable[..., tuple[Tensor, ...]]
    rtol: float
    fail_ratio: float = 0.0
    l2: float = 1e-3


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def _normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=_generator())


def _uniform(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=_generator())


def _hash() -> Case:
    # a position carries 1e-5 of a cell; a point that near a face may take the slope of the next cell
    return Case((_uniform(5000, 3), _normal(LEVELS.entries, 2)), (), lambda x, t: (hash_encode(x, t, LEVELS),),
                1e-3, 2e-3, 2e-2)  # fmt: skip


def _mlp(products: str) -> Case:
    weights = torch.cat([torch.randn(a * b, generator=_generator()) * (2 / b) ** 0.5 for a, b in SHAPE.matrices])
    run = lambda x, w: (fused_mlp(x, w, SHAPE, products=products),)  # noqa: E731
    # sums of 64 products: 1e-6, and a rectifier within that of 0; of bfloat16 8 bits over three layers
    tolerances = (1e-4, 5e-3, 2e-2) if products == "float32" else (5e-2, 0.5, 0.1)
    return Case((_normal(3000, 32), weights), (), run, *tolerances)


def _planes(terms: tuple, channels: int) -> Case:
    shapes = [[9, 12, 15][a] for term in terms for f in term for a in f.axes]
    factors, at = [], 0
    for term in terms:
        for f in term:
            sides = shapes[at : at + len(f.axes)][::-1]
            factors.append(_normal(1, channels, *sides, *[1] * (2 - len(sides))))
            at += len(f.axes)
    # a coordinate of 15 texels carries 1e-6 of one; sums of hundreds of points a texel
    return Case((_uniform(3000, 3) * 2.2 - 1.1, *factors), (), lambda x, *f: (plane_sample(x, list(f), terms),),
                1e-3, 1e-3)  # fmt: skip


def _voxels() -> Case:
    links = torch.full((9, 8, 7), -1, dtype=torch.int32)
    filled = _uniform(9, 8, 7) < 0.7
    links[filled] = torch.randperm(int(filled.sum()), generator=_generator()).int()
    # float32 sums of about fifty corners a row
    return Case((_uniform(3000, 3) * 11 - 1.5, _normal(int(filled.sum()), 28)), (links,),
                lambda x, d, k: (voxel_sample(x, k, d),), 1e-4)  # fmt: skip


def _rays() -> Case:
    offsets = torch.tensor([0, 5, 0, 0, 1, 33, 700, 12, 0]).cumsum(0)
    count = int(offsets[-1])
    t0 = 3 * _uniform(count)
    density = 40 * _uniform(count) * (torch.rand(count, generator=torch.Generator().manual_seed(4)) < 0.5)
    # float32 sums of up to 700 terms, the optical depth among them
    return Case((density, _normal(count, 3)), (t0, t0 + 0.05, offsets), lambda *all_: tuple(composite(*all_)), 1e-4)


def _projected(axes: int) -> Case:
    pose = torch.tensor([[0.9211, 0, 0.3894, 0.1], [0, 1, 0, -0.2], [-0.3894, 0, 0.9211, 4.0]])
    rest = 0.3 * torch.randn(301, sh_count(2) - 1, 3, generator=_generator())
    leaves = (_normal(301, 3), _normal(301, 4), _normal(301, 3)[:, :axes] * 0.7 - 2.0, 3 * _normal(301),
              _normal(301, 1, 3), rest, pose)  # fmt: skip
    view = lambda given: SplatView(given, (40.0, 43.0, 21.5, 19.0), SIZE)  # noqa: E731
    # float32 through a matrix inverse: condition numbers of a few hundred times 6e-8
    return Case(leaves, (), lambda *given: tuple(project(*given[:6], view(given[6]))[:5]), 1e-3, 1e-3)


def _blended(axes: int) -> Case:
    whole = _projected(axes)
    with backend.use("reference"):
        seen = project(*whole.leaves[:6], SplatView(whole.leaves[6], (40.0, 43.0, 21.5, 19.0), SIZE))
    leaves = (seen.means, seen.shapes, seen.opacities, _uniform(301, 5))

    def run(means, shapes, opacities, channels, depths, extents):
        drawn = blend(means, shapes, opacities, depths, channels, extents, SIZE, depth=True)
        return drawn.channels, drawn.opacity

    # an alpha of 1/255 may fall on either side: 4e-3 of a colour
    return Case(leaves, (seen.depths, seen.extents), run, 2e-3, 3e-3)


def _rastered() -> Case:
    """A wavy sheet that hides parts of itself, turned so that its outline lies in the picture."""
    side = torch.linspace(-1.5, 1.5, 24)
    y, x = torch.meshgrid(side, side, indexing="ij")
    z = 3 + 0.9 * x + 0.5 * (4 * y).sin()
    points = torch.stack([20 * x + 22.3 * z, 14 * y + 18.6 * z, z], -1).view(-1, 3)
    index = torch.arange(24 * 24).view(24, 24)
    a, b, c, d = (i.flatten() for i in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
    faces = torch.cat([torch.stack([a, b, c], -1), torch.stack([a, c, d], -1)])

    def run(points, faces):
        seen = rasterise(points, faces, SIZE)
        near = torch.where(seen.face >= 0, 1 / seen.depth, 0.0)
        colour = torch.cat([seen.barycentric, near[..., None]], -1)
        return seen.barycentric, near, antialias(colour, seen, points, faces, opposite_corners(faces))

    # float32 of faces seen on their edge; a pixel within rounding of an edge may show the other face
    return Case((points,), (faces,), run, 1e-2, 5e-3, 2e-2)


CASES = {
    "hash_encode": _hash, "fused_mlp float32": lambda: _mlp("float32"), "fused_mlp bfloat16": lambda: _mlp("bfloat16"),
    "plane_sample vm": lambda: _planes(VM, 16), "plane_sample cp": lambda: _planes(CP, 48), "voxel_sample": _voxels,
    "composite": _rays, "rasterise": _rastered,
    "project splats": lambda: _projected(3), "project surfels": lambda: _projected(2),
    "blend splats": lambda: _blended(3), "blend surfels": lambda: _blended(2),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _there(request: pytest.FixtureRequest) -> None:
    if request.node.callspec.params["device"] == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


def _moved(tensor: Tensor, device: str, dtype: torch.dtype) -> Tensor:
    return tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype)


def _pulled(case: Case, device: str, dtype: torch.dtype, choice: backend.Choice) -> list[Tensor]:
    """What an op gives, and the gradients of a random sum of it."""
    leaves = [_moved(t.detach(), device, dtype).requires_grad_() for t in case.leaves]
    with backend.use(choice):
        values = case.run(*leaves, *(_moved(t.detach(), device, dtype) for t in case.others))
        loss = sum((v * _moved(_normal(*v.shape), device, dtype)).sum() for v in values)
        loss.backward()  # pyright: ignore[reportAttributeAccessIssue]
    return [*values, *(leaf.grad for leaf in leaves)]


@pytest.mark.parametrize(("device", "choice"), PLACES)
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name: str, device: str, choice: backend.Choice) -> None:
    case = CASES[name]()
    mine = _pulled(case, device, torch.float32, choice)
    truth = _pulled(case, "cpu", torch.float64, "reference")
    for one, other in zip(mine, truth, strict=True):
        assert_grade(one.cpu(), other, rtol=case.rtol, fail_ratio=case.fail_ratio, l2=case.l2)


@pytest.mark.parametrize(("device", "choice"), PLACES)
@pytest.mark.parametrize("contracted", [False, True])
def test_march(contracted: bool, device: str, choice: backend.Choice) -> None:
    lattice, stride = MarchGrid((-1.0,) * 3, (1.0,) * 3, contracted, 32), Stride(0.03, 1 / 64 if contracted else 0.0)
    bits = torch.randint(256, (32**3 // 8,), generator=_generator(), dtype=torch.uint8)
    origins = 3.0 * torch.nn.functional.normalize(_normal(500, 3), dim=-1)
    directions = torch.nn.functional.normalize(0.5 * _uniform(500, 3) - origins, dim=-1)
    given = (origins, directions, torch.zeros(500), torch.full((500,), 9.0), bits)
    found = []
    for where, kind in ((device, choice), ("cpu", "reference")):
        with backend.use(kind):
            walk = march(*(t.to(where) for t in given), lattice, stride, _uniform(500).to(where))
        found.append([t.cpu() for t in walk])
    (t0, t1, _, offsets), (u0, u1, _, ends) = found
    # midpoints within rounding of a cell's border may fall on either side
    assert (offsets.diff() - ends.diff()).abs().sum() <= 1e-3 * len(u0)
    assert float((t1 - t0).sum()) == pytest.approx(float((u1 - u0).sum()), rel=1e-3)


@pytest.mark.parametrize(("device", "choice"), PLACES)
@pytest.mark.parametrize("touched_only", [False, True])
def test_adam(touched_only: bool, device: str, choice: backend.Choice) -> None:
    found = []
    for where, dtype, kind in ((device, torch.float32, choice), ("cpu", torch.float64, "reference")):
        state = [_moved(t, where, dtype) for t in (_normal(5000, 2), torch.zeros(5000, 2), torch.zeros(5000, 2))]
        for step in range(1, 4):
            grad = _normal(5000, 2) * (_uniform(5000, 1) < 0.5) / step
            with backend.use(kind):
                adam_(state[0], _moved(grad, where, dtype), *state[1:], step, AdamRule(1e-2), touched_only=touched_only)
        found.append(state)
    for mine, truth in zip(*found, strict=True):
        # three float32 steps of values near 1: a few ulp, magnified by lr / sqrt(v) for small v
        torch.testing.assert_close(mine.cpu().double(), truth, rtol=1e-5, atol=2e-6)
