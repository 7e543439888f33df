"""Steps for learning follow the pictures' pixels, within bounds, whatever the frame and its scale."""

from dataclasses import replace

import pytest
import torch

from volkit.distillation.students import default_config
from volkit.geometry import Cameras, Domain
from volkit.representations import REPRESENTATIONS, SplatsConfig
from volkit.sampling import learning_stride, stride_for


def _field(contracted: bool = False, scale: float = 1.0):
    domain = Domain((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0), contracted=contracted)
    field = REPRESENTATIONS["planes"](resolution=4, scales=(1,)).build(domain, torch.Generator().manual_seed(0))
    field = field.view(placement=replace(field.world_from_local, scale=scale))
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


def test_a_hash_grid_is_no_finer_than_a_quarter_of_a_pixel():
    field = _field()
    finest = lambda config: config.base_resolution * config.per_level_scale ** (config.levels - 1)  # noqa: E731
    suits = lambda pixels: finest(  # noqa: E731
        default_config("hash_grid", field.domain, field.world_from_local, _cameras(4.0, pixels), SplatsConfig())
    )
    # a box of 2 units, pixels of 4 / (1.4 pixels) units, 4 cells a pixel
    assert suits(200) == pytest.approx(4 * 2 / (4.0 / 280), rel=1e-4)
    assert suits(8000) == pytest.approx(2048, rel=1e-6)  # never finer than its paper's
    assert suits(2) == pytest.approx(32, rel=1e-6)  # nor coarser than twice its coarsest level
    assert (
        default_config("hash_grid", field.domain, field.world_from_local, None, SplatsConfig())
        == REPRESENTATIONS["hash_grid"]()
    )
