"""COLMAP reconstructions, text or binary: cameras with their lenses, poses, sparse points."""

import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from volkit.data.listing import Listing, Reader, Shot, drop_missing, read_pose
from volkit.files.errors import FormatError
from volkit.geometry import FISHEYE, OPENCV, PINHOLE, Lens
from volkit.typing import Float, Tensor

__all__ = ["CAMERA_MODELS", "READER", "CameraRow", "ImageRow", "Model", "convert_lens", "read_model"]


# Id, name and number of parameters of every camera model (colmap/src/colmap/sensor/models.h).
CAMERA_MODELS = {
    0: ("SIMPLE_PINHOLE", 3),
    1: ("PINHOLE", 4),
    2: ("SIMPLE_RADIAL", 4),
    3: ("RADIAL", 5),
    4: ("OPENCV", 8),
    5: ("OPENCV_FISHEYE", 8),
    6: ("FULL_OPENCV", 12),
    7: ("FOV", 5),
    8: ("SIMPLE_RADIAL_FISHEYE", 4),
    9: ("RADIAL_FISHEYE", 5),
    10: ("THIN_PRISM_FISHEYE", 12),
}
PARAMETER_COUNTS = dict(CAMERA_MODELS.values())

ONE_FOCAL_MODELS = ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")
Numbers = tuple[float, ...]

MODEL_FOLDERS = ("sparse/0", "sparse", "colmap/sparse/0", "colmap/sparse", "dense/sparse", "")
PICTURE_FOLDERS = ("images", "input", "dense/images", "")


@dataclass(frozen=True)
class CameraRow:
    """One physical camera: model, (width, height) in pixels, parameters in COLMAP's order."""

    model: str
    size: tuple[int, int]
    params: tuple[float, ...]


@dataclass(frozen=True)
class ImageRow:
    """One registered picture: camera_from_world as quaternion (w, x, y, z) and translation."""

    name: str
    quaternion: tuple[float, ...]
    translation: tuple[float, ...]
    camera: int


@dataclass(frozen=True)
class Model:
    """A sparse reconstruction in COLMAP's frame and unit."""

    cameras: dict[int, CameraRow]
    images: list[ImageRow]
    points: Float[Tensor, "point 3"]


class _Cursor:
    """Reads consecutive structs; running past the end raises, as the file is damaged."""

    def __init__(self, path: Path) -> None:
        self.path, self.at = path, 0
        self.data = _bytes(path)

    def take(self, layout: str) -> tuple:
        values = struct.unpack_from(layout, self.data, self.at)
        self.at += struct.calcsize(layout)
        return values

    def text(self) -> str:
        end = self.data.index(b"\0", self.at)
        text = self.data[self.at : end].decode()
        self.at = end + 1
        return text

    def skip(self, count: int) -> None:
        if count < 0 or self.at + count > len(self.data):
            raise ValueError("a count runs past the end of the file")
        self.at += count


def read_model(folder: Path) -> Model:
    """Read `cameras`, `images` and, where it exists, `points3D` without points that are not finite."""
    binary = (folder / "cameras.bin").is_file()
    readers = (_cameras_bin, _images_bin, _points_bin) if binary else (_cameras_txt, _images_txt, _points_txt)
    parts = []
    for name, reader in zip(("cameras", "images", "points3D"), readers, strict=True):
        path = folder / f"{name}{'.bin' if binary else '.txt'}"
        if name == "points3D" and not path.is_file():
            parts.append(torch.zeros(0, 3))
            continue
        try:
            parts.append(reader(path))
        except (ValueError, KeyError, IndexError, struct.error, UnicodeDecodeError, OverflowError) as error:
            raise FormatError(path, f"is damaged ({error})", "export the model again") from error
    model = Model(*parts)
    return Model(model.cameras, model.images, model.points[model.points.isfinite().all(-1)])


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FormatError(path, f"cannot be read ({error.strerror})", "check the path") from error


def _lines(path: Path) -> list[str]:
    return [line for line in _bytes(path).decode().splitlines() if not line.startswith("#")]


def _camera(model: str, size: tuple[int, int], params: tuple[float, ...]) -> CameraRow:
    if PARAMETER_COUNTS.get(model) != len(params):
        raise ValueError(f"camera model {model} with {len(params)} parameters")
    if not (0 < size[0] < 1 << 20 and 0 < size[1] < 1 << 20) or not np.isfinite(params).all() or params[0] <= 0:
        raise ValueError("a camera has no usable size or focal length")
    return CameraRow(model, size, params)


