"""The three files of a COLMAP model as plain rows, binary (little endian) or text."""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from volkit.files.errors import FormatError
from volkit.typing import Float, Tensor

__all__ = ["MODELS", "CameraRow", "ImageRow", "Model", "read_model"]

# Number, name and count of parameters of every camera model.
MODELS = {
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
COUNTS = dict(MODELS.values())


@dataclass(frozen=True)
class CameraRow:
    """One physical camera: model by name, width and height, parameters in COLMAP's order."""

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
    """A sparse reconstruction."""

    cameras: dict[int, CameraRow]
    images: list[ImageRow]
    points: Float[Tensor, "point 3"]


class _Cursor:
    """Reads structs one after the other; running past the end is a damaged file."""

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
    """Read `cameras`, `images` and, where it exists, `points3D`; FormatError for damaged files."""
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
    if COUNTS.get(model) != len(params):
        raise ValueError(f"camera model {model} with {len(params)} parameters")
    if not (0 < size[0] < 1 << 20 and 0 < size[1] < 1 << 20) or not np.isfinite(params).all() or params[0] <= 0:
        raise ValueError("a camera has no usable size or focal length")
    return CameraRow(model, size, params)


def _cameras_bin(path: Path) -> dict[int, CameraRow]:
    cursor, cameras = _Cursor(path), {}
    for _ in range(cursor.take("<Q")[0]):
        key, model, width, height = cursor.take("<iiQQ")
        name, count = MODELS[model]
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
    """Two lines a picture; the second, of its 2D points, may be empty."""
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
