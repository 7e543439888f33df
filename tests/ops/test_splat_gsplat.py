"""Projection, harmonics and tile lists beside gsplat's own torch functions; and its kernels where a GPU has them."""

import importlib
import inspect
from types import ModuleType

import pytest
import torch
from grading import assert_grade
from torch import Tensor

from volkit.ops import backend
from volkit.ops.splat import Blended, SplatView, blend, project, reference
from volkit.ops.splat.blend import TILE, _lists, blend_with_gsplat

SIZE, INTRINSICS = (75, 58), (60.0, 63.0, 37.5, 28.0)
TILES = (-(-SIZE[0] // TILE), -(-SIZE[1] // TILE))
POSE = torch.tensor([[0.9211, 0, 0.3894, 0.1], [0, 1, 0, -0.2], [-0.3894, 0, 0.9211, 4.0]])


@pytest.fixture(scope="module")
def gsplat() -> ModuleType:
    """At first use: other tests look at what is imported."""
    return importlib.import_module("gsplat.cuda._torch_impl")


@pytest.fixture(scope="module")
def splats() -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(5)
    normal = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    return (normal(500, 3), normal(500, 4), normal(500, 3) * 0.6 - 2.2, normal(500) * 2, normal(500, 1, 3),
            0.3 * normal(500, 24, 3))  # fmt: skip


def _theirs(gsplat: ModuleType, splats: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    means, quaternions, log_scales = splats[:3]
    covariances, _ = gsplat._quat_scale_to_covar_preci(quaternions, log_scales.exp(), compute_preci=False)
    viewmat = torch.cat([POSE, torch.tensor([[0.0, 0, 0, 1]])])[None]
    fx, fy, cx, cy = INTRINSICS
    camera = torch.tensor([[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]])
    found = gsplat._fully_fused_projection(means, covariances, viewmat, camera, *SIZE, calc_compensations=True)
    return tuple(t[0] for t in found)


@pytest.mark.parametrize("mip", [False, True])
def test_projection(gsplat: ModuleType, splats: tuple[Tensor, ...], mip: bool) -> None:
    seen = project(*splats, view=SplatView(POSE, INTRINSICS, SIZE, mip=mip))
    _, means, depths, conics, compensations = _theirs(gsplat, splats)
    drawn = seen.extents[:, 0] > 0
    assert 200 < int(drawn.sum()) < 500
    opacities = splats[3].sigmoid() * (compensations if mip else 1.0)
    for mine, other in ((seen.means, means), (seen.depths, depths), (seen.shapes, conics), (seen.opacities, opacities)):
        # both are float32 through the determinant of a 2 x 2 matrix, theirs with cancellation
        assert_grade(mine[drawn], other[drawn], rtol=2e-3, l2=1e-4)


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
def test_harmonics(gsplat: ModuleType, splats: tuple[Tensor, ...], degree: int) -> None:
    *shape, constant, rest = splats
    rest = rest[:, : (degree + 1) ** 2 - 1]
    seen = project(*shape, constant, rest, SplatView(POSE, INTRINSICS, SIZE))
    centre = -POSE[:, :3].T @ POSE[:, 3]
    colours = gsplat._spherical_harmonics(degree, splats[0] - centre, torch.cat([constant, rest], 1))
    drawn = seen.extents[:, 0] > 0
    assert_grade(seen.colours[drawn], (colours + 0.5).clamp_min(0.0)[drawn], rtol=1e-4, l2=1e-5)


def test_tile_lists(gsplat: ModuleType, splats: tuple[Tensor, ...]) -> None:
    """Each of our pairs is one of theirs, in their order; a pair of theirs that we leave out touches no pixel."""
    seen = project(*splats, view=SplatView(POSE, INTRINSICS, SIZE))
    given = [seen.means, seen.shapes, seen.opacities, seen.depths, seen.colours, seen.extents]
    lists = _lists(list(given), list(SIZE))
    _, keys, splat = gsplat._isect_tiles(
        seen.means[None], seen.extents.ceil().int()[None], seen.depths[None], TILE, *TILES
    )
    begins = [*gsplat._isect_offset_encode(keys, 1, *TILES).flatten().tolist(), len(splat)]
    ends = lists.ends.tolist()
    left_out = 0
    for tile in range(TILES[0] * TILES[1]):
        mine = lists.list[ends[tile] : ends[tile + 1], 0].tolist()
        theirs = splat[begins[tile] : begins[tile + 1]].tolist()
        wanted = set(mine)
        assert mine == [i for i in theirs if i in wanted]
        for i in set(theirs) - wanted:
            left_out += 1
            alone = [t[[i]].detach() for t in given]
            opacity = blend(*alone, size=SIZE).opacity
            x, y = tile % TILES[0] * TILE, tile // TILES[0] * TILE
            assert not opacity[y : y + TILE, x : x + TILE].any()
    assert left_out


def _given(splats: tuple[Tensor, ...], device: str = "cpu") -> list[Tensor]:
    seen = project(*splats, view=SplatView(POSE, INTRINSICS, SIZE))
    given = [seen.means, seen.shapes, seen.opacities.clamp_max(0.95), seen.depths, seen.colours, seen.extents]
    return [t.to(device).detach().requires_grad_(k in (0, 1, 2, 4)) for k, t in enumerate(given)]


def test_their_kernels_are_called_as_they_wish(gsplat: ModuleType, splats: tuple[Tensor, ...], monkeypatch) -> None:
    """No GPU: their lists in torch, and for their rasteriser a stand-in with its signature that reads those lists."""
    library = importlib.import_module("gsplat")
    signature = inspect.signature(library.rasterize_to_pixels)

    def rasterize(*arguments):
        told = signature.bind(*arguments).arguments
        begins, listed = told["isect_offsets"], told["flatten_ids"]
        assert begins.shape == (1, TILES[1], TILES[0]) and told["tile_size"] == TILE
        assert (told["image_width"], told["image_height"]) == SIZE
        shown = listed.unique().long()
        means, conics, channels, opacities = (told[k][0] for k in ("means2d", "conics", "colors", "opacities"))
        depths, ones = given[3], torch.zeros(len(means), 2)
        ones[shown] = 1.0
        seen = reference.blend(means, conics, opacities, depths, channels, ones, SIZE, False)
        return seen[0][None], seen[1][None, ..., None]

    monkeypatch.setattr(library, "isect_tiles", gsplat._isect_tiles)
    monkeypatch.setattr(library, "isect_offset_encode", gsplat._isect_offset_encode)
    monkeypatch.setattr(library, "rasterize_to_pixels", rasterize)
    given = _given(splats)
    found = blend_with_gsplat(*given, SIZE)
    for theirs, ours in zip(found, blend(*given, SIZE)[:2], strict=True):
        assert theirs.shape == ours.shape
        # float32 exponentials: an alpha of 1/255 may fall on either side
        assert_grade(theirs, ours, rtol=1e-3, fail_ratio=2e-3, l2=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("choice", ["cuda", "gsplat"])
def test_kernels_of_a_gpu(splats: tuple[Tensor, ...], choice: backend.Choice) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    found: list[list[Tensor]] = []
    for device, kind in (("cuda", choice), ("cpu", "reference")):
        given = _given(splats, device)
        with backend.use(kind):
            seen: Blended = blend(*given, SIZE)
        (seen.channels.square().sum() + seen.opacity.sum()).backward()
        found.append([t.cpu() for t in (seen.channels, seen.opacity, *(given[k].grad for k in (0, 1, 2, 4)))])
    for theirs, truth in zip(*found, strict=True):
        # float32, and an alpha of 1/255 may fall on either side
        assert_grade(theirs, truth, rtol=2e-3, fail_ratio=2e-3, l2=1e-3)


def test_a_gpu_is_needed(splats: tuple[Tensor, ...]) -> None:
    with backend.use("gsplat"), pytest.raises(RuntimeError, match="'gsplat' was forced but the tensors are on cpu"):
        blend(*_given(splats), SIZE)
