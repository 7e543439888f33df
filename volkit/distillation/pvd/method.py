"""Progressive volume distillation, PVD and PVD-AL, as baselines: stages, losses and density treatment as published.

Fang et al. 2023 (AAAI, arXiv 2211.15977) and its successor with active learning (arXiv 2304.04012); facts from the
code, megvii-research/AAAI2023-PVD, branches main and PVD-AL. As there: one camera a step; random pixels; samples from
the teacher's occupancy, which the student keeps; the teacher asked anew at every step; un-averaged norms; log densities
clamped, with no gradient outside. Three things differ. What is counted in 30 000 iterations is counted in fractions of
the budget. Poses are fresh variations of the given cameras, since the published samplers know three data sets by name.
And the clamp acts in training alone: a finished student answers with its own densities.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

import torch

from volkit.distillation.pvd.active import CameraPool, HardRays, RayPool, surface_samples
from volkit.geometry import Cameras, Points, Rays, RaySamples
from volkit.ops.composite import Composited, composite
from volkit.rendering.viewpoints import vary_cameras
from volkit.representations.field import Field, FieldSample
from volkit.sampling.sampler import Sampler
from volkit.training.loop import StepInfo
from volkit.typing import Bool, Float, Tensor

__all__ = ["ITERATIONS", "METHODS", "PvdRung", "PvdSettings"]

ITERATIONS = 30_000  # of a published run; what is counted in them becomes a fraction of the budget
FEWEST_RAYS = 64
ATTEMPTS = 32  # cameras tried before a scene counts as empty


@dataclass(frozen=True)
class PvdSettings:
    """Stages, weights and batch sizes; the defaults are PVD's."""

    feature_until: float = 2000 / ITERATIONS  # features alone
    point_until: float = 5000 / ITERATIONS  # features, colours and densities of points; from then on pictures too
    point_weight: float = 0.002  # of features, colours and log densities
    feature_decay: float = 0.995  # of the features' weight, per published iteration
    log_density: tuple[float, float] = (-2.0, 7.0)  # clamp; density per half the longest edge of the domain
    l1: float = 1e-4  # of the density factors of a tensor_vm
    active: bool = False
    rays: int = 4096
    samples: int = 1 << 17  # at most this many in a step: fewer rays where they are long

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
    own: int  # rays of the camera


@runtime_checkable
class _Featured(Protocol):
    """A field with a colour head whose inputs besides the direction can be compared, that of density first."""

    def query_hidden(self, points: Points, *, colour: bool = True) -> tuple[FieldSample, Tensor | None]:
        """As `query`, and those features; without `colour` no channel is answered."""
        ...


class _Answer(NamedTuple):
    density: Float[Tensor, " sample"]  # clamped, 1 / local unit
    log_density: Float[Tensor, " sample"]
    rgb: Tensor
    hidden: Tensor | None


