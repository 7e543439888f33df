"""The door to the kernels: every field by its name, and each wrong one refused by name before a kernel runs."""

from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from volkit.ops import AdamRule, HashLevels, MlpShape, adam_, backend, fused_mlp, hash_encode
from volkit.ops.composite import composite
from volkit.ops.march import MarchGrid, Stride, march
from volkit.ops.plane_sample import Factor, plane_sample
from volkit.ops.raster import antialias, opposite_corners, rasterise
from volkit.ops.splat import SplatView, blend, project
from volkit.ops.voxel_sample import voxel_sample

OPS = sorted(backend._native.fields) if backend._native is not None else []
pytestmark = pytest.mark.skipif(not OPS, reason="the extension is not built")


def leaf(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1)).requires_grad_()


def step_of_adam() -> None:
    adam_(torch.ones(4, 2), torch.ones(4, 2), torch.zeros(4, 2), torch.zeros(4, 2), 1, AdamRule(1e-2))


def network() -> None:
    shape = MlpShape(4, 3, 16)
    fused_mlp(leaf(5, 4), leaf(shape.parameters), shape).sum().backward()


def hashed() -> None:
    levels = HashLevels(levels=2, log2_table=8)
    hash_encode(leaf(5, 3), leaf(levels.entries, 2), levels).sum().backward()


def marched() -> None:
    grid = MarchGrid((-1.0,) * 3, (1.0,) * 3, resolution=8)
    origins, directions = torch.tensor([[-2.0, 0.1, 0.1]]), torch.tensor([[1.0, 0.0, 0.0]])
    bits = torch.full((64,), 255, dtype=torch.uint8)
    t0, t1, _, offsets = march(origins, directions, torch.zeros(1), torch.full((1,), 9.0), bits, grid, Stride(0.25))
    composite(leaf(len(t0)), leaf(len(t0), 3), t0, t1, offsets).channels.sum().backward()


def planes() -> None:
    factors = [leaf(1, 2, 4, 4), leaf(1, 2, 4, 1)]
    plane_sample(leaf(5, 3), factors, ((Factor((0, 1)), Factor((2,))),)).sum().backward()


def voxels() -> None:
    voxel_sample(leaf(5, 3), torch.arange(8, dtype=torch.int32).view(2, 2, 2), leaf(8, 2)).sum().backward()


def triangles() -> None:
    points, faces = torch.tensor([[1.0, 1, 1], [14, 2, 1], [3, 13, 1]]).requires_grad_(), torch.tensor([[0, 1, 2]])
    seen = rasterise(points, faces, (16, 16))
    antialias(seen.barycentric, seen, points, faces, opposite_corners(faces)).sum().backward()


def splats() -> None:
    means = (leaf(6, 3) + torch.tensor([0.0, 0.0, 2.0])).detach().requires_grad_()
    columns = (means, leaf(6, 4), leaf(6, 3), leaf(6), leaf(6, 1, 3), leaf(6, 0, 3))
    view = SplatView(torch.eye(3, 4).requires_grad_(), (20.0, 20.0, 8.0, 8.0), (16, 16))
    flat = project(*columns, view)
    shown = blend(flat.means, flat.shapes, flat.opacities, flat.depths, flat.colours, flat.extents, (16, 16))
    shown.channels.sum().backward()


WORK: tuple[Callable[[], None], ...] = (step_of_adam, network, hashed, marched, planes, voxels, triangles, splats)


@pytest.fixture(scope="module")
def calls() -> dict[str, dict[str, Any]]:
    """What Python gives each kernel, once, with copies of the memory so that the calls may be repeated."""
    found: dict[str, dict[str, Any]] = {}
    run, patch = backend.run, pytest.MonkeyPatch()

    def record(op: str, on: torch.Tensor, **fields: Any) -> None:
        copies = {k: v.detach().clone() if isinstance(v, torch.Tensor) else v for k, v in fields.items()}
        found.setdefault(op, copies)
        run(op, on, **fields)

    patch.setattr(backend, "run", record)
    with backend.use("native"):
        for work in WORK:
            work()
    patch.undo()
    return found


