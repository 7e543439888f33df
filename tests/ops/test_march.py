"""The ray walk: exact counts in simple scenes, then skipping against looking at every interval."""

import functools
import math

import pytest
import torch
from torch import Tensor

from volkit.ops import backend
from volkit.ops.march import MarchGrid, Stride, march

BOX = MarchGrid((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0), False, 32)


def _pack(occupied: Tensor) -> Tensor:
    """Bits in Morton order of a boolean [x, y, z] grid, written out one bit at a time."""
    size = occupied.shape[0]
    x, y, z = torch.meshgrid(*[torch.arange(size)] * 3, indexing="ij")
    cell = torch.zeros_like(x)
    for bit in range(size.bit_length() - 1):
        for axis, number in enumerate((x, y, z)):
            cell |= (number >> bit & 1) << (3 * bit + axis)
    flat = torch.zeros(size**3, dtype=torch.int64)
    flat[cell.flatten()] = occupied.flatten().long()
    return (flat.reshape(-1, 8) << torch.arange(8)).sum(1).to(torch.uint8)


def _rays(count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    origins = 3 * torch.randn(count, 3, generator=generator)
    aim = torch.rand(count, 3, generator=generator) * 1.6 - 0.8
    directions = torch.nn.functional.normalize(aim - origins, dim=-1)
    axis = count // 8
    directions[:axis] = torch.eye(3)[torch.arange(axis) % 3]  # rays along an axis have zeros in their direction
    origins[:axis] = torch.where(directions[:axis] > 0, -2.0, aim[:axis])
    near = 0.3 * torch.rand(count, generator=generator)
    return origins, directions, near, near + 9, torch.rand(count, generator=generator)


@pytest.mark.parametrize("kind", ["native", "reference"])
def test_full_box_counts(kind: backend.Choice) -> None:
    bits = torch.full((32**3 // 8,), 255, dtype=torch.uint8)
    origins, directions = torch.tensor([[-3.0, 0.1, 0.2]]), torch.tensor([[1.0, 0.0, 0.0]])
    with backend.use(kind):
        given = (origins, directions, torch.tensor([0.0]), torch.tensor([10.0]), bits, BOX)
        t0, t1, ray, offsets = march(*given, Stride(0.125))
        few = march(*given, Stride(0.125, limit=5))
    assert offsets.tolist() == [0, 16] and ray.tolist() == [0] * 16 and ray.dtype == torch.int32
    assert t0.tolist() == [2 + 0.125 * i for i in range(16)] and torch.equal(t1, t0 + 0.125)
    assert few[3].tolist() == [0, 5] and torch.equal(few[0], t0[:5])


@pytest.mark.parametrize("kind", ["native", "reference"])
def test_one_cell_is_found(kind: backend.Choice) -> None:
    for cell in ((0, 0, 0), (31, 31, 31), (5, 17, 30)):
        occupied = torch.zeros(32, 32, 32, dtype=torch.bool)
        occupied[cell] = True
        centre = (torch.tensor(cell) + 0.5) / 16 - 1
        for axis in range(3):
            direction = torch.eye(3)[axis : axis + 1]
            given = (centre - 4 * direction, direction, torch.zeros(1), torch.full((1,), 9.0))
            with backend.use(kind):
                t0, t1, _, offsets = march(*given, _pack(occupied), BOX, Stride(1 / 64))
            # a cell of 1/16 holds four intervals of 1/64
            assert offsets[-1] == 4
            assert t0[0].item() == pytest.approx(4 - 1 / 32, abs=1e-6) and t1[-1].item() == pytest.approx(4 + 1 / 32)


def _mismatch(got: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> float:
    """The share of samples that only one of two walks has; t0 counts as equal within 1/2048."""
    keys = [set(zip(ray.tolist(), (t0 * 2048).round().long().tolist(), strict=True)) for t0, _, ray, _ in (got, wanted)]
    alone = 0
    for mine, other in (keys, keys[::-1]):
        alone += sum(not {(ray, t - 1), (ray, t), (ray, t + 1)} & other for ray, t in mine)
    return alone / max(1, len(keys[1]))


@functools.cache
def _scene(resolution: int, filled: float, contracted: bool, cone: float) -> tuple[tuple, tuple[Tensor, ...]]:
    """A random scene and all its samples, found by looking at every interval."""
    generator = torch.Generator().manual_seed(resolution)
    bits = _pack(torch.rand(*[resolution] * 3, generator=generator) < filled)
    lattice = MarchGrid((-1.0, -1.5, -0.5), (1.0, 0.5, 2.0), contracted, resolution)
    origins, directions, near, far, jitter = _rays(200)
    given = (origins, directions, near, far, bits, lattice, Stride(0.02, cone), jitter)
    with backend.use("reference"):
        return given, march(*given)


@pytest.mark.parametrize("cone", [0.0, 1 / 64])
@pytest.mark.parametrize("contracted", [False, True])
@pytest.mark.parametrize(("resolution", "filled"), [(8, 0.1), (32, 0.0), (32, 0.003), (64, 0.5), (128, 1e-4)])
def test_skipping_changes_nothing(isa: str, resolution: int, filled: float, contracted: bool, cone: float) -> None:
    given, wanted = _scene(resolution, filled, contracted, cone)
    with backend.use("native"):
        got = march(*given)
    assert int(got[3][-1]) == len(got[0])
    # midpoints within rounding of a cell's border may fall on either side: 1e-6 of a unit in cells of 1/64
    assert _mismatch(got, wanted) <= 1e-3
    if filled == 0:
        assert len(got[0]) == 0


def test_samples_are_sorted_and_inside(isa: str) -> None:
    origins, directions, near, far, jitter = _rays(500)
    bits = _pack(torch.rand(32, 32, 32, generator=torch.Generator().manual_seed(1)) < 0.2)
    t0, t1, ray, offsets = march(origins, directions, near, far, bits, BOX, Stride(0.03), jitter)
    assert (ray.diff() >= 0).all() and (t1 > t0).all()
    assert torch.equal(offsets.diff(), torch.bincount(ray, minlength=500))
    same = ray[1:] == ray[:-1]
    # consecutive intervals share their border up to rounding of t near 10
    assert (t0[1:] - t1[:-1])[same].min() > -1e-5
    middle = origins[ray] + (0.5 * (t0 + t1))[:, None] * directions[ray]
    assert middle.abs().max() < 1 + 1e-5  # rounding of positions near 10
    assert (t0 >= near[ray]).all() and (t1 <= far[ray]).all()


def test_contraction_reaches_far_away(isa: str) -> None:
    lattice, bits = MarchGrid((-1.0,) * 3, (1.0,) * 3, True, 32), torch.full((4096,), 255, dtype=torch.uint8)
    origins, directions = torch.zeros(1, 3), torch.tensor([[0.0, 0.0, 1.0]])
    t0, t1, _, _ = march(origins, directions, torch.zeros(1), torch.tensor([1000.0]), bits, lattice, Stride(0.01, 0.05))
    assert t1[-1] == 1000 and torch.equal(t0[1:], t1[:-1])
    # linear up to t = step / cone = 0.2, then a factor of 1.05 an interval
    assert len(t0) == pytest.approx(20 + math.log(1000 / 0.2) / math.log(1.05), abs=2)
    infinite = march(origins, directions, torch.zeros(1), torch.tensor([torch.inf]), bits, lattice, Stride(0.01, 0.05))
    assert torch.equal(infinite[0][: len(t0)], t0) and len(infinite[0]) <= 1024


def test_misses_and_broken_rays_have_no_samples(isa: str) -> None:
    bits = torch.full((4096,), 255, dtype=torch.uint8)
    good = [0.0, 0.0, -3.0, 0.0, 0.0, 1.0, 0.0, 9.0, 0.5]
    rows = [good]
    for place in range(9):
        for value in (math.nan, math.inf, -math.inf):
            rows.append([*good[:place], value, *good[place + 1 :]])
    rows.append([0.0, 0.0, -3.0, 0.0, 0.0, -1.0, 0.0, 9.0, 0.0])  # looks away
    rows.append([5.0, 0.0, -3.0, 0.0, 0.0, 1.0, 0.0, 9.0, 0.0])  # passes by
    rows.append([0.0, 0.0, -3.0, 0.0, 0.0, 1.0, 9.0, 0.0, 0.0])  # far before near
    rows.append([0.0, 0.0, -3.0, 0.0, 0.0, 0.0, 0.0, 9.0, 0.0])  # goes nowhere
    numbers = torch.tensor(rows)
    for contracted in (False, True):
        lattice = MarchGrid(BOX.lower, BOX.upper, contracted, 32)
        counts = march(
            numbers[:, :3],
            numbers[:, 3:6],
            numbers[:, 6],
            numbers[:, 7],
            bits,
            lattice,
            Stride(0.1),
            numbers[:, 8],
        )[3].diff()
        assert counts[0] > 0
        bad = ~numbers.isfinite().all(1)
        bad[1 + 3 * 7 + 1] = False  # far = inf is a ray without an end
        assert counts[bad].sum() == 0
        if not contracted:
            assert counts[1 + 3 * 7 + 1] == counts[0] and counts[-4:].sum() == 0


def test_empty_batch(isa: str) -> None:
    nothing = torch.zeros(0)
    t0, t1, ray, offsets = march(
        torch.zeros(0, 3),
        torch.zeros(0, 3),
        nothing,
        nothing,
        torch.zeros(4096, dtype=torch.uint8),
        BOX,
        Stride(0.1),
    )
    assert len(t0) == len(t1) == len(ray) == 0 and offsets.tolist() == [0]


def test_same_samples_for_any_number_of_threads(isa: str) -> None:
    origins, directions, near, far, jitter = _rays(2000)
    bits = _pack(torch.rand(32, 32, 32, generator=torch.Generator().manual_seed(1)) < 0.1)
    runs = []
    for threads in (1, 2, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        runs.append(march(origins, directions, near, far, bits, BOX, Stride(0.03), jitter))
        torch.set_num_threads(before)
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(run, runs[0], strict=True))


def test_operator_contract(isa: str) -> None:
    origins, directions, near, far, jitter = _rays(20)
    bits = torch.full((4096,), 255, dtype=torch.uint8)
    box = [-1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 0.0, 32.0]
    arguments = (origins, directions, near, far, bits, jitter, box, [0.05, 0.0, 64.0])
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.volkit.march.default, arguments, test_utils=checks)


def test_wrong_lattices_are_named() -> None:
    with pytest.raises(ValueError, match="cells a side"):
        MarchGrid((0, 0, 0), (1, 1, 1), False, 100)
    with pytest.raises(ValueError, match="lower < upper"):
        MarchGrid((0, 0, 0), (1, 0, 1))
    with pytest.raises(ValueError, match="step > 0"):
        Stride(0.0)
    origins, directions, near, far, _ = _rays(3)
    with pytest.raises(ValueError, match="4096 bytes"):
        march(origins, directions, near, far, torch.zeros(10, dtype=torch.uint8), BOX, Stride(0.1))
    with pytest.raises(ValueError, match=r"\[ray, 3\]"):
        march(origins, directions[:2], near, far, torch.zeros(4096, dtype=torch.uint8), BOX, Stride(0.1))
