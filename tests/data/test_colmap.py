"""COLMAP models, binary and text, with every camera model."""

import math
import struct

import pytest
import torch
from scenery import ball, ring, save_pictures

from volkit.data import load_photographs
from volkit.data.colmap import CAMERA_MODELS, CameraRow, convert_lens
from volkit.geometry import FISHEYE, OPENCV, PINHOLE
from volkit.io import FormatError

NUMBERS = {name: number for number, (name, _) in CAMERA_MODELS.items()}
POINTS = torch.randn(150, 3, generator=torch.Generator().manual_seed(0)) * 0.3


def quaternion(rotation):
    """(w, x, y, z) of a rotation without half turns."""
    w = 0.5 * math.sqrt(max(0.0, 1 + rotation.trace().item()))
    x, y, z = ((rotation[i, j] - rotation[j, i]).item() / (4 * w) for i, j in ((2, 1), (0, 2), (1, 0)))
    return w, x, y, z


def poses(cameras):
    for i in range(len(cameras)):
        rotation = cameras.world_from_camera[i, :, :3].double().T
        yield quaternion(rotation), (-(rotation @ cameras.centres[i].double())).tolist()


def write_text(folder, cameras, model, params, names):
    folder.mkdir(parents=True)
    width, height = cameras.size[0].tolist()
    text = " ".join(map(str, params))
    (folder / "cameras.txt").write_text(f"# Camera list\n1 {model} {width} {height} {text}\n")
    lines = ["# Image list with two lines of data per image"]
    for i, ((q, t), name) in enumerate(zip(poses(cameras), names, strict=True)):
        lines += [" ".join(map(str, (i + 1, *q, *t, 1, name))), "1.5 2.5 -1 3.0 4.0 7" if i % 2 else ""]
    (folder / "images.txt").write_text("\n".join(lines) + "\n")
    rows = [f"{i} {x} {y} {z} 255 0 0 0.5 1 2" for i, (x, y, z) in enumerate(POINTS.tolist())]
    (folder / "points3D.txt").write_text("# 3D points\n" + "\n".join(rows) + "\n")


def write_binary(folder, cameras, model, params, names):
    folder.mkdir(parents=True)
    width, height = cameras.size[0].tolist()
    head = struct.pack("<QiiQQ", 1, 1, NUMBERS[model], width, height)
    (folder / "cameras.bin").write_bytes(head + struct.pack(f"<{len(params)}d", *params))
    data = struct.pack("<Q", len(cameras))
    for i, ((q, t), name) in enumerate(zip(poses(cameras), names, strict=True)):
        data += struct.pack("<i7di", i + 1, *q, *t, 1) + name.encode() + b"\0"
        data += struct.pack("<Q", 2) + struct.pack("<ddqddq", 1.5, 2.5, -1, 3.0, 4.0, 7)
    (folder / "images.bin").write_bytes(data)
    data = struct.pack("<Q", len(POINTS))
    for i, point in enumerate(POINTS.tolist()):
        data += struct.pack("<Q3d3BdQ", i, *point, 255, 0, 0, 0.5, 1) + struct.pack("<ii", 1, 2)
    (folder / "points3D.bin").write_bytes(data)


WRITERS = {"text": write_text, "binary": write_binary}


def dataset(folder, writer, model="PINHOLE", params=(50.0, 51.0, 24.5, 19.5), place="sparse/0"):
    cameras = ring(7)
    names = save_pictures(folder / "images", cameras, alpha=False)
    WRITERS[writer](folder / place, cameras, model, params, names)
    return cameras


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("place", ["sparse/0", "sparse", "colmap/sparse/0"])
def test_cameras_points_and_pictures(tmp_path, writer, place):
    cameras = dataset(tmp_path, writer, place=place)
    seen = load_photographs(tmp_path, up="z")
    assert torch.allclose(seen.cameras.world_from_camera, cameras.world_from_camera, atol=1e-5)  # via a quaternion
    assert torch.allclose(seen.cameras.intrinsics[0], torch.tensor([50.0, 51.0, 24.5, 19.5]))
    assert seen.cameras.lens == PINHOLE and seen.points is not None
    assert torch.allclose(seen.points, POINTS, atol=1e-5)  # text keeps seven digits
    assert torch.equal(seen.images[3], torch.from_numpy(ball(cameras, 3, alpha=False)))
    assert seen.names == tuple(f"view_{i:03d}.png" for i in range(7))
    model = load_photographs(tmp_path / place, up="z")
    assert torch.equal(model.cameras.world_from_camera, seen.cameras.world_from_camera)


def test_world_up_is_the_cameras_own(tmp_path):
    dataset(tmp_path, "binary")
    seen = load_photographs(tmp_path)
    assert torch.nn.functional.normalize(seen.cameras.up.mean(0), dim=0)[2] > 0.9999  # the mean turned to +Z
    back = seen.world_from_file.inverse().points(seen.points)
    assert torch.allclose(back, POINTS, atol=1e-5)  # there and back in float32


@pytest.mark.parametrize("writer", WRITERS)
def test_missing_pictures_are_skipped(tmp_path, writer):
    dataset(tmp_path, writer)
    (tmp_path / "images" / "view_002.png").unlink()
    seen = load_photographs(tmp_path)
    assert len(seen) == 6 and "view_002.png" not in seen.names
    assert any("1 of 7 listed pictures do not exist" in note for note in seen.notes)


