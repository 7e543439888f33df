"""What a prior is told about cameras and ground, as numbers."""

import math

import pytest
import torch

from volkit.geometry import Cameras
from volkit.guidance.prompts import CAMERA_ENCODINGS, encode_circle


def camera(azimuth, elevation, distance=3.0, focal=20.0, side=8):
    a, e = math.radians(azimuth), math.radians(elevation)
    centre = torch.tensor([[math.sin(a) * math.cos(e), -math.cos(a) * math.cos(e), math.sin(e)]]) * distance
    return Cameras.looking_at(centre, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]), focal, (side, side))


def test_numbers_of_the_circle():
    """By hand at 30° to the right and 60° up: sin and cos of 30, 60, 90; of 60, 120; and cos 30 cos 60."""
    (said,) = encode_circle(camera(30.0, 60.0), torch.tensor([1.0, 0.5, 0.0])).tolist()
    r = math.sqrt(3.0) / 2.0
    width = 4.0 * math.log2(3.0 * 4.0 / 20.0)
    turns, tilts = [0.5, r, r, 0.5, 1.0, 0.0], [r, 0.5, r, -0.5]
    assert said == pytest.approx([1.0, 1.0, 0.0, -1.0, width, *turns, *tilts, 0.5 * r], abs=1e-5)


def test_numbers_of_the_circle_know_no_size_of_pictures():
    ground = torch.rand(3)
    small, large = (encode_circle(camera(-70.0, 10.0, focal=f, side=n), ground) for f, n in ((20.0, 8), (160.0, 64)))
    torch.testing.assert_close(small, large)
    cameras = Cameras.cat([camera(a, 10.0) for a in (0.0, 90.0)])
    each = torch.rand(2, 3)
    both = encode_circle(cameras, each)
    torch.testing.assert_close(both[1:], encode_circle(cameras[slice(1, 2)], each[1]))


@pytest.mark.parametrize("name", CAMERA_ENCODINGS)
def test_every_language_says_sixteen_numbers(name):
    cameras = Cameras.cat([camera(a, 10.0) for a in (0.0, 90.0, 200.0)])
    said = CAMERA_ENCODINGS[name](cameras, torch.ones(3))
    assert said.shape == (3, 16) and bool(torch.isfinite(said).all())
    # Cameras are told apart, but by who says nothing.
    assert (said[0] - said[1]).abs().max() > 0.1 or (name == "silent" and not said.any())
