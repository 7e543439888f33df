"""A folder of pictures with the cameras that made them, and cameras out of other people's files."""

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from volkit.data import load_photographs
from volkit.data.listing import Shot, opencv_from_opengl
from volkit.data.transforms import read_transforms, shots_from
from volkit.geometry import Cameras
from volkit.io.atomic import written_whole
from volkit.io.format import FormatError

__all__ = ["PosedFolder", "listed_cameras"]

COEFFICIENTS = {"pinhole": (), "opencv": ("k1", "k2", "p1", "p2", "k3"), "fisheye": ("k1", "k2", "k3", "k4")}
MODELS = {"pinhole": "PINHOLE", "opencv": "OPENCV", "fisheye": "OPENCV_FISHEYE"}


@dataclass(frozen=True)
class PosedFolder:
    """A dataset in nerfstudio's convention: pictures and one transforms.json, OpenGL camera axes, +Z up."""

    folder: Path
    names: tuple[str, ...]
    cameras: Cameras
    held_out: tuple[str, ...] = ()

    @property
    def files(self) -> list[Path]:
        """Where each view's picture belongs."""
        return [self.folder / name for name in self._relative()]

    def write_transforms(self) -> None:
        """Write transforms.json beside the pictures, with the split that was recorded."""
        relative = self._relative()
        tested = [path for path, name in zip(relative, self.names, strict=True) if name in set(self.held_out)]
        frames = [self._frame(i, path) for i, path in enumerate(relative)]
        document: dict[str, Any] = {"camera_model": MODELS[self.cameras.lens.model], "frames": frames}
        if tested and len(tested) < len(relative):
            document |= {"train_filenames": [p for p in relative if p not in set(tested)], "test_filenames": tested}
        with written_whole(self.folder / "transforms.json") as place:
            place.write_text(json.dumps(document, indent=1), encoding="utf-8")

    def _relative(self) -> list[str]:
        # Names come from files: nothing of them may lead out of the folder.
        parts = [[p for p in PurePosixPath(name).parts if p not in ("/", "..", "images")] for name in self.names]
        return [str(PurePosixPath("images", *part).with_suffix(".png")) for part in parts]

    def _frame(self, index: int, path: str) -> dict[str, Any]:
        fx, fy, cx, cy = self.cameras.intrinsics[index].tolist()
        width, height = self.cameras.size[index].tolist()
        # Camera axes right, down, forward become right, up, back; the same sign change undoes itself.
        pose = opencv_from_opengl(self.cameras.world_from_camera[index].double())
        matrix = torch.cat([pose, pose.new_tensor([[0.0, 0.0, 0.0, 1.0]])])
        frame = {"file_path": path, "w": width, "h": height, "fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy}
        coefficients = self.cameras.coefficients
        if coefficients is not None:
            names = COEFFICIENTS[self.cameras.lens.model]
            frame |= dict(zip(names, coefficients[index, : len(names)].tolist(), strict=True))
        return frame | {"transform_matrix": matrix.tolist()}


def listed_cameras(path: Path) -> tuple[tuple[str, ...], Cameras]:
    """Names and cameras of a dataset or of a transforms.json whose pictures need not exist, world frame."""
    file = path / "transforms.json" if path.is_dir() else path
    if file.suffix.lower() != ".json" or not file.is_file():
        seen = load_photographs(path)
        return seen.names, seen.cameras
    shots = shots_from(file, read_transforms(file))
    if not shots:
        raise FormatError(file, "lists no frames", "give a file with at least one camera")
    if min(min(shot.size) for shot in shots) < 2:
        raise FormatError(file, "gives no picture size and there are no pictures", "add w and h")
    if len({shot.lens.model for shot in shots}) > 1:
        raise FormatError(file, "mixes lens models", "split it by lens")
    return tuple(shot.name for shot in shots), _cameras(shots)


def _cameras(shots: list[Shot]) -> Cameras:
    widest = max(len(shot.coefficients) for shot in shots)
    rows = [[*shot.coefficients, *[0.0] * (widest - len(shot.coefficients))] for shot in shots]
    return Cameras(
        world_from_camera=torch.stack([shot.pose for shot in shots]).float(),
        intrinsics=torch.tensor([shot.intrinsics for shot in shots], dtype=torch.float32),
        size=torch.tensor([shot.size for shot in shots]),
        lens=shots[0].lens,
        coefficients=torch.tensor(rows) if widest else None,
    )
