"""LLFF scenes."""

import numpy as np
import pytest
import torch
from scenery import ring, save_pictures

from volkit.data import load_photographs
from volkit.io import FormatError


def dataset(folder, cameras, pictures="images", scale=1):
    save_pictures(folder / pictures, cameras, alpha=False)
    rows = []
    for i in range(len(cameras)):
        right, down, forward, centre = cameras.world_from_camera[i].double().numpy().T
        width, height = (cameras.size[i] * scale).tolist()
        size = [height, width, cameras.intrinsics[i, 0].item() * scale]
        matrix = np.stack([down, right, -forward, centre, size], -1)
        rows.append([*matrix.flatten(), 1.5, 9.0])
    np.save(folder / "poses_bounds.npy", np.array(rows))


def test_poses_and_bounds(tmp_path):
    cameras = ring(6)
    dataset(tmp_path, cameras)
    seen = load_photographs(tmp_path, up="z", unit_scale=2.0)
    assert torch.allclose(seen.cameras.world_from_camera[:, :, :3], cameras.world_from_camera[:, :, :3], atol=1e-5)
    assert torch.allclose(seen.cameras.centres, 2 * cameras.centres, atol=1e-5)  # float32
    assert torch.allclose(seen.cameras.intrinsics, cameras.intrinsics)
    assert seen.domain.contracted and seen.near == pytest.approx(0.9 * 1.5 * 2.0)


def test_shrunken_copies_are_used_where_there_is_nothing_else(tmp_path):
    dataset(tmp_path, ring(5), "images_4", scale=4)
    seen = load_photographs(tmp_path)
    assert torch.allclose(seen.cameras.intrinsics, ring(5).intrinsics)
    assert any("listed 192x160, found 48x40" in note for note in seen.notes)


def test_cameras_that_look_the_same_way(tmp_path):
    from volkit.geometry import Cameras

    centres = torch.stack([torch.linspace(-0.5, 0.5, 5), torch.zeros(5), 0.2 * torch.arange(5.0)], -1)
    cameras = Cameras.looking_at(
        centres, centres + torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, 1.0]), 50.0, (48, 40)
    )
    dataset(tmp_path, cameras)
    seen = load_photographs(tmp_path)
    assert seen.domain.contracted
    # Harmonic mean of the bounds 1.5 and 9: the middle of the scene in inverse depth.
    assert seen.domain.centre[1] == pytest.approx(2 / (1 / 1.5 + 1 / 9.0), abs=0.05)


def test_broken_files(tmp_path):
    dataset(tmp_path, ring(4))
    path = tmp_path / "poses_bounds.npy"
    whole, data = np.load(path), path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(FormatError, match=r"no \.npy file"):
        load_photographs(tmp_path)
    np.save(path, np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(FormatError, match=r"no \.npy file"):
        load_photographs(tmp_path)
    np.save(path, whole[:, :15])
    with pytest.raises(FormatError, match="has shape"):
        load_photographs(tmp_path)
    np.save(path, whole[:3])
    with pytest.raises(FormatError, match="3 poses, and no folder"):
        load_photographs(tmp_path)
    whole[2, 3] = np.nan
    np.save(path, whole)
    with pytest.raises(FormatError, match="NaN"):
        load_photographs(tmp_path)