def test_every_kernel_was_called(calls):
    assert sorted(calls) == OPS


@pytest.mark.parametrize("op", OPS)
def test_names_are_those_that_the_kernels_export(calls, op):
    exported, given = backend.fields_of(op), calls[op]
    assert given.keys() <= exported.keys()
    assert {name for name, (_, needed) in exported.items() if needed} <= given.keys()
    for name, value in given.items():
        kind = exported[name][0]
        if isinstance(value, torch.Tensor):
            assert str(value.dtype).removeprefix("torch.") in kind.split(" or ")
        elif value is not None:
            assert isinstance(value, {"int": int, "float": float | int, "buffer": np.ndarray | array}[kind])


def wrong(value: Any, kind: str) -> list[tuple[Any, type[Exception], str]]:
    """Values that a field must refuse, with the error's type and words."""
    refused: list[tuple[Any, type[Exception], str]] = [("text", TypeError, "is str, not")]
    if not isinstance(value, torch.Tensor):
        return [*refused, (1.5, TypeError, "is float, not an integer")] if kind == "int" else refused
    refused.append((value.double() if value.dtype == torch.float32 else value.float(), TypeError, "the kernel reads"))
    refused.append((value.to("meta"), ValueError, "is not in the memory of the CPU"))
    return refused


@pytest.mark.parametrize("op", OPS)
def test_each_wrong_field_is_refused_by_name(calls, op):
    exported, given = backend.fields_of(op), calls[op]
    on = torch.zeros(1)
    with pytest.raises(TypeError, match=rf"{op}: unknown field 'misspelt'; its fields are .*{next(iter(given))}"):
        backend.run(op, on, **given, misspelt=1)
    for name, (kind, needed) in exported.items():
        if needed:
            with pytest.raises(TypeError, match=rf"{op}: field '{name}' \(.*\) is missing"):
                backend.run(op, on, **{k: v for k, v in given.items() if k != name})
            with pytest.raises(TypeError, match=rf"{op}: field '{name}' \(.*\) is None"):
                backend.run(op, on, **given | {name: None})
        if given.get(name) is None:
            continue
        for value, error, words in wrong(given[name], kind):
            with pytest.raises(error, match=rf"{op}: field '{name}' .*{words}"):
                backend.run(op, on, **given | {name: value})


@pytest.mark.parametrize("op", OPS)
def test_wrong_lengths_and_layouts_are_refused_by_name(calls, op):
    given, on = calls[op], torch.zeros(1)
    refused = 0
    for name, value in given.items():
        if not isinstance(value, torch.Tensor):
            continue
        longer = torch.cat([value.flatten(), value.new_zeros(1)])
        with pytest.raises(ValueError, match=rf"{op}: field '{name}' has {len(longer)} elements, expected"):
            backend.run(op, on, **given | {name: longer})
        if value.numel() > 1 and (op, name) not in STRIDED:
            apart = torch.stack([value.flatten(), value.flatten()], 1)[:, 0]
            with pytest.raises(ValueError, match=rf"{op}: field '{name}' is not contiguous"):
                backend.run(op, on, **given | {name: apart})
        refused += 1
    assert refused


# Fields of any layout: their strides are fields too, or every element is treated alike.
STRIDED = {("adam", name) for name in ("param", "grad", "first", "second")}
STRIDED |= {("composite", "channels"), ("composite_grad", "channels"), ("composite_grad", "channels_grad")}


def test_a_buffer_in_host_memory_has_its_length(calls):
    given = calls["hash_encode"]
    with pytest.raises(ValueError, match="hash_encode: field 'levels' has 16 bytes, expected 32"):
        backend.run("hash_encode", torch.zeros(1), **given | {"levels": given["levels"][:1].copy()})


def test_a_half_table_that_is_not_half_is_refused(calls):
    given = calls["hash_encode"]
    with pytest.raises(TypeError, match=r"field 'table' is torch\.float32, the kernel reads torch\.float16"):
        backend.run("hash_encode", torch.zeros(1), **given | {"half": True})