def brown(x, y, *coefficients):
    k1, k2, p1, p2, k3, k4, k5, k6 = (*coefficients, *[0.0] * (8 - len(coefficients)))
    r2 = x * x + y * y
    radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    return x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * radial + 2 * p2 * x * y + p1 * (r2 + 2 * y * y)


def equidistant(x, y, *k):
    r = math.hypot(x, y)
    theta = math.atan(r)
    scale = theta * (1 + sum(c * theta ** (2 * n + 2) for n, c in enumerate(k))) / r
    return x * scale, y * scale


def fov(x, y, w):
    r = math.hypot(x, y)
    scale = math.atan(2 * r * math.tan(w / 2)) / w / r
    return x * scale, y * scale


# Parameters after the focal lengths and centre, lens, and the model's own formula.
LENSES = {
    "SIMPLE_RADIAL": ((0.05,), OPENCV, brown),
    "RADIAL": ((0.05, -0.02), OPENCV, brown),
    "OPENCV": ((0.05, -0.02, 0.001, -0.002), OPENCV, brown),
    "FULL_OPENCV": ((0.05, -0.02, 0.001, -0.002, 0.003, 0.01, -0.004, 0.002), OPENCV, brown),
    "SIMPLE_RADIAL_FISHEYE": ((0.03,), FISHEYE, equidistant),
    "RADIAL_FISHEYE": ((0.03, -0.01), FISHEYE, equidistant),
    "OPENCV_FISHEYE": ((0.03, -0.01, 0.002, -0.0005), FISHEYE, equidistant),
    "FOV": ((0.9,), FISHEYE, fov),
    "SIMPLE_PINHOLE": ((), PINHOLE, lambda x, y: (x, y)),
    "PINHOLE": ((), PINHOLE, lambda x, y: (x, y)),
}


@pytest.mark.parametrize("model", LENSES)
def test_lenses_draw_points_where_colmap_does(tmp_path, model):
    rest, lens, formula = LENSES[model]
    one_focal = model.startswith(("SIMPLE", "RADIAL"))
    params = ((40.0, 24.0, 20.0) if one_focal else (40.0, 42.0, 24.0, 20.0)) + rest
    truth = dataset(tmp_path, "binary", model, params)
    cameras = load_photographs(tmp_path, up="z").cameras
    assert cameras.lens == lens
    focal = (params[0], params[0 if one_focal else 1])
    points = POINTS[:40]
    local = (points - truth.centres[2]) @ truth.world_from_camera[2, :, :3]
    pixels, _ = cameras.project(2, points)
    for pixel, (x, y, z) in zip(pixels.tolist(), local.tolist(), strict=True):
        u, v = formula(x / z, y / z, *rest)
        wanted = (focal[0] * u + 24.0, focal[1] * v + 20.0)
        assert math.dist(pixel, wanted) < (0.05 if model == "FOV" else 2e-3)  # a fitted polynomial; float32 poses
    rays = cameras.rays(torch.full((40,), 2), pixels)
    away = torch.linalg.cross(points - rays.origins, rays.directions).norm(dim=-1)
    assert away.max() < 1e-3  # float32 Newton through the lens, points 3 units away


def test_lenses_that_nobody_has_here_are_named():
    camera = CameraRow("THIN_PRISM_FISHEYE", (100, 80), (50.0, 50.0, 50.0, 40.0, 0.1, 0, 0.01, 0, 0, 0, 0, 0))
    with pytest.raises(FormatError, match="image_undistorter"):
        convert_lens("model", camera)
    camera = CameraRow("THIN_PRISM_FISHEYE", (100, 80), (50.0, 50.0, 50.0, 40.0, 0.1, 0.2, 0, 0, 0.3, 0.4, 0, 0))
    assert convert_lens("model", camera)[:2] == (FISHEYE, (0.1, 0.2, 0.3, 0.4))


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
def test_truncated_and_hostile_binaries(tmp_path, name):
    dataset(tmp_path, "binary")
    path = tmp_path / "sparse" / "0" / name
    data = path.read_bytes()
    for damaged in (data[:4], data[: len(data) // 2 + 3], struct.pack("<Q", 2**63) + data[8:], b"\xff" * len(data)):
        path.write_bytes(damaged)
        with pytest.raises(FormatError, match=rf"{name}: is damaged"):
            load_photographs(tmp_path)


@pytest.mark.parametrize("name", ["cameras.txt", "images.txt", "points3D.txt"])
def test_damaged_text(tmp_path, name):
    dataset(tmp_path, "text")
    (tmp_path / "sparse" / "0" / name).write_text("1 PINHOLE many words\n2\n")
    with pytest.raises(FormatError, match=rf"{name}: is damaged"):
        load_photographs(tmp_path)


def test_no_registered_pictures(tmp_path):
    dataset(tmp_path, "text")
    (tmp_path / "sparse" / "0" / "images.txt").write_text("# nothing\n")
    with pytest.raises(FormatError, match="lists no cameras"):
        load_photographs(tmp_path)
