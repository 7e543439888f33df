"""Sections of bench_ops about splats: a trained scene rasterised, forward and backward, beside plain torch."""

import importlib.util
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from bench_frame import Bench, Cases, summary
from rival_splat import count_pairs, tiled

import volkit
from volkit.commands.fit import FitJob
from volkit.evaluation.metrics import psnr
from volkit.geometry import Cameras
from volkit.io.fields.analytic_scene import bundled
from volkit.ops import backend
from volkit.ops.splat import SplatView, blend, project
from volkit.progress import Progress
from volkit.rendering.splatting import splat_view
from volkit.representations import Splats
from volkit.typing import Tensor

__all__ = ["bench_splat", "trained_splats"]

WORK = Path("out/bench")
SIZES = ((100_000, 400), (500_000, 800))


def trained_splats(count: int) -> Splats:
    """Splats fitted to pictures of a bundled scene, kept for the next run; more of them are copies, moved a little."""
    pictures, target = WORK / "pictures", WORK / "splats.safetensors"
    if not target.exists():
        if not pictures.exists():
            volkit.render(bundled("still_life"), pictures, size=400)
        FitJob(pictures, target, to="splats", budget="120s", max_splats=100_000).run(Progress())
    splats = volkit.load(target)
    assert isinstance(splats, Splats)
    rows, first = torch.arange(count), len(splats)
    splats.keep(rows % first)
    noise = torch.randn(splats.means.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        splats.means.add_(1e-3 * splats.domain.diagonal * noise * (rows >= first)[:, None])
    return splats


def bench_splat(bench: Bench) -> Cases:
    """100 000 splats at 400x400 forward and backward, 500 000 at 800x800 forward; items are useful pairs."""
    cases: Cases = {}
    for count, size in SIZES:
        splats = trained_splats(count if bench.points > 1 << 16 else 2000).to(bench.device).requires_grad_()
        assert splats.capture is not None
        camera: Cameras = splats.capture.cameras[[0]].resize(size).to(bench.device)
        camera = camera if int(camera.size.max()) == size else _enlarged(camera, size)
        view = splat_view(splats, camera, 0)
        pairs = count_pairs(project(*splats.columns, view=view), view.size)
        variants = {"forward": torch.no_grad()(partial(_draw, splats, view))}
        if size == 400:
            variants["forward+backward"] = partial(_step, splats, view)
            if not backend.library_missing("gsplat"):
                variants["forward+backward, blended by gsplat"] = backend.use("gsplat")(partial(_step, splats, view))
        cases[f"{len(splats)} splats, {size}x{size}"] = bench.time(variants, pairs)
        cases[f"{len(splats)} splats, {size}x{size}, blending alone"] = _blending(
            bench, list(variants.values())[-1], pairs
        )
        if size == 400:
            _agree(splats, view)
            plain = {"forward+backward": partial(_plain, splats, view)}
            cases[f"{len(splats)} splats, {size}x{size}, tiled plain torch"] = bench.brief().time(plain, pairs)
            cases |= _beside_mitsuba(bench.brief(), splats, camera)
    return cases


def _blending(bench: Bench, step: Callable[[], object], pairs: int) -> dict[str, dict]:
    """The kernels that go through the pairs, timed inside the whole: what the bounds are of."""
    walls: dict[str, list[float]] = defaultdict(list)
    with _kernels_timed(walls):
        for _ in range(bench.repeats):
            step()
    names = {"forward": "splat_blend", "backward": "splat_blend_grad"}
    return {name: summary(walls[op], pairs) for name, op in names.items() if op in walls}


@contextmanager
def _kernels_timed(walls: dict[str, list[float]]) -> Iterator[None]:
    run = backend.run

    def timed(op: str, kind: backend.Kind, device: torch.device, *fields: int | float) -> None:
        began = time.perf_counter()
        run(op, kind, device, *fields)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        walls[op].append(time.perf_counter() - began)

    backend.run = timed
    try:
        yield
    finally:
        backend.run = run


def _beside_mitsuba(bench: Bench, splats: Splats, camera: Cameras) -> Cases:
    """The middle eighth of the picture, which Mitsuba draws in seconds; PSNR between the two pictures beside."""
    if importlib.util.find_spec("mitsuba") is None:
        return {"Mitsuba 3": {"forward+backward": {"why": "pip install mitsuba, and LLVM (Debian: libllvm19)"}}}
    from rival_mitsuba import MitsubaSplats

    small = _middle(camera, int(camera.size.max()) // 8)
    view, rival = splat_view(splats, small, 0), MitsubaSplats(splats, small)
    pairs = count_pairs(project(*splats.columns, view=view), view.size)
    with torch.no_grad():
        alike = psnr(_draw(splats, view)[0], rival.picture())
    times = bench.time({"forward+backward": partial(_step, splats, view), "Mitsuba 3": rival.step}, pairs)
    times["Mitsuba 3"]["psnr_to_ours"] = round(float(alike), 2)
    return {f"{len(splats)} splats, the middle {view.size[0]}x{view.size[1]}": times}


def _middle(camera: Cameras, size: int) -> Cameras:
    shift = (camera.size - size).div(2, rounding_mode="floor")
    intrinsics = camera.intrinsics - torch.cat([torch.zeros_like(shift), shift], 1)
    return Cameras(camera.world_from_camera, intrinsics, torch.full_like(camera.size, size))


def _enlarged(camera: Cameras, size: int) -> Cameras:
    scale = size / int(camera.size.max())
    return Cameras(camera.world_from_camera, camera.intrinsics * scale, (camera.size * scale).long())


def _draw(splats: Splats, view: SplatView) -> tuple[Tensor, Tensor]:
    flat = project(*splats.columns, view=view)
    seen = blend(flat.means, flat.shapes, flat.opacities, flat.depths, flat.colours, flat.extents, view.size)
    return seen.channels, seen.opacity


def _back(splats: Splats, colour: Tensor, opacity: Tensor) -> None:
    (colour.square().mean() + opacity.mean()).backward()
    for parameter in splats.parameters():
        parameter.grad = None


def _step(splats: Splats, view: SplatView) -> None:
    _back(splats, *_draw(splats, view))


def _plain(splats: Splats, view: SplatView) -> None:
    _back(splats, *tiled(project(*splats.columns, view=view), view.size))


@torch.no_grad()
def _agree(splats: Splats, view: SplatView) -> None:
    """Equal pictures before any speed is told; an alpha of 1/255 may fall on either side."""
    ours, theirs = _draw(splats, view), tiled(project(*splats.columns, view=view), view.size)
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine - other).abs().mean() < 1e-5 and (mine - other).abs().max() < 2e-2, "splat: pictures differ"
