"""COLMAP sparse models, binary and text: `cameras`, `images`, `points3D` beside the pictures.

Layout: COLMAP documentation, "Output format"; lens formulas: `src/colmap/sensor/models.h`. COLMAP's pixel centres,
camera axes and undistorted plane are ours; its poses are camera_from_world.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from volkit.data.colmap_files import CameraRow, ImageRow, Model, read_model
from volkit.data.colmap_lens import lens_of
from volkit.data.listing import Listing, Reader, Shot, checked_pose, existing
from volkit.files.errors import FormatError
from volkit.typing import Tensor

__all__ = ["READER"]

PLACES = ("sparse/0", "sparse", "colmap/sparse/0", "colmap/sparse", "dense/sparse", "")
FOLDERS = ("images", "input", "dense/images", "")


@dataclass(frozen=True)
class _Place:
    model: Path
    root: Path  # the dataset's folder, where the pictures are


def _place(path: Path) -> _Place | None:
    if not path.is_dir():
        return None
    for place in PLACES:
        folder = path / place
        for suffix in (".bin", ".txt"):
            if (folder / f"cameras{suffix}").is_file() and (folder / f"images{suffix}").is_file():
                return _Place(folder, _root(path) if place == "" else path)
    return None


def _root(model: Path) -> Path:
    """The dataset's folder above a model that was named itself: past `sparse/0`, `sparse` or `colmap`."""
    root = model
    while root.name in ("0", "sparse", "colmap") and root.parent != root:
        root = root.parent
    return root


def _read(path: Path) -> Listing:
    place = _place(path)
    assert place is not None
    model = read_model(place.model)
    pictures = _pictures(place, model)
    shots, notes = [], []
    for row in sorted(model.images, key=lambda row: row.name):
        camera = model.cameras.get(row.camera)
        if camera is None:
            raise FormatError(
                place.model, f"'{row.name}' names camera {row.camera}, which is not there", "export again"
            )
        shot, note = _shot(place.model, row, camera, pictures)
        shots.append(shot)
        notes += [note] if note and note not in notes else []
    kept, missing = existing(place.model, shots)
    points = None if len(model.points) == 0 else model.points
    return Listing(path, kept, up=None, points=points, notes=(*missing, *notes))


def _pictures(place: _Place, model: Model) -> Path:
    for name in FOLDERS:
        folder = place.root / name
        if any((folder / row.name).is_file() for row in model.images[:50]):
            return folder
    return place.root / "images"


def _shot(source: Path, row: ImageRow, camera: CameraRow, pictures: Path) -> tuple[Shot, str]:
    lens, coefficients, intrinsics, note = lens_of(source, camera)
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
    """`[R^T | -R^T t]` of the unit quaternion (w, x, y, z) and translation."""
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
    return checked_pose(source, row.name, torch.cat([rotation.T, -(rotation.T @ translation)[:, None]], -1).tolist())


READER = Reader("colmap", owns=lambda path: _place(path) is not None, read=_read)
