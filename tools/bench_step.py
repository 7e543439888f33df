"""Section of bench_ops: the whole training step of Instant-NGP, ours against plain torch and Dr.Jit.

The scene is the bundled still life, fitted for some steps first, so that occupancy and visibility are those of a field
in training. Marching, visibility, compositing and the loss are ours for everyone, which the rivals have not or have
slower; they bring the encoding, the two networks, gradients and Adam. Same rays, samples and loss for all. Rates are
so small that every repeat sees the same field, and so the same samples.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from bench_frame import Bench, Cases

from volkit.geometry import Points, Rays, sh_basis
from volkit.io.fields.analytic_scene import bundled, read
from volkit.ops.adam import AdamRule, adam_
from volkit.ops.composite import composite
from volkit.rendering.volume import MIN_TRANSMITTANCE, VolumeRenderer, render_rays
from volkit.representations.hash_grid import HashGrid, HashGridConfig
from volkit.representations.heads import truncated_exp
from volkit.sampling.occupancy import OccupancySampler, stride_for
from volkit.sampling.occupancy_grid import copy_occupancy, fill_occupancy
from volkit.sampling.visible import VisibleSampler
from volkit.typing import Float, Tensor

__all__ = ["bench_step"]

STILL = 1e-12  # a rate at which Adam does all of its work and changes nothing
WARM_UP = 120  # steps of fitting before anything is timed


class Rival(Protocol):
    """A hash grid and its two networks in another library."""

    def answers(self, unit: Float[Tensor, "point 3"], basis: Float[Tensor, "point 16"]) -> Float[Tensor, "point 4"]:
        """Logarithm of density and raw colour."""
        ...

    def learn(self, grad: Float[Tensor, "point 4"]) -> None:
        """Backward and Adam."""
        ...


@dataclass
class Scene:
    """A field that was fitted a little, and rays with their true colours."""

    field: HashGrid
    sampler: VisibleSampler
    rays: Rays
    colour: Float[Tensor, "ray 3"]

    def loss(self, rgb: Float[Tensor, "ray 3"]) -> Tensor:
        """Mean squared error."""
        return (rgb - self.colour[: len(rgb)]).square().mean()


class OurStep:
    """The engine's own step: sampler, renderer, autograd, Adam on the rows that were touched."""

    def __init__(self, scene: Scene, products: str, rate: float = STILL) -> None:
        self.scene, self.products, self.rate, self.steps = scene, products, rate, 0
        self.moments: dict[int, tuple[Tensor, Tensor]] = {}

    def __call__(self) -> float:
        """One step; the loss."""
        scene, field = self.scene, self.scene.field
        field.config = replace(field.config, products=self.products)
        picture = render_rays(field, scene.rays, scene.sampler(scene.rays))
        loss = scene.loss(picture.channels["rgb"])
        loss.backward()
        self.steps += 1
        for group in field.param_groups():
            for parameter in group.parameters:
                moments = self.moments.setdefault(id(parameter), _pair(parameter))
                rule = AdamRule(self.rate)
                assert parameter.grad is not None
                adam_(parameter.data, parameter.grad, *moments, self.steps, rule, touched_only=group.sparse)
        return loss.item()


class RivalStep:
    """The same step with a rival's grid and networks."""

    def __init__(self, scene: Scene, rival: Rival) -> None:
        self.scene, self.rival = scene, rival

    def __call__(self) -> float:
        """One step; the loss."""
        scene, domain = self.scene, self.scene.field.domain
        samples = scene.sampler(scene.rays)
        points = samples.points(scene.rays)
        unit, basis = _inputs(scene, points)
        raw = self.rival.answers(unit, basis).requires_grad_()
        density = truncated_exp(raw[:, 0]) * (1.0 / domain.unit_edge)
        colour = torch.sigmoid(raw[:, 1:])
        seen = composite(density, colour, samples.t0, samples.t1, samples.offsets, stop=MIN_TRANSMITTANCE)
        loss = scene.loss(seen.channels)
        loss.backward()
        assert raw.grad is not None
        self.rival.learn(raw.grad)
        return loss.item()