def _cameras_bin(path: Path) -> dict[int, CameraRow]:
    cursor, cameras = _Cursor(path), {}
    for _ in range(cursor.take("<Q")[0]):
        key, model, width, height = cursor.take("<iiQQ")
        name, count = CAMERA_MODELS[model]
        cameras[key] = _camera(name, (width, height), cursor.take(f"<{count}d"))
    return cameras


def _cameras_txt(path: Path) -> dict[int, CameraRow]:
    cameras = {}
    for words in (line.split() for line in _lines(path) if line.strip()):
        params = tuple(float(word) for word in words[4:])
        cameras[int(words[0])] = _camera(words[1], (int(words[2]), int(words[3])), params)
    return cameras


def _images_bin(path: Path) -> list[ImageRow]:
    cursor, images = _Cursor(path), []
    for _ in range(cursor.take("<Q")[0]):
        values = cursor.take("<i7di")
        name = cursor.text()
        cursor.skip(24 * cursor.take("<Q")[0])
        images.append(ImageRow(name, values[1:5], values[5:8], values[8]))
    return images


def _images_txt(path: Path) -> list[ImageRow]:
    """Two lines per picture; the second, its 2D points, may be empty."""
    images, lines = [], _lines(path)
    while lines and not lines[0].strip():
        lines.pop(0)
    for line in lines[::2]:
        if not line.strip():
            continue
        words = line.split(maxsplit=9)
        values = [float(word) for word in words[1:8]]
        images.append(ImageRow(words[9].strip(), tuple(values[:4]), tuple(values[4:]), int(words[8])))
    return images


def _points_bin(path: Path) -> Tensor:
    cursor, points = _Cursor(path), []
    for _ in range(cursor.take("<Q")[0]):
        values = cursor.take("<Q3d3BdQ")
        points.append(values[1:4])
        cursor.skip(8 * values[8])
    return torch.tensor(points, dtype=torch.float64).view(-1, 3)


def _points_txt(path: Path) -> Tensor:
    points = [[float(word) for word in line.split(maxsplit=4)[1:4]] for line in _lines(path) if line.strip()]
    return torch.tensor(points, dtype=torch.float64).view(-1, 3)


def convert_lens(source, camera: CameraRow) -> tuple[Lens, Numbers, tuple[float, float, float, float], str]:
    """Lens, its coefficients, intrinsics (fx, fy, cx, cy), and a note where the model is approximated."""
    params = camera.params
    if camera.model in ONE_FOCAL_MODELS:
        intrinsics, rest = (params[0], params[0], params[1], params[2]), params[3:]
    else:
        intrinsics, rest = (params[0], params[1], params[2], params[3]), params[4:]
    match camera.model:
        case "SIMPLE_PINHOLE" | "PINHOLE":
            return PINHOLE, (), intrinsics, ""
        case "SIMPLE_RADIAL" | "RADIAL" | "OPENCV" | "FULL_OPENCV":
            # Shorter lists are a prefix of k1 k2 p1 p2 k3 k4 k5 k6.
            return (OPENCV, rest, intrinsics, "") if any(rest) else (PINHOLE, (), intrinsics, "")
        case "OPENCV_FISHEYE" | "SIMPLE_RADIAL_FISHEYE" | "RADIAL_FISHEYE":
            return FISHEYE, rest, intrinsics, ""
        case "THIN_PRISM_FISHEYE":
            k1, k2, p1, p2, k3, k4, sx1, sy1 = rest
            if any((p1, p2, sx1, sy1)):
                fact = "uses THIN_PRISM_FISHEYE with tangential or prism terms, which is not supported"
                raise FormatError(source, fact, "run colmap image_undistorter first")
            return FISHEYE, (k1, k2, k3, k4), intrinsics, ""
        case _:
            return _fit_fov_lens(source, camera, intrinsics, rest[0])


