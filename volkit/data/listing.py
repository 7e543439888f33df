"""`Listing`: what a dataset's files say before any picture is decoded; every convention's reader returns one."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from volkit.files.errors import FormatError
from volkit.geometry import FISHEYE, OPENCV, PINHOLE, Cameras, Domain, Lens
from volkit.typing import Float, Tensor

__all__ = ["Listing", "Reader", "Shot", "build_cameras", "drop_missing", "opencv_from_opengl", "read_pose", "triple"]


Triple = tuple[float, float, float]

COEFFICIENT_COUNTS = {"opencv": 8, "fisheye": 4}  # by lens model


@dataclass(frozen=True)
class Shot:
    """One photograph as its dataset lists it: pose in the file's frame with OpenCV axes, intrinsics for `size`."""

    name: str
    image: Path
    pose: Float[Tensor, "3 4"]  # float64, file_from_camera
    intrinsics: tuple[float, float, float, float]  # fx, fy, cx, cy in pixels of the listed size
    size: tuple[int, int]  # (width, height) as listed; the picture's may differ
    lens: Lens = PINHOLE
    coefficients: tuple[float, ...] = ()  # in the order of the lens model; trailing zeros may be omitted
    split: str = "train"
    mask: Path | None = None
    time: float | None = None
    frame: int | None = None  # index of the frame where `image` is a video


@dataclass(frozen=True)
class Listing:
    """All photographs of a dataset, and what it says about its scene, in the file's frame and unit."""

    source: Path
    shots: tuple[Shot, ...]
    up: Triple | None = (0.0, 0.0, 1.0)  # None: unknown, estimated from the cameras
    box: Domain | None = None  # bounds of the scene, where the dataset has them
    bounds: tuple[float, float] | None = None  # nearest and farthest distance of matter from the cameras
    points: Float[Tensor, "point 3"] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reader:
    """A convention of datasets: how to recognise and read it."""

    name: str
    matches: Callable[[Path], bool]  # by names of files, not by content
    read: Callable[[Path], Listing]


def triple(values: Iterable[float]) -> Triple:
    """Three floats as a tuple."""
    x, y, z = values
    return float(x), float(y), float(z)


def opencv_from_opengl(pose: Float[Tensor, "3 4"]) -> Float[Tensor, "3 4"]:
    """Camera axes right, up, back to right, down, forward: columns 1 and 2 change sign; its own inverse."""
    return pose * pose.new_tensor([1.0, -1.0, -1.0, 1.0])


def read_pose(source: Path, name: str, matrix: object) -> Float[Tensor, "3 4"]:
    """The 3x4 part of a pose given as nested lists, float64, with its rotation orthonormalised.

    A uniform scale in the rotation is dropped. FormatError for wrong shapes, NaN, singular and mirrored matrices.
    """
    fix = "repair or remove this frame"
    try:
        pose = torch.tensor(matrix, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise FormatError(source, f"the pose of '{name}' is not a matrix of numbers", fix) from error
    if pose.shape not in ((4, 4), (3, 4)):
        raise FormatError(source, f"the pose of '{name}' has shape {list(pose.shape)}, not 4x4", fix)
    pose = pose[:3]
    if not pose.isfinite().all():
        raise FormatError(source, f"the pose of '{name}' contains NaN or infinity", fix)
    u, sizes, vh = torch.linalg.svd(pose[:, :3])
    if sizes[2] < 1e-3 * sizes[0] or sizes[0] < 1e-12:
        raise FormatError(source, f"the pose of '{name}' is a singular matrix", fix)
    if sizes[0] > 1.05 * sizes[2]:
        raise FormatError(source, f"the pose of '{name}' is not a rotation: it stretches or shears", fix)
    if torch.linalg.det(pose[:, :3]) < 0:
        raise FormatError(source, f"the pose of '{name}' is mirrored (negative determinant)", fix)
    return torch.cat([u @ vh, pose[:, 3:]], -1)


def drop_missing(source: Path, shots: Iterable[Shot]) -> tuple[tuple[Shot, ...], tuple[str, ...]]:
    """The shots whose picture exists, and a note about the others; FormatError where none does."""
    shots = tuple(shots)
    if not shots:
        raise FormatError(source, "lists no cameras", "a dataset needs at least one posed picture")
    kept = tuple(shot for shot in shots if shot.image.is_file())
    if not kept:
        raise FormatError(source, f"none of its {len(shots)} pictures exists (first: {shots[0].image})", "check paths")
    for shot in kept:
        if not all(math.isfinite(v) for v in (*shot.intrinsics, *shot.coefficients)) or min(shot.intrinsics[:2]) <= 0:
            raise FormatError(source, f"the intrinsics of '{shot.name}' are not finite and positive", "repair them")
    missing = [shot.name for shot in shots if not shot.image.is_file()]
    if not missing:
        return kept, ()
    shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
    return kept, (f"{len(missing)} of {len(shots)} listed pictures do not exist and are skipped: {shown}",)


def build_cameras(source: Path, shots: Sequence[Shot], sizes: Sequence[tuple[int, int]] | None = None) -> Cameras:
    """Cameras in the file's frame: poses float64, the rest float32; `sizes` rescale the intrinsics.

    Pinholes among OpenCV lenses become lenses without distortion; other mixtures raise FormatError.
    """
    sizes = [shot.size for shot in shots] if sizes is None else sizes
    intrinsics = []
    for shot, size in zip(shots, sizes, strict=True):
        ratio = (size[0] / shot.size[0], size[1] / shot.size[1])
        intrinsics.append([value * ratio[i % 2] for i, value in enumerate(shot.intrinsics)])
    lens, coefficients = _lens(source, shots)
    times = [shot.time for shot in shots]
    return Cameras(
        world_from_camera=torch.stack([shot.pose for shot in shots]),
        intrinsics=torch.tensor(intrinsics, dtype=torch.float32),
        size=torch.tensor(sizes),
        lens=lens,
        coefficients=coefficients,
        time=None if None in times else torch.tensor(times, dtype=torch.float32),
    )


def _lens(source: Path, shots: Sequence[Shot]) -> tuple[Lens, Float[Tensor, "camera coefficient"] | None]:
    models = {shot.lens.model for shot in shots}
    if models == {"pinhole"}:
        return PINHOLE, None
    if "fisheye" in models and len(models) > 1:
        raise FormatError(source, f"mixes the lens models {', '.join(sorted(models))}", "split it by lens")
    lens = FISHEYE if "fisheye" in models else OPENCV
    count = COEFFICIENT_COUNTS[lens.model]
    rows = [[*shot.coefficients, *[0.0] * (count - len(shot.coefficients))] for shot in shots]
    return lens, torch.tensor(rows, dtype=torch.float32)
