"""Active learning of PVD-AL: pools of hard cameras and hard rays, and the samples at surfaces.

Facts: megvii-research/AAAI2023-PVD, branch PVD-AL. There the loader shuffles poses but errors are paired with the
unshuffled list, so that its hard cameras are random ones; here every error goes with the pose that made it. What the
published code counts in 30 000 iterations are fractions of the budget here.
"""

import math
from dataclasses import fields, replace
from typing import Any, NamedTuple

import torch

from volkit.geometry import Cameras, Rays, RaySamples
from volkit.typing import Bool, Float, Int, Tensor

__all__ = ["CameraPool", "HardRays", "RayPool", "rotate_randomly", "surface_samples"]

EPOCHS = 96  # of 312 iterations: 29 952 in all
MIN_EPOCH_STEPS = 10  # so that an epoch has a worst tenth
WARMUP_EPOCHS = 3  # before poses are collected
POOL_EPOCHS = 4  # whose worst tenths fill the pool
HARD_SHARE = 0.1  # of poses and of rays
MAX_TURN = 9.0  # degrees
RAYS_FULL = 1500 / 30_000  # of the budget, at which the published ray pool is full
RAY_BATCHES = 150  # capacity of the ray pool in batches
SURFACE_SHARE = 0.3  # of a ray's samples, by weight, that are its surface
HIT_OPACITY = 0.5  # of a ray, from which it has a surface


class CameraPool:
    """The worst tenth of every epoch's poses; when four epochs have filled it, a tenth of all poses are drawn from it.

    Drawn poses are rotated by up to 9 degrees about each of their axes, and the slots that an epoch drew from are
    overwritten with its worst poses. An epoch is 1/96 of the budget and at least ten steps.
    """

    def __init__(self) -> None:
        self.pool: list[Cameras] = []
        self.slots: list[int] = []  # of the pool, drawn from in this epoch
        self.recent: list[tuple[Cameras, float]] = []  # poses of this epoch and their PSNR
        self.take, self.collected, self.epoch, self.since = 0, 0, 0, 0.0

    @property
    def full(self) -> bool:
        """Whether there are enough epochs for poses to be drawn."""
        return self.collected >= POOL_EPOCHS

    def draw(self, camera: Cameras, generator: torch.Generator) -> Cameras:
        """The camera itself, or in one of ten cases a hard one, rotated."""
        if not self.full or float(torch.rand((), generator=generator, device=generator.device)) >= HARD_SHARE:
            return camera
        slot = self.slots[int(torch.randint(len(self.slots), (), generator=generator, device=generator.device))]
        return rotate_randomly(self.pool[slot], MAX_TURN, generator)

    def update(self, camera: Cameras, psnr: float, fraction: float, generator: torch.Generator) -> None:
        """Record the student's PSNR for a camera, in dB; `fraction` of the budget ends epochs."""
        self.recent.append((camera, psnr))
        if fraction - self.since < 1.0 / EPOCHS or len(self.recent) < MIN_EPOCH_STEPS:
            return
        worst = [camera for camera, _ in sorted(self.recent, key=lambda pair: pair[1])]
        self.recent, self.since, self.epoch = [], fraction, self.epoch + 1
        if self.epoch <= WARMUP_EPOCHS:
            return
        if self.full:
            for slot, camera in zip(self.slots, worst, strict=False):
                self.pool[slot] = camera
        else:
            self.take = max(1, round(HARD_SHARE * len(worst)))
            self.pool += worst[: self.take]
            self.collected += 1
        order = torch.randperm(len(self.pool), generator=generator, device=generator.device)
        self.slots = order[: self.take].tolist()

    def state(self) -> dict[str, Any]:
        """The pool and its counters."""
        return {
            "pool": _stack(self.pool),
            "slots": list(self.slots),
            "seen": _stack([camera for camera, _ in self.recent]),
            "psnr": [psnr for _, psnr in self.recent],
            "counts": [self.take, self.collected, self.epoch],
            "since": self.since,
        }

    def load_state(self, state: dict[str, Any], like: Cameras) -> None:
        """Restore `state()`; lens model and optional members as those of `like`."""
        self.pool, self.slots = _unstack(state["pool"], like), list(state["slots"])
        self.recent = list(zip(_unstack(state["seen"], like), state["psnr"], strict=True))
        self.take, self.collected, self.epoch = state["counts"]
        self.since = state["since"]


