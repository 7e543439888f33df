"""LLFF scenes: `poses_bounds.npy` beside a folder of pictures (Mildenhall 2019).

Each row is a 3x5 matrix (camera axes down, right, back, centre; then height, width, focal length), and the nearest and
farthest depth. Source: github.com/Fyusion/LLFF, "Using your own poses".
"""

import re
from pathlib import Path

import numpy as np

from volkit.data.listing import Listing, Reader, Shot, drop_missing, read_pose
from volkit.files.errors import FormatError

__all__ = ["READER"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".exr")
OPENCV_AXES = ((1, 1.0), (0, 1.0), (2, -1.0))  # (column, sign): x is their second, y their first, z minus their third


def _read(path: Path) -> Listing:
    file = path / "poses_bounds.npy" if path.is_dir() else path
    try:
        rows = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FormatError(file, f"is no .npy file ({str(error).splitlines()[0]})", "run LLFF's imgs2poses") from error
    if rows.ndim != 2 or rows.shape[1] != 17 or rows.dtype.kind != "f":
        raise FormatError(file, f"has shape {list(rows.shape)}, not (views, 17)", "run LLFF's imgs2poses again")
    pictures = _pictures(file, len(rows))
    shots = [_shot(file, row, picture) for row, picture in zip(rows, pictures, strict=True)]
    kept, notes = drop_missing(file, shots)
    bounds = rows[:, 15:]
    if not np.isfinite(bounds).all() or (bounds <= 0).any():
        raise FormatError(file, "has depth bounds that are not positive numbers", "run LLFF's imgs2poses again")
    return Listing(path, kept, up=None, bounds=(float(bounds[:, 0].min()), float(bounds[:, 1].max())), notes=notes)


def _pictures(file: Path, count: int) -> list[Path]:
    """Pictures sorted by name, as rows are; from `images`, else from the largest of its downscaled copies."""
    folders = [folder for folder in file.parent.iterdir() if re.fullmatch(r"images(_\d+)?", folder.name)]
    for folder in sorted(folders, key=lambda folder: int(folder.name[7:] or 0)):
        found = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
        if len(found) == count:
            return found
    raise FormatError(file, f"has {count} poses, and no folder has as many pictures", "put them into 'images'")


def _shot(file: Path, row: np.ndarray, picture: Path) -> Shot:
    matrix = row[:15].reshape(3, 5)
    height, width, focal = matrix[:, 4].tolist()
    if not (np.isfinite(matrix).all() and min(height, width) >= 1):
        raise FormatError(file, f"the row of '{picture.name}' contains NaN or no size", "run LLFF's imgs2poses again")
    columns = [sign * matrix[:, axis] for axis, sign in OPENCV_AXES]
    pose = read_pose(file, picture.name, np.stack([*columns, matrix[:, 3]], -1).tolist())
    return Shot(
        name=picture.name,
        image=picture,
        pose=pose,
        intrinsics=(focal, focal, width / 2, height / 2),
        size=(round(width), round(height)),
    )


def _matches(path: Path) -> bool:
    return (path.name == "poses_bounds.npy" and path.is_file()) or (path / "poses_bounds.npy").is_file()


READER = Reader("llff", matches=_matches, read=_read)
