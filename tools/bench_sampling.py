"""Sections of bench_ops about rays and samples: march, composite, planes, voxels."""

from collections.abc import Callable
from functools import partial

import torch
from bench_frame import Bench, Cases, agree

from volkit.geometry import morton_cells
from volkit.ops import backend
from volkit.ops.composite import composite
from volkit.ops.march import MarchGrid, Stride, march
from volkit.ops.plane_sample import Factor, plane_sample
from volkit.ops.voxel_sample import voxel_sample
from volkit.representations.occupancy_bits import OCCUPANCY_RESOLUTION, pack_bits
from volkit.typing import Float, Tensor, UInt8

__all__ = ["bench_composite", "bench_march", "bench_plane_sample", "bench_voxel_sample", "shell"]

VM = tuple((Factor(plane), Factor((line,))) for plane, line in (((0, 1), 2), ((0, 2), 1), ((1, 2), 0)))


def shell(inner: float = 0.5, outer: float = 0.55) -> UInt8[Tensor, " byte"]:
    """Occupancy of a hollow sphere about the middle of the unit cube, radii in half edges: a solid's surface."""
    cells = morton_cells(torch.arange(OCCUPANCY_RESOLUTION**3))
    radius = ((cells + 0.5) * (2.0 / OCCUPANCY_RESOLUTION) - 1.0).norm(dim=-1)
    return pack_bits((radius > inner) & (radius < outer))


def bench_march(bench: Bench) -> Cases:
    """Rays from a sphere about the box towards its middle, through a shell; million rays a second."""
    cases: Cases = {}
    rays, bits = max(bench.points // 16, 64), shell().to(bench.device)
    origins, directions = _looking_in(bench, rays)
    for name, contracted in (("bounded", False), ("contracted", True)):
        lattice = MarchGrid((-1.0,) * 3, (1.0,) * 3, contracted, OCCUPANCY_RESOLUTION)
        stride = Stride(2 * 3**0.5 / 1024, 1 / 256 if contracted else 0.0)
        near = torch.zeros(rays, device=bench.device)
        far = torch.full_like(near, 1e3 if contracted else 4.0)
        run = partial(march, bits=bits, lattice=lattice, stride=stride)
        ours, rivals = (_few(run, origins, directions, near, far, choice) for choice in ("auto", "reference"))
        assert abs(len(ours[0]) - len(rivals[0])) <= 1e-3 * len(rivals[0]) + 2, f"march {name}: samples differ"
        whole = partial(run, origins, directions, near, far)
        cases[f"{name}, {len(whole()[0]) / rays:.0f} samples a ray"] = bench.time({"march": whole}, rays)
        few = partial(_few, run, origins, directions, near, far, "reference")
        cases[f"{name}, plain torch, 256 rays"] = bench.brief().time({"march": few}, 256)
    return cases


def bench_composite(bench: Bench) -> Cases:
    """Packed rays of 1 to 63 samples, four channels; million samples a second."""
    counts = torch.randint(1, 64, (max(bench.points // 32, 1),), generator=bench.generator)
    offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0)).to(bench.device)
    samples = int(offsets[-1])
    density = (4 * bench.rand(samples)).requires_grad_()
    channels = bench.rand(4, samples).t().requires_grad_()
    t0 = bench.rand(samples)
    grad = bench.rand(len(counts), 4)

    def forward() -> Tensor:
        return composite(density, channels, t0, t0 + 0.03, offsets).channels

    def train(choice: backend.Choice) -> None:
        with backend.use(choice):
            forward().backward(grad)

    agree(forward, 1e-4)
    look = torch.no_grad()(forward)
    variants = {"forward": look, "forward+backward": partial(train, "auto")}
    variants["plain torch forward+backward"] = partial(train, "reference")
    return {f"{len(counts)} rays": bench.time(variants, samples)}


def bench_plane_sample(bench: Bench) -> Cases:
    """TensoRF's VM with 48 channels a plane at 300 cells, gradients added in place; million points a second."""
    shapes = [(1, 48, 300, 300), (1, 48, 300, 1)] * 3
    factors = [_channels_last(bench.rand(*shape)).requires_grad_() for shape in shapes]
    into = [torch.zeros_like(factor) for factor in factors]
    points = bench.points // 4
    positions = 2 * bench.rand(points, 3) - 1
    grad = bench.rand(points, 3 * 48)
    read = partial(plane_sample, positions, factors, VM)
    agree(partial(plane_sample, positions[:4096], factors, VM), 1e-4)
    variants = _three(lambda: read(factor_grads=into), grad)
    return {"VM 3 x 48, 300 cells": bench.time(variants, points)}


def bench_voxel_sample(bench: Bench) -> Cases:
    """Plenoxels' 28 numbers a voxel, 128 cells, one voxel in four kept; million points a second."""
    size, points = 128, bench.points
    kept = bench.rand(size, size, size) < 0.25
    links = torch.where(kept, kept.flatten().cumsum(0).view(kept.shape) - 1, -1).int()
    data = bench.rand(int(kept.sum()), 28).requires_grad_()
    into = torch.zeros_like(data)
    positions, grad = bench.rand(points, 3) * (size - 1), bench.rand(points, 28)
    agree(partial(voxel_sample, positions[:4096], links, data), 1e-4)
    variants = _three(lambda: voxel_sample(positions, links, data, data_grad=into), grad)
    return {"28 channels, 128 cells, a quarter kept": bench.time(variants, points)}


def _three(read: Callable[[], Tensor], grad: Tensor) -> dict[str, Callable[[], object]]:
    """Forward, forward and backward, and the same in plain torch."""

    def train(choice: backend.Choice) -> None:
        with backend.use(choice):
            read().backward(grad)

    look: Callable[[], object] = torch.no_grad()(read)
    return {
        "forward": look,
        "forward+backward": partial(train, "auto"),
        "plain torch forward+backward": partial(train, "reference"),
    }


def _few(run: Callable, *inputs_and_choice) -> tuple[Tensor, ...]:
    *inputs, choice = inputs_and_choice
    with backend.use(choice):
        return run(*(each[:256] for each in inputs))


def _looking_in(bench: Bench, rays: int) -> tuple[Float[Tensor, "ray 3"], Float[Tensor, "ray 3"]]:
    origins = 2 * torch.nn.functional.normalize(bench.rand(rays, 3) - 0.5, dim=-1)
    return origins, torch.nn.functional.normalize(bench.rand(rays, 3) - 0.5 - origins, dim=-1)


def _channels_last(factor: Tensor) -> Tensor:
    return factor.contiguous(memory_format=torch.channels_last)