class HardRays(NamedTuple):
    """Rays of the pool, and their slots in it."""

    rays: Rays
    slots: Int[Tensor, " ray"]


class RayPool:
    """The tenth of every batch with the largest colour errors.

    It is filled during 5 % of the budget or with up to 150 batches; from then on a tenth is added to every batch from
    random slots, which are overwritten with the batch's worst rays. Rays are in the student's local frame.
    """

    def __init__(self) -> None:
        self.parts: list[Float[Tensor, "ray 6"]] = []
        self.held = 0
        self.full = False

    def draw(self, batch: int, generator: torch.Generator) -> HardRays | None:
        """A tenth of `batch` rays from random slots; None while the pool is filled."""
        if not self.full:
            return None
        count = max(1, round(HARD_SHARE * batch))
        slots = torch.randint(self.held, (count,), generator=generator, device=self.parts[0].device)
        return HardRays(Rays(*self.parts[0][slots].split(3, -1)), slots)

    def update(
        self, rays: Rays, errors: Float[Tensor, " ray"], slots: Int[Tensor, " slot"] | None, fraction: float
    ) -> None:
        """Record the errors `sum |C - C*|` of a batch; `slots` are those that were drawn for it."""
        count = len(slots) if slots is not None else max(1, round(HARD_SHARE * len(rays)))
        worst = errors.topk(min(count, len(rays))).indices
        stored = torch.cat([rays.origins[worst], rays.directions[worst]], -1)
        if slots is not None:
            self.parts[0][slots[: len(worst)]] = stored
            return
        self.parts.append(stored)
        self.held += len(stored)
        if fraction >= RAYS_FULL or self.held >= RAY_BATCHES * len(rays):
            self.parts, self.full = [torch.cat(self.parts)], True

    def state(self) -> dict[str, Any]:
        """The pool and its counters."""
        return {"rays": [torch.cat(self.parts)] if self.parts else [], "full": self.full}

    def load_state(self, state: dict[str, Any]) -> None:
        self.parts, self.full = [part.clone() for part in state["rays"]], state["full"]
        self.held = sum(len(part) for part in self.parts)


def rotate_randomly(cameras: Cameras, degrees: float, generator: torch.Generator) -> Cameras:
    """Cameras rotated about their centres: `R <- R Rz Ry Rx`, each angle from U(-degrees, degrees)."""
    device = cameras.size.device
    unit = torch.rand(len(cameras), 3, generator=generator, device=device)
    angles = unit.mul(2.0).sub(1.0) * math.radians(degrees)
    turn = torch.eye(3, device=device).expand(len(cameras), 3, 3)
    for axis in (2, 1, 0):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        one = torch.eye(3, device=device).repeat(len(cameras), 1, 1)
        cos, sin = angles[:, axis].cos(), angles[:, axis].sin()
        one[:, i, i], one[:, i, j], one[:, j, i], one[:, j, j] = cos, -sin, sin, cos
        turn = turn @ one
    pose = cameras.world_from_camera
    return replace(cameras, world_from_camera=torch.cat([pose[:, :, :3] @ turn.to(pose), pose[:, :, 3:]], -1))


def surface_samples(
    weights: Float[Tensor, " sample"], opacity: Float[Tensor, " ray"], samples: RaySamples
) -> Bool[Tensor, " sample"]:
    """The 30 % of each ray's samples with the largest weights `T alpha` (rounded up), on rays of opacity 0.5 and more.

    One sort of (ray, weight) keys instead of the published insertion sort per ray.
    """
    ray = samples.ray.long()
    order = torch.argsort(ray.double() * 2.0 - weights.double())  # weights are at most 1: rays stay apart
    rank = torch.empty_like(ray)
    rank[order] = torch.arange(len(ray), device=ray.device) - samples.offsets[:-1][ray]
    count = samples.offsets.diff()[ray]
    return (rank < SURFACE_SHARE * count) & (opacity[ray] >= HIT_OPACITY)


def _stack(cameras: list[Cameras]) -> dict[str, Tensor]:
    if not cameras:
        return {}
    joined = Cameras.cat(cameras)
    return {f.name: value for f in fields(joined) if isinstance(value := getattr(joined, f.name), Tensor)}


def _unstack(tensors: dict[str, Tensor], like: Cameras) -> list[Cameras]:
    if not tensors:
        return []
    joined = replace(like, **tensors)
    return [joined[index : index + 1] for index in range(len(joined))]
