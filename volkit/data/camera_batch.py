"""Shots as one batch of cameras, with one lens model for all."""

from collections.abc import Sequence
from pathlib import Path

import torch

from volkit.data.listing import Shot
from volkit.files.errors import FormatError
from volkit.geometry import FISHEYE, OPENCV, PINHOLE, Cameras, Lens
from volkit.typing import Float, Tensor

__all__ = ["cameras_of"]

COEFFICIENTS = {"opencv": 8, "fisheye": 4}  # how many the lens models take


def cameras_of(source: Path, shots: Sequence[Shot], sizes: Sequence[tuple[int, int]] | None = None) -> Cameras:
    """Cameras in the file's frame: poses float64, the rest float32; intrinsics follow where true sizes are given.

    Pinholes among OpenCV lenses are lenses without distortion; other mixtures raise FormatError.
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
    count = COEFFICIENTS[lens.model]
    rows = [[*shot.coefficients, *[0.0] * (count - len(shot.coefficients))] for shot in shots]
    return lens, torch.tensor(rows, dtype=torch.float32)
