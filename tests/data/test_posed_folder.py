"""What is written for other programs opens in ours."""

import json

import pytest
import torch
from PIL import Image
from scenery import ball, ring

from volkit.data import load_photographs
from volkit.data.export import PosedFolder, read_cameras
from volkit.geometry import FISHEYE, OPENCV, Cameras, Domain
from volkit.io import FormatError


def with_lens(cameras, lens, row):
    rows = torch.tensor([row] * len(cameras))
    return Cameras(cameras.world_from_camera, cameras.intrinsics, cameras.size, lens, rows)


@pytest.mark.parametrize(
    ("lens", "row"),
    [(None, None), (OPENCV, [0.1, 0.02, 0.001, 0.002, 0.003, 0.0, 0.0, 0.0]), (FISHEYE, [0.1, 0.02, 0.003, 0.004])],
)
def test_round_trip(tmp_path, lens, row):
    cameras = ring(5) if lens is None else with_lens(ring(5), lens, row)
    names = ("train/a", "train/b", "../../c.jpg", "/images/d.png", "e")
    folder = PosedFolder(tmp_path, names, cameras, held_out=("e", "train/b"), domain=Domain.cube(1.5))
    for i, path in enumerate(folder.files):
        assert tmp_path in path.resolve().parents
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(ball(cameras, i)).save(path)
    folder.write_transforms()
    seen = load_photographs(tmp_path)
    assert torch.allclose(seen.cameras.world_from_camera, cameras.world_from_camera, atol=1e-6)  # float32 through SVD
    assert torch.equal(seen.cameras.intrinsics, cameras.intrinsics) and seen.cameras.lens == cameras.lens
    if row is not None:
        assert torch.equal(seen.cameras.coefficients, cameras.coefficients)
    assert sorted(seen.subset("test").names) == ["images/e.png", "images/train/b.png"]
    document = json.loads((tmp_path / "transforms.json").read_text())
    assert document["aabb_scale"] == 1 and document["scale"] == pytest.approx(1 / 3) and document["offset"] == [0.5] * 3
    for path in folder.files:
        path.unlink()
    listed, alone = read_cameras(tmp_path / "transforms.json")
    assert listed == seen.names and torch.equal(alone.world_from_camera, seen.cameras.world_from_camera)
    rays = alone.rays(torch.zeros(1, dtype=torch.long), torch.tensor([[3.5, 4.5]]))
    assert bool(rays.directions.isfinite().all())


def test_names_that_meet_are_numbered(tmp_path):
    folder = PosedFolder(tmp_path, ("a.png", "../a.jpg", "b"), ring(3))
    assert [path.name for path in folder.files] == ["00000.png", "00001.png", "00002.png"]


def test_lenses_that_the_file_cannot_say(tmp_path):
    cameras = with_lens(ring(2), OPENCV, [0.1, 0.0, 0.0, 0.0, 0.0, 0.05, 0.0, 0.0])
    with pytest.raises(FormatError, match="no place for the lens terms"):
        PosedFolder(tmp_path, ("a", "b"), cameras).write_transforms()
    assert not list(tmp_path.iterdir())


def test_cameras_without_sizes_are_refused(tmp_path):
    (tmp_path / "transforms.json").write_text(
        json.dumps({"fl_x": 1.0, "frames": [{"file_path": "a", "transform_matrix": torch.eye(4).tolist()}]})
    )
    with pytest.raises(FormatError, match="has no sizes"):
        read_cameras(tmp_path)
