"""Steps for learning follow the pictures' pixels, within bounds, whatever the frame and its scale."""

from dataclasses import replace

import pytest
import torch

from volkit.geometry import Cameras, Domain
from volkit.representations import REPRESENTATIONS
from volkit.sampling import learning_stride, stride_for


def _field(contracted: bool = False, scale: float = 1.0):
    domain = Domain((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0), contracted=contracted)
    field = REPRESENTATIONS["planes"](resolution=4, scales=(1,)).build(domain, torch.Generator().manual_seed(0))
    field.world_from_local = replace(field.world_from_local, scale=scale)
    return field


def _cameras(distance: float, pixels: int) -> Cameras:
    up = torch.tensor([0.0, 0.0, 1.0])
    return Cameras.looking_at(distance * torch.eye(3), torch.zeros(3), up, 1.4 * pixels, (pixels, pixels))


@pytest.mark.parametrize("scale", [1.0, 0.05])
def test_a_step_is_a_pixel_in_the_middle(scale: float):
    cameras = _cameras(4.0 * scale, 400)
    step = learning_stride(_field(scale=scale), cameras).step
    assert step == pytest.approx(4.0 / 560.0, rel=1e-4)  # distance / focal length, local units; float32 cameras


def test_neither_shorter_than_drawing_nor_much_longer():
    base = stride_for(_field().domain).step
    assert learning_stride(_field(), _cameras(4.0, 8000)).step == base
    assert learning_stride(_field(), _cameras(4.0, 20)).step == pytest.approx(4.0 * base)


def test_contracted_scenes_keep_their_own_steps():
    field = _field(contracted=True)
    assert learning_stride(field, _cameras(4.0, 100)) == stride_for(field.domain)
