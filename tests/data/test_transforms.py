"""Blender, nerfstudio and instant-ngp datasets."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scenery import CENTRE, RADIUS, assert_same_cameras, ball, blender, nerfstudio, rewrite, ring

from volkit.data import load_photographs
from volkit.geometry import FISHEYE, OPENCV, PINHOLE
from volkit.io import FormatError


def test_blender_splits_and_what_is_none(tmp_path):
    train, test = ring(8), ring(3)
    blender(tmp_path, train, "train")
    blender(tmp_path, test, "test")
    rewrite(tmp_path, {"frames": []}, "transforms_test_all200.json")
    seen = load_photographs(tmp_path)
    assert seen.split == ("train",) * 8 + ("test",) * 3
    assert seen.names[0] == "train/view_000" and seen.has_alpha
    assert_same_cameras(seen.subset("train").cameras, train)
    assert torch.equal(seen.images[1], torch.from_numpy(ball(train, 1)))
    assert seen.cameras.lens == PINHOLE and seen.world_from_file.is_identity
    alone = load_photographs(tmp_path / "transforms_test.json")
    assert set(alone.split) == {"test"} and len(alone) == 3


def test_the_box_holds_the_ball(tmp_path):
    blender(tmp_path, ring(12, (160, 160), 180.0), "train")
    seen = load_photographs(tmp_path)
    assert not seen.domain.contracted
    lower, upper = torch.tensor(seen.domain.lower), torch.tensor(seen.domain.upper)
    assert bool((lower <= CENTRE - RADIUS).all()) and bool((upper >= CENTRE + RADIUS).all())
    # Twelve silhouettes leave corners that no camera refutes, and the lattice adds two cells.
    assert bool((upper - lower < 2 * RADIUS * 1.5).all())
    assert 0.5 < seen.near < 2.5


def test_nerfstudio_with_its_own_splits(tmp_path):
    cameras = ring(6)
    document = nerfstudio(tmp_path, cameras, alpha=False)
    files = [frame["file_path"] for frame in document["frames"]]
    rewrite(
        tmp_path, {**document, "train_filenames": files[:3], "val_filenames": files[3:4], "test_filenames": files[4:5]}
    )
    seen = load_photographs(tmp_path)
    assert seen.split == ("train",) * 3 + ("val", "test")
    assert any("1 frames belong to no split" in note for note in seen.notes)
    assert not seen.has_alpha and seen.domain.contracted
    assert_same_cameras(seen.cameras, cameras[:5])


def test_holdout_counts_existing_pictures(tmp_path):
    nerfstudio(tmp_path, ring(10), alpha=False)
    (tmp_path / "images" / "view_000.png").unlink()
    (tmp_path / "images" / "view_004.png").unlink()
    seen = load_photographs(tmp_path, holdout=3)
    held = [name for name, split in zip(seen.names, seen.split, strict=True) if split == "test"]
    assert held == ["images/view_001.png", "images/view_005.png", "images/view_008.png"]
    assert any("2 of 10 listed pictures do not exist" in note for note in seen.notes)


def test_lens_of_the_file_and_of_a_frame(tmp_path):
    document = nerfstudio(tmp_path, ring(5), alpha=False, k1=0.06, k2=-0.08, p1=-0.001, p2=0.0002, k3=0.01)
    document["frames"][2] |= {"k1": 0.03, "fl_x": 60.0, "cx": 20.0}
    rewrite(tmp_path, document)
    cameras = load_photographs(tmp_path).cameras
    assert cameras.lens == OPENCV and cameras.coefficients is not None
    assert torch.allclose(cameras.coefficients[0], torch.tensor([0.06, -0.08, -0.001, 0.0002, 0.01, 0, 0, 0]))
    assert cameras.coefficients[2, 0] == pytest.approx(0.03)
    assert cameras.intrinsics[2].tolist() == [60.0, 50.0, 20.0, 20.0]
    _rays_come_back(cameras)


def test_fisheye(tmp_path):
    extra = {"camera_model": "OPENCV_FISHEYE", "k1": 0.05, "k2": -0.01, "k3": 0.002, "k4": -0.0003}
    nerfstudio(tmp_path, ring(4, focal=20.0), alpha=False, **extra)
    cameras = load_photographs(tmp_path).cameras
    assert cameras.lens == FISHEYE
    _rays_come_back(cameras)


def _rays_come_back(cameras):
    """A point on the ray of a pixel projects to that pixel."""
    width, height = cameras.size[1].tolist()
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    pixels = torch.stack([x, y], -1).reshape(-1, 2)
    rays = cameras.rays(torch.ones(len(pixels), dtype=torch.long), pixels)
    again, _ = cameras.project(1, rays.origins + 2.5 * rays.directions)
    assert (again - pixels).abs().max() < 1e-3  # float32 rotations of points 3 units away, 20 to 60 pixels a unit


def test_masks_are_read_at_the_pictures_size(tmp_path):
    document = nerfstudio(tmp_path, ring(4), alpha=False)
    mask = np.zeros((40, 48), np.uint8)
    mask[:20] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    document["frames"][0]["mask_path"] = "mask.png"
    rewrite(tmp_path, document)
    seen = load_photographs(tmp_path, size=24)
    assert seen.masks[1] is None and seen.masks[0] is not None
    assert seen.masks[0].shape == seen.images[0].shape[:2] == (20, 24)
    assert bool((seen.masks[0][:10] == 255).all()) and bool((seen.masks[0][10:] == 0).all())


def test_other_sizes_than_listed_are_followed(tmp_path):
    document = nerfstudio(tmp_path, ring(4), alpha=False)
    rewrite(tmp_path, {**document, "w": 96, "h": 80, "fl_x": 100.0, "fl_y": 100.0, "cx": 48.0, "cy": 40.0})
    seen = load_photographs(tmp_path)
    assert_same_cameras(seen.cameras, ring(4))
    assert any("intrinsics rescaled for 4 pictures: listed 96x80, found 48x40" in note for note in seen.notes)
    rewrite(tmp_path, {**document, "w": 96, "h": 40})
    with pytest.raises(FormatError, match="another aspect ratio"):
        load_photographs(tmp_path)


def test_pictures_of_different_sizes_live_together(tmp_path):
    document = nerfstudio(tmp_path, ring(4), alpha=False)
    Image.fromarray(ball(ring(4, (96, 80), 100.0), 1, alpha=False)).save(tmp_path / "images" / "view_001.png")
    document["frames"][1] |= {"w": 96, "h": 80, "fl_x": 100.0, "fl_y": 100.0, "cx": 48.0, "cy": 40.0}
    rewrite(tmp_path, document)
    seen = load_photographs(tmp_path)
    assert [tuple(image.shape[:2]) for image in seen.images] == [(40, 48), (80, 96), (40, 48), (40, 48)]
    small = load_photographs(tmp_path, size=24)
    assert {tuple(image.shape[:2]) for image in small.images} == {(20, 24)}
    assert torch.allclose(small.cameras.intrinsics[0], small.cameras.intrinsics[1])


def test_instant_ngp_extras(tmp_path):
    nerfstudio(tmp_path, ring(4), alpha=False, aabb_scale=4, scale=0.5, offset=[0.5, 0.5, 0.25])
    assert any("-4.00..4.00, -4.00..4.00, -3.50..4.50" in note for note in load_photographs(tmp_path).notes)


def test_names_without_suffix_and_with_backslashes(tmp_path):
    document = nerfstudio(tmp_path, ring(3))
    for frame in document["frames"]:
        frame["file_path"] = ".\\" + frame["file_path"].removesuffix(".png").replace("/", "\\")
    rewrite(tmp_path, document)
    assert load_photographs(tmp_path).names[0] == "images/view_000"


def test_times_are_kept(tmp_path):
    document = nerfstudio(tmp_path, ring(3))
    for index, frame in enumerate(document["frames"]):
        frame["time"] = index / 2
    rewrite(tmp_path, document)
    assert load_photographs(tmp_path).cameras.time.tolist() == [0.0, 0.5, 1.0]


BROKEN = {
    "NaN": lambda d: d["frames"][1]["transform_matrix"][0].__setitem__(3, math.nan),
    "singular": lambda d: d["frames"][1].update(transform_matrix=[[1.0, 1.0, 0.0, 0.0]] * 3 + [[0.0, 0, 0, 1]]),
    "mirrored": lambda d: [row.__setitem__(0, -row[0]) for row in d["frames"][1]["transform_matrix"]],
    "not a matrix": lambda d: d["frames"][1].update(transform_matrix="identity"),
    "shape": lambda d: d["frames"][1].update(transform_matrix=[[1.0, 0.0], [0.0, 1.0]]),
    "no transform_matrix": lambda d: d["frames"][1].pop("transform_matrix"),
    "no file_path": lambda d: d["frames"][1].pop("file_path"),
    "lists no cameras": lambda d: d.update(frames=[]),
    "no list of frames": lambda d: d.pop("frames"),
    "focal length": lambda d: [d.pop("fl_x"), d.pop("fl_y")],
    "'fl_x' is": lambda d: d.update(fl_x="wide"),
    "'cx' is nan": lambda d: d.update(cx=math.nan),
    "k4 of a perspective": lambda d: d.update(k4=0.1),
    "camera_model 'EQUIRECTANGULAR'": lambda d: d.update(camera_model="EQUIRECTANGULAR"),
    "none of its": lambda d: [frame.update(file_path="gone/" + frame["file_path"]) for frame in d["frames"]],
}


@pytest.mark.parametrize("fact", BROKEN)
def test_broken_files_are_named(tmp_path, fact):
    document = nerfstudio(tmp_path, ring(3))
    BROKEN[fact](document)
    rewrite(tmp_path, document)
    with pytest.raises(FormatError, match=rf"transforms\.json: .*{fact}.*; "):
        load_photographs(tmp_path)


@pytest.mark.parametrize("text", ["", "{", '{"frames": [', "[1, 2]", "\x00\x01", "[" * 100000])
def test_truncated_and_foreign_json(tmp_path, text):
    (tmp_path / "transforms.json").write_text(text)
    with pytest.raises(FormatError, match=r"transforms\.json"):
        load_photographs(tmp_path)


def test_no_dataset_at_all(tmp_path):
    with pytest.raises(FormatError, match="no such file or folder"):
        load_photographs(tmp_path / "missing")
    with pytest.raises(FormatError, match="not a dataset of a known convention"):
        load_photographs(tmp_path)