def _fit_fov_lens(source, camera: CameraRow, intrinsics, omega: float):
    """Fit a fisheye polynomial in theta to the FOV model `r_d = atan(2 r tan(w / 2)) / w` over the picture.

    Focal lengths are multiplied by c = 2 tan(w / 2) / w, the model's slope at the centre (Devernay and Faugeras 2001).
    Raises FormatError where the fit is off by more than a tenth of a pixel.
    """
    if abs(omega) < 1e-6:
        return PINHOLE, (), intrinsics, ""
    fx, fy, cx, cy = intrinsics
    slope = 2 * math.tan(omega / 2) / omega
    corner = max(math.hypot(x / fx, y / fy) for x in (cx, camera.size[0] - cx) for y in (cy, camera.size[1] - cy))
    widest = math.atan(math.tan(min(corner * omega, 1.5)) / (2 * math.tan(omega / 2)))
    theta = np.linspace(1e-4, max(widest, 1e-3), 400)
    distorted = np.arctan(2 * np.tan(theta) * math.tan(omega / 2)) / (omega * slope)
    powers = np.stack([theta**n for n in (3, 5, 7, 9)], -1)
    coefficients, *_ = np.linalg.lstsq(powers, distorted - theta, rcond=None)
    error = float(np.abs(powers @ coefficients + theta - distorted).max() * slope * max(fx, fy))
    if not error < 0.1:
        raise FormatError(source, f"its FOV lens is {error:.1f} pixels from the best fisheye fit", "undistort it first")
    note = f"FOV lens approximated by a fisheye polynomial, within {error:.3f} pixels"
    return FISHEYE, tuple(coefficients.tolist()), (fx * slope, fy * slope, cx, cy), note


@dataclass(frozen=True)
class _Place:
    model: Path
    root: Path  # the dataset's folder, which has the pictures


def _find_model(path: Path) -> _Place | None:
    if not path.is_dir():
        return None
    for place in MODEL_FOLDERS:
        folder = path / place
        for suffix in (".bin", ".txt"):
            if (folder / f"cameras{suffix}").is_file() and (folder / f"images{suffix}").is_file():
                return _Place(folder, _root(path) if place == "" else path)
    return None


def _root(model: Path) -> Path:
    """The dataset's folder above a model's own folder: past `sparse/0`, `sparse` or `colmap`."""
    root = model
    while root.name in ("0", "sparse", "colmap") and root.parent != root:
        root = root.parent
    return root


def _read(path: Path) -> Listing:
    place = _find_model(path)
    assert place is not None
    model = read_model(place.model)
    pictures = _pictures(place, model)
    shots, notes = [], []
    for row in sorted(model.images, key=lambda row: row.name):
        camera = model.cameras.get(row.camera)
        if camera is None:
            raise FormatError(
                place.model, f"'{row.name}' refers to camera {row.camera}, which does not exist", "export again"
            )
        shot, note = _shot(place.model, row, camera, pictures)
        shots.append(shot)
        notes += [note] if note and note not in notes else []
    kept, missing = drop_missing(place.model, shots)
    points = None if len(model.points) == 0 else model.points
    return Listing(path, kept, up=None, points=points, notes=(*missing, *notes))


def _pictures(place: _Place, model: Model) -> Path:
    for name in PICTURE_FOLDERS:
        folder = place.root / name
        if any((folder / row.name).is_file() for row in model.images[:50]):
            return folder
    return place.root / "images"


def _shot(source: Path, row: ImageRow, camera: CameraRow, pictures: Path) -> tuple[Shot, str]:
    lens, coefficients, intrinsics, note = convert_lens(source, camera)
    shot = Shot(
        name=row.name,
        image=pictures / row.name,
        pose=_world_from_camera(source, row),
        intrinsics=intrinsics,
        size=camera.size,
        lens=lens,
        coefficients=coefficients,
    )
    return shot, note


def _world_from_camera(source: Path, row: ImageRow) -> Tensor:
    """world_from_camera, `[R^T | -R^T t]`, float64."""
    quaternion = torch.tensor(row.quaternion, dtype=torch.float64)
    if not quaternion.isfinite().all() or quaternion.norm() < 1e-9:
        raise FormatError(source, f"the pose of '{row.name}' is not a rotation", "remove this picture")
    w, x, y, z = (quaternion / quaternion.norm()).tolist()
    rotation = torch.tensor(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ],
        dtype=torch.float64,
    )
    translation = torch.tensor(row.translation, dtype=torch.float64)
    return read_pose(source, row.name, torch.cat([rotation.T, -(rotation.T @ translation)[:, None]], -1).tolist())


READER = Reader("colmap", matches=lambda path: _find_model(path) is not None, read=_read)
