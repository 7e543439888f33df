"""Scenes that others made: NeRF-Synthetic chair, instant-ngp fox, torch-instant-ngp trivial."""

import torch

from volkit.data import load_photographs
from volkit.geometry import OPENCV, PINHOLE


def test_chair(shared_data):
    seen = load_photographs(shared_data / "images" / "chair", size=100)
    assert seen.split.count("train") == 100 and seen.split.count("test") == 25
    assert seen.has_alpha and seen.cameras.lens == PINHOLE and seen.images[0].shape == (100, 100, 4)
    # Focal length of the published scene: 1111.11 pixels at 800.
    assert torch.allclose(seen.cameras.intrinsics[0], torch.tensor([1111.111 / 8, 1111.111 / 8, 50.0, 50.0]))
    assert not seen.domain.contracted
    # Published bounds are 1.5; the chair itself is about 1.4 x 1.4 x 2.1.
    assert all(-1.5 < low < -0.6 for low in seen.domain.lower) and all(0.6 < high < 1.5 for high in seen.domain.upper)
    # Cameras stand 4.03 away; published near is 2.
    assert 0.8 < seen.near < 2.4


def test_fox(shared_data):
    seen = load_photographs(shared_data / "images" / "fox", size=96, holdout=8)
    assert len(seen) == 50 and seen.split.count("test") == 7 and seen.cameras.lens == OPENCV
    assert any("17 of 67 listed pictures do not exist" in note for note in seen.notes)
    assert seen.images[0].shape == (96, 54, 3)
    assert torch.allclose(
        seen.cameras.intrinsics[0], torch.tensor([1375.52, 1374.49, 554.558, 965.268]) / 20, rtol=1e-5
    )
    assert seen.domain.contracted and 3.0 < 0.5 * max(seen.domain.extent) < 7.0
    # Every camera looks at the middle of the domain: it is in the picture.
    for camera in range(len(seen)):
        pixel, depth = seen.cameras.project(camera, torch.tensor([seen.domain.centre]))
        inside = (pixel[0] > 0) & (pixel[0] < seen.cameras.size[camera])
        assert depth > 0 and bool(inside.all())


def test_trivial(shared_data):
    seen = load_photographs(shared_data / "images" / "trivial", size=128)
    assert len(seen) == 5 and seen.has_alpha and not seen.domain.contracted
    # Zero distortion is no distortion.
    assert seen.cameras.lens == PINHOLE