class PvdRung:
    """The losses of PVD and PVD-AL; teacher and student answer in the same local frame.

    With Frobenius norms over the whole batch, features F = [log density, 15 inputs of instant-ngp's colour network],
    colours c, log densities s and pictures C over a random background:
    stage 1 `w_f |F - F*|`; stage 2 adds `0.002 |c - c*| + 0.002 |s - s*|`; stage 3 adds `|C - C*|`, and for a tensor_vm
    `1e-4 sum mean|factor|`. Without features on both sides stage 1 becomes stage 2, and its term is left out.
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
        self.rays = min(settings.rays, max(FEWEST_RAYS, settings.samples // 64))
        self.hard_cameras = CameraPool() if settings.active else None
        self.hard_rays = RayPool() if settings.active else None

    def losses(self, student: Field, moment: StepInfo) -> dict[str, Tensor]:
        """The losses of the stage that the moment is in."""
        batch = self._draw()
        points = batch.samples.points(batch.rays)
        colour = moment.fraction >= self.settings.feature_until or not self._alike(student, points)
        with torch.no_grad():
            theirs = self._answer(self.teacher, points, colour)
        ours = self._answer(student, points, colour)
        if moment.fraction < self.settings.point_until or not colour:
            return self._points(ours, theirs, moment, None)
        return self._pictures(student, moment, batch, ours, theirs)

    def _draw(self) -> _Batch:
        for _ in range(ATTEMPTS):
            camera = vary_cameras(self.cameras, 1, self.generator)
            if self.hard_cameras is not None:
                camera = self.hard_cameras.draw(camera, self.generator)
            place = torch.rand(self.rays, 2, generator=self.generator, device=camera.size.device)
            pixels = (place * camera.size).floor() + 0.5
            first = torch.zeros(self.rays, dtype=torch.long, device=pixels.device)
            drawn = self.local_rays(camera.rays(first, pixels))
            rays = Rays(drawn.origins, drawn.directions)
            hard = None if self.hard_rays is None else self.hard_rays.draw(self.rays, self.generator)
            if hard is not None:
                rays = Rays.cat([rays, hard.rays])
            samples = self.sampler(rays)
            if len(samples):
                batch = _Batch(camera, rays, samples, hard, self.rays)
                per_ray = len(samples) / len(rays)
                self.rays = int(min(max(self.settings.samples / per_ray, FEWEST_RAYS), self.settings.rays))
                return batch
        raise ValueError(f"pvd: {ATTEMPTS} cameras saw nothing of the teacher; check its occupancy and the cameras")

    def _alike(self, student: Field, points: Points) -> bool:
        """Whether teacher and student have features that can be compared."""
        with torch.no_grad():
            some = points[:1]
            ours, theirs = (_asked(field, some, colour=False)[1] for field in (student, self.teacher))
        return ours is not None and theirs is not None and ours.shape == theirs.shape

    def _answer(self, field: Field, points: Points, colour: bool) -> _Answer:
        sample, hidden = _asked(field, points, colour)
        low, high = (math.exp(bound) / self.half for bound in self.settings.log_density)
        density = sample.density.clamp(low, high)
        rgb = sample.rgb if colour else density.new_zeros(len(density), 3)
        return _Answer(density, (density * self.half).log(), rgb, hidden)

    def _points(
        self, ours: _Answer, theirs: _Answer, moment: StepInfo, chosen: Bool[Tensor, " sample"] | None
    ) -> dict[str, Tensor]:
        """Losses at points: features alone in stage 1."""
        some = slice(None) if chosen is None else chosen
        weight, losses = self.settings.point_weight, {}
        log_density = ours.log_density - theirs.log_density
        if ours.hidden is not None and theirs.hidden is not None and ours.hidden.shape == theirs.hidden.shape:
            features = torch.cat([log_density[:, None], ours.hidden[:, 1:] - theirs.hidden[:, 1:]], -1)
            losses["feature"] = self.settings.feature_weight(moment.fraction) * _norm(features[some])
            if moment.fraction < self.settings.feature_until:
                return losses
        losses["colour"] = weight * _norm((ours.rgb - theirs.rgb)[some])
        losses["density"] = weight * _norm(log_density[some])
        return losses

    def _pictures(
        self, student: Field, moment: StepInfo, batch: _Batch, ours: _Answer, theirs: _Answer
    ) -> dict[str, Tensor]:
        """Losses of stage 3; what is hard is remembered."""
        background = torch.rand(len(batch.rays), 3, generator=self.generator, device=batch.samples.t0.device)
        drawn, truth = _composited(ours, batch.samples), _composited(theirs, batch.samples)
        error = _over(drawn, background) - _over(truth, background)
        chosen = None
        if self.settings.active:
            self._learn(batch, error.detach(), moment.fraction)
            chosen = surface_samples(drawn.weights.detach(), drawn.opacity.detach(), batch.samples)
            chosen |= surface_samples(truth.weights, truth.opacity, batch.samples)
        losses = {"pixels": _norm(error), **self._points(ours, theirs, moment, chosen)}
        if student.config.kind == "tensor_vm" and self.settings.l1:
            factors = [p for name, p in student.named_parameters() if name.startswith("density_")]
            losses["l1"] = self.settings.l1 * torch.stack([factor.abs().mean() for factor in factors]).sum()
        return losses

    def _learn(self, batch: _Batch, error: Float[Tensor, "ray 3"], fraction: float) -> None:
        assert self.hard_cameras is not None and self.hard_rays is not None
        psnr = -10.0 * torch.log10(error[: batch.own].square().mean().clamp_min(1e-12))
        self.hard_cameras.learn(batch.camera, float(psnr), fraction, self.generator)
        slots = None if batch.hard is None else batch.hard.slots
        self.hard_rays.learn(batch.rays, error.abs().sum(-1), slots, fraction)

    def state(self) -> dict[str, Any]:
        """Batch size and pools; randomness is the owner's."""
        pools = {}
        if self.hard_cameras is not None and self.hard_rays is not None:
            pools = {"cameras": self.hard_cameras.state(), "hard_rays": self.hard_rays.state()}
        return {"rays": self.rays, **pools}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up `state()`."""
        self.rays = state["rays"]
        if self.hard_cameras is not None and self.hard_rays is not None:
            self.hard_cameras.load_state(state["cameras"], self.cameras[:1])
            self.hard_rays.load_state(state["hard_rays"])


def _asked(field: Field, points: Points, colour: bool) -> tuple[FieldSample, Tensor | None]:
    if isinstance(field, _Featured):
        return field.query_hidden(points, colour=colour)
    return field.query(points) if colour else FieldSample(field.density(points.positions), {}), None


def _norm(difference: Tensor) -> Tensor:
    """Frobenius norm, not averaged; gradient 0 where it is 0."""
    return torch.linalg.vector_norm(difference)


def _composited(answer: _Answer, samples: RaySamples) -> Composited:
    return composite(answer.density, answer.rgb, samples.t0, samples.t1, samples.offsets)


def _over(drawn: Composited, background: Float[Tensor, "ray 3"]) -> Float[Tensor, "ray 3"]:
    return drawn.channels + (1.0 - drawn.opacity)[:, None] * background
