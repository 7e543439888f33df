"""Progressive volume distillation, PVD and PVD-AL, as baselines: stages, losses and densities as published.

Fang et al. 2023 (AAAI, arXiv 2211.15977) and its successor with active learning (arXiv 2304.04012); facts from the
code, megvii-research/AAAI2023-PVD, branches main and PVD-AL. As there: one camera a step; random pixels; samples from
the teacher's occupancy, which the student keeps; the teacher evaluated at every step; un-averaged norms; log densities
clamped, with no gradient outside. Three things differ. What is counted in 30 000 iterations is a fraction of the
budget. Poses are variations of the given cameras, since the published samplers know three data sets by name. And the
clamp is applied in training alone: a trained student has its own densities.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

import torch

from volkit.distillation.pvd_active import CameraPool, HardRays, RayPool, surface_samples
from volkit.geometry import Cameras, Points, Rays, RaySamples
from volkit.ops.composite import Composited, composite
from volkit.rendering.viewpoints import vary_cameras
from volkit.representations.field import Field, FieldSample
from volkit.sampling.sampler import Sampler
from volkit.training.loop import StepInfo
from volkit.typing import Bool, Float, Tensor

__all__ = ["ITERATIONS", "METHODS", "PvdObjective", "PvdSettings"]

ITERATIONS = 30_000  # of a published run
MIN_RAYS = 64  # in a step
MAX_ATTEMPTS = 32  # cameras before a scene counts as empty


@dataclass(frozen=True)
class PvdSettings:
    """Stages, weights and batch sizes; the defaults are PVD's.

    Attributes:
        feature_until: end of stage 1, features alone, a fraction of the budget.
        point_until: end of stage 2, features, colours and densities of points; pictures are added from then on.
        point_weight: of features, colours and log densities.
        feature_decay: of the weight of features, per published iteration.
        log_density: clamp of the logarithm of densities per half the longest edge of the domain.
        l1: weight of the density factors of a `tensor_vm`.
        active: active learning, as of PVD-AL.
        rays: in a step, at most.
        samples: in a step, about: fewer rays where they have many.
    """

    feature_until: float = 2000 / ITERATIONS
    point_until: float = 5000 / ITERATIONS
    point_weight: float = 0.002
    feature_decay: float = 0.995
    log_density: tuple[float, float] = (-2.0, 7.0)
    l1: float = 1e-4
    active: bool = False
    rays: int = 4096
    samples: int = 1 << 17

    @classmethod
    def pvd(cls) -> Self:
        """PVD: features until 1/15 of the budget, points until 1/6, then pictures too."""
        return cls()

    @classmethod
    def pvd_al(cls) -> Self:
        """PVD-AL: all losses from the start, as its code has it; hard cameras, hard rays, surface points."""
        return cls(feature_until=0.0, point_until=0.0, active=True)

    def feature_weight(self, fraction: float) -> float:
        """`0.002 * 0.995^(30000 fraction)`."""
        return self.point_weight * self.feature_decay ** (fraction * ITERATIONS)


METHODS = {"pvd": PvdSettings.pvd(), "pvd-al": PvdSettings.pvd_al()}


class _Batch(NamedTuple):
    camera: Cameras
    rays: Rays  # of the camera, then of the pool
    samples: RaySamples
    hard: HardRays | None
    camera_rays: int  # the first ones


@runtime_checkable
class _Featured(Protocol):
    """A field with a colour head of comparable input features, the first of which is that of the density."""

    def query_hidden(self, points: Points, *, colour: bool = True) -> tuple[FieldSample, Tensor | None]:
        """As `query`, and the features; without `colour` there are no channels."""
        ...


class _Evaluation(NamedTuple):
    density: Float[Tensor, " sample"]  # clamped, 1 / local unit
    log_density: Float[Tensor, " sample"]
    rgb: Tensor
    hidden: Tensor | None


class PvdObjective:
    """The losses of PVD and PVD-AL.

    With Frobenius norms over the whole batch, features F = [log density, 15 inputs of instant-ngp's colour network],
    colours c, log densities s and pictures C over a random background:
    stage 1 `w_f |F - F*|`; stage 2 adds `0.002 |c - c*| + 0.002 |s - s*|`; stage 3 adds `|C - C*|`, and for a tensor_vm
    `1e-4 sum mean|factor|`. If not both have comparable features, their term is left out and stage 1 equals stage 2.

    Args:
        teacher: in the student's local frame.
        cameras: which are varied, one a step, world frame.
        sampler: of samples along local-frame rays.
        local_rays: the local frame from the world frame.
        settings: stages and weights.
        generator: of all randomness.
    """

    def __init__(
        self,
        teacher: Field,
        cameras: Cameras,
        sampler: Sampler,
        local_rays: Callable[[Rays], Rays],
        settings: PvdSettings,
        generator: torch.Generator,
    ) -> None:
        self.teacher, self.cameras, self.sampler, self.local_rays = teacher, cameras, sampler, local_rays
        self.settings, self.generator = settings, generator
        self.half = 0.5 * max(teacher.domain.extent)
        self.rays = min(settings.rays, max(MIN_RAYS, settings.samples // 64))
        self.hard_cameras = CameraPool() if settings.active else None
        self.hard_rays = RayPool() if settings.active else None

    def losses(self, student: Field, info: StepInfo) -> dict[str, Tensor]:
        """The losses of the current stage; differentiable in the student."""
        batch = self._draw()
        points = batch.samples.points(batch.rays)
        colour = info.fraction >= self.settings.feature_until or not self._comparable(student, points)
        with torch.no_grad():
            target = self._evaluate_clamped(self.teacher, points, colour)
        value = self._evaluate_clamped(student, points, colour)
        if info.fraction < self.settings.point_until or not colour:
            return self._points(value, target, info, None)
        return self._pictures(student, info, batch, value, target)

    def _draw(self) -> _Batch:
        for _ in range(MAX_ATTEMPTS):
            camera = vary_cameras(self.cameras, 1, self.generator)
            if self.hard_cameras is not None:
                camera = self.hard_cameras.draw(camera, self.generator)
            place = torch.rand(self.rays, 2, generator=self.generator, device=camera.size.device)
            pixels = (place * camera.size).floor() + 0.5
            first = torch.zeros(self.rays, dtype=torch.long, device=pixels.device)
            local = self.local_rays(camera.rays(first, pixels))
            rays = Rays(local.origins, local.directions)
            hard = None if self.hard_rays is None else self.hard_rays.draw(self.rays, self.generator)
            if hard is not None:
                rays = Rays.cat([rays, hard.rays])
            samples = self.sampler(rays)
            if len(samples):
                batch = _Batch(camera, rays, samples, hard, self.rays)
                per_ray = len(samples) / len(rays)
                self.rays = int(min(max(self.settings.samples / per_ray, MIN_RAYS), self.settings.rays))
                return batch
        raise ValueError(f"pvd: {MAX_ATTEMPTS} cameras saw nothing of the teacher; check its occupancy and the cameras")

    def _comparable(self, student: Field, points: Points) -> bool:
        """Whether teacher and student have comparable features."""
        with torch.no_grad():
            first = points[:1]
            value, target = (_evaluate(field, first, colour=False)[1] for field in (student, self.teacher))
        return value is not None and target is not None and value.shape == target.shape

    def _evaluate_clamped(self, field: Field, points: Points, colour: bool) -> _Evaluation:
        sample, hidden = _evaluate(field, points, colour)
        low, high = (math.exp(bound) / self.half for bound in self.settings.log_density)
        density = sample.density.clamp(low, high)
        rgb = sample.rgb if colour else density.new_zeros(len(density), 3)
        return _Evaluation(density, (density * self.half).log(), rgb, hidden)

    def _points(
        self, value: _Evaluation, target: _Evaluation, info: StepInfo, chosen: Bool[Tensor, " sample"] | None
    ) -> dict[str, Tensor]:
        """Losses at samples: features alone in stage 1."""
        rows = slice(None) if chosen is None else chosen
        weight, losses = self.settings.point_weight, {}
        log_density = value.log_density - target.log_density
        if value.hidden is not None and target.hidden is not None and value.hidden.shape == target.hidden.shape:
            features = torch.cat([log_density[:, None], value.hidden[:, 1:] - target.hidden[:, 1:]], -1)
            losses["feature"] = self.settings.feature_weight(info.fraction) * _norm(features[rows])
            if info.fraction < self.settings.feature_until:
                return losses
        losses["colour"] = weight * _norm((value.rgb - target.rgb)[rows])
        losses["density"] = weight * _norm(log_density[rows])
        return losses

    def _pictures(
        self, student: Field, info: StepInfo, batch: _Batch, value: _Evaluation, target: _Evaluation
    ) -> dict[str, Tensor]:
        """Losses of stage 3; hard cameras and rays are recorded."""
        background = torch.rand(len(batch.rays), 3, generator=self.generator, device=batch.samples.t0.device)
        picture, target_picture = _composite(value, batch.samples), _composite(target, batch.samples)
        error = _over(picture, background) - _over(target_picture, background)
        chosen = None
        if self.settings.active:
            self._record(batch, error.detach(), info.fraction)
            chosen = surface_samples(picture.weights.detach(), picture.opacity.detach(), batch.samples)
            chosen |= surface_samples(target_picture.weights, target_picture.opacity, batch.samples)
        losses = {"pixels": _norm(error), **self._points(value, target, info, chosen)}
        if student.config.kind == "tensor_vm" and self.settings.l1:
            factors = [p for name, p in student.named_parameters() if name.startswith("density_")]
            losses["l1"] = self.settings.l1 * torch.stack([factor.abs().mean() for factor in factors]).sum()
        return losses

    def _record(self, batch: _Batch, error: Float[Tensor, "ray 3"], fraction: float) -> None:
        assert self.hard_cameras is not None and self.hard_rays is not None
        psnr = -10.0 * torch.log10(error[: batch.camera_rays].square().mean().clamp_min(1e-12))
        self.hard_cameras.update(batch.camera, float(psnr), fraction, self.generator)
        slots = None if batch.hard is None else batch.hard.slots
        self.hard_rays.update(batch.rays, error.abs().sum(-1), slots, fraction)

    def state(self) -> dict[str, Any]:
        """Number of rays and pools; the generator belongs to the trainee."""
        pools = {}
        if self.hard_cameras is not None and self.hard_rays is not None:
            pools = {"cameras": self.hard_cameras.state(), "hard_rays": self.hard_rays.state()}
        return {"rays": self.rays, **pools}

    def load_state(self, state: dict[str, Any]) -> None:
        self.rays = state["rays"]
        if self.hard_cameras is not None and self.hard_rays is not None:
            self.hard_cameras.load_state(state["cameras"], self.cameras[:1])
            self.hard_rays.load_state(state["hard_rays"])


def _evaluate(field: Field, points: Points, colour: bool) -> tuple[FieldSample, Tensor | None]:
    if isinstance(field, _Featured):
        return field.query_hidden(points, colour=colour)
    return field.query(points) if colour else FieldSample(field.density(points.positions), {}), None


def _norm(difference: Tensor) -> Tensor:
    """Frobenius norm, not averaged; gradient 0 where it is 0."""
    return torch.linalg.vector_norm(difference)


def _composite(value: _Evaluation, samples: RaySamples) -> Composited:
    return composite(value.density, value.rgb, samples.t0, samples.t1, samples.offsets)


def _over(picture: Composited, background: Float[Tensor, "ray 3"]) -> Float[Tensor, "ray 3"]:
    return picture.channels + (1.0 - picture.opacity)[:, None] * background