def bench_step(bench: Bench) -> Cases:
    """Million live samples a second through whole steps, all variants in turns."""
    scene = _scene(bench)
    live = len(scene.sampler(scene.rays))
    steps: dict[str, Callable[[], float]] = {f"volkit {name}": OurStep(scene, name) for name in ("bfloat16", "float32")}
    missing: dict[str, str] = {}
    for name, make in _rivals(scene).items():
        try:
            steps[name] = RivalStep(scene, make())
            steps[name]()
        except Exception as failure:  # whatever keeps a rival from running is a result
            steps.pop(name, None)
            missing[name] = f"{type(failure).__name__}: {str(failure).strip()[:300]}"
    _equal(steps)
    sampling = {"march and visibility alone": lambda: len(scene.sampler(scene.rays))}
    cases: Cases = {f"{live} live samples, {len(scene.rays)} rays": bench.time({**steps, **sampling}, live)}
    if missing:
        cases["not run"] = {name: {"why": why} for name, why in missing.items()}
    return cases


def _equal(steps: dict[str, Callable[[], float]]) -> None:
    """Those with the same parameters must have the same loss: float32 to rounding, bfloat16 to 5 %."""
    truth = steps["volkit float32"]()
    for name, tolerance in (("volkit bfloat16", 5e-2), ("Dr.Jit", 2e-3)):
        if name in steps and abs(steps[name]() - truth) > tolerance * truth + 1e-7:
            raise RuntimeError(f"step: the loss of {name} is {steps[name]()}, of volkit {truth}")


def _rivals(scene: Scene) -> dict[str, Callable[[], Rival]]:
    from rival_torch import TorchGrid

    config = scene.field.config

    def drjit() -> Rival:
        if importlib.util.find_spec("drjit") is None:
            raise ModuleNotFoundError("pip install drjit, and LLVM (Debian: libllvm19)")
        from rival_drjit import DrJitGrid

        return DrJitGrid(scene.field, STILL)

    return {
        "plain torch": lambda: TorchGrid(config, STILL),
        "compiled torch": lambda: TorchGrid(config, STILL, compiled=True),
        "Dr.Jit": drjit,
    }


def _scene(bench: Bench) -> Scene:
    """Fit the still life to random rays of its cameras, then keep as many rays as give the wanted live samples."""
    truth = read(bundled("still_life"))
    assert truth.capture is not None
    field = HashGridConfig().build(truth.domain, bench.generator)
    stride = stride_for(field.domain)
    fill_occupancy(truth, stride_for(truth.domain), bench.generator)
    copy_occupancy(truth, field)
    sampler = VisibleSampler(OccupancySampler(field, stride), field)
    scene = Scene(field, sampler, *_drawn(bench, truth, 2048))
    step = OurStep(scene, "bfloat16", 1e-2)
    for _ in range(WARM_UP):
        scene.rays, scene.colour = _drawn(bench, truth, 2048)
        step()
    a_ray = len(sampler(scene.rays)) / len(scene.rays)
    scene.rays, scene.colour = _drawn(bench, truth, max(int(bench.points / a_ray), 16))
    return scene


def _drawn(bench: Bench, truth, count: int) -> tuple[Rays, Tensor]:
    cameras = truth.capture.cameras
    camera = torch.randint(len(cameras), (count,), generator=bench.generator)
    pixels = torch.rand(count, 2, generator=bench.generator) * cameras.size[camera]
    rays = cameras.rays(camera, pixels)
    picture = VolumeRenderer(step_scale=4.0).rays(truth, rays)
    return truth.world_from_local.inverse().rays(rays), picture.channels["rgb"]


def _inputs(scene: Scene, points: Points) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        unit = scene.field.domain.unit_from_local(points.positions).clamp(0.0, 1.0)
        return unit, sh_basis(points.directions, scene.field.config.sh_degree)


def _pair(parameter: Tensor) -> tuple[Tensor, Tensor]:
    return torch.zeros_like(parameter), torch.zeros_like(parameter)
