"""PVD-AL's pools of hard cameras, rays and points, on synthetic errors."""

import pytest
import torch

from volkit.distillation.pvd_active import CameraPool, RayPool, rotate_randomly, surface_samples
from volkit.geometry import Cameras, Rays, RaySamples


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _orbit(count: int) -> Cameras:
    turn = torch.arange(count) * (6.28 / count)
    centres = torch.stack([3.0 * turn.cos(), 3.0 * turn.sin(), torch.full_like(turn, 0.5)], -1)
    return Cameras.looking_at(centres, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]), 40.0, (32, 32))


def test_camera_pool_holds_the_worst_poses_with_their_own_errors() -> None:
    generator = _generator(3)
    cameras = _orbit(20)
    pool, place = CameraPool(), {tuple(c.tolist()): i for i, c in enumerate(cameras.centres)}
    fraction = 0.0
    for _ in range(7):
        for index in torch.randperm(20, generator=generator).tolist():  # shuffled, as a loader does
            fraction += 1.0001 / (96 * 20)
            pool.update(cameras[index : index + 1], 10.0 + index, fraction, generator)
    held = [place[tuple(camera.centres[0].tolist())] for camera in pool.pool]
    assert pool.full and len(held) == 8  # epochs 4 to 7, a tenth of 20 each
    assert set(held) == {0, 1}


def test_camera_pool_is_quiet_for_three_epochs_and_then_replaces_a_tenth() -> None:
    generator = _generator(4)
    cameras = _orbit(40)
    pool, fresh = CameraPool(), cameras[39:]
    _fill(pool, cameras, 3, generator)
    assert not pool.pool
    _fill(pool, cameras, 4, generator)
    assert pool.full
    drawn = [pool.draw(fresh, generator) for _ in range(2000)]
    hard = [camera for camera in drawn if not torch.equal(camera.world_from_camera, fresh.world_from_camera)]
    assert len(hard) / 2000 == pytest.approx(0.1, abs=0.027)  # four standard deviations of 2000 coin tosses
    assert {tuple(c.centres[0].tolist()) for c in hard} <= {tuple(c.centres[0].tolist()) for c in pool.pool}
    before, slots = list(pool.pool), list(pool.slots)
    _fill(pool, cameras, 1, generator)
    changed = [i for i, (old, new) in enumerate(zip(before, pool.pool, strict=True)) if old is not new]
    assert changed == sorted(slots)


def _fill(pool: CameraPool, cameras, epochs: int, generator: torch.Generator) -> None:
    fraction = pool.since
    for _ in range(epochs):
        for index in range(20):
            fraction += 1.0001 / (96 * 20)
            pool.update(cameras[index : index + 1], float(index), fraction, generator)


def test_turns_stay_within_nine_degrees_about_the_own_centre() -> None:
    cameras = _orbit(200)
    turned = rotate_randomly(cameras, 9.0, _generator())
    assert torch.equal(turned.centres, cameras.centres)
    old, new = cameras.world_from_camera[:, :, :3], turned.world_from_camera[:, :, :3]
    relative = old.transpose(1, 2) @ new
    assert torch.allclose(relative @ relative.transpose(1, 2), torch.eye(3), atol=1e-5)  # float32 products of rotations
    # R = Rz Ry Rx: the angles are read back from its first column and last row.
    angles = torch.stack([
        torch.atan2(relative[:, 2, 1], relative[:, 2, 2]),
        -torch.asin(relative[:, 2, 0]),
        torch.atan2(relative[:, 1, 0], relative[:, 0, 0]),
    ]).rad2deg()  # fmt: skip
    assert angles.abs().max() <= 9.001  # degrees; float32 arctangents
    assert (angles.abs().amax(1) > 8.0).all()  # the range is used about every axis
    assert (angles.amin(1) < -8.0).all()


def test_ray_pool_fills_then_swaps_its_slots() -> None:
    pool, generator = RayPool(), _generator()
    rays = Rays(torch.arange(40.0)[:, None].expand(40, 3), torch.zeros(40, 3))
    errors = torch.arange(40.0)
    pool.update(rays, errors, None, 0.0)
    assert pool.draw(40, generator) is None
    pool.update(rays, -errors, None, 0.05)  # 1500 of 30 000: full
    hard = pool.draw(40, generator)
    assert hard is not None and len(hard.rays) == 4
    assert set(hard.rays.origins[:, 0].tolist()) <= {36.0, 37.0, 38.0, 39.0, 0.0, 1.0, 2.0, 3.0}
    pool.update(Rays(rays.origins + 100, rays.directions), errors, hard.slots, 0.06)
    assert set(pool.parts[0][hard.slots, 0].tolist()) <= {136.0, 137.0, 138.0, 139.0}
    assert len(pool.parts[0]) == 8


def test_ray_pool_is_full_at_150_batches() -> None:
    pool = RayPool()
    rays = Rays(torch.zeros(10, 3), torch.zeros(10, 3))
    for count in range(1500):
        assert pool.full == (count >= 1500)
        pool.update(rays, torch.rand(10, generator=_generator(count)), None, 0.0)
    assert pool.full and len(pool.parts[0]) == 1500


def test_surface_samples_are_the_heaviest_of_solid_rays() -> None:
    offsets = torch.tensor([0, 10, 10, 14])
    ray = torch.tensor([0] * 10 + [2] * 4, dtype=torch.int32)
    weights = torch.tensor([0.0, 0.1, 0.3, 0.0, 0.2, 0.0, 0.05, 0.0, 0.0, 0.0, 0.1, 0.1, 0.1, 0.1])
    samples = RaySamples(torch.zeros(14), torch.ones(14), ray, offsets)
    chosen = surface_samples(weights, torch.tensor([0.65, 0.0, 0.4]), samples)
    assert chosen.nonzero()[:, 0].tolist() == [1, 2, 4]  # 30 % of ten; the last ray is not solid
    chosen = surface_samples(weights, torch.tensor([0.65, 0.0, 0.5]), samples)
    assert chosen[10:].sum() == 2  # 30 % of four, rounded up
