"""Write posed pictures for other programs to train on; read cameras from the files of others.

The folder follows nerfstudio's convention, which instant-ngp reads too: `transforms.json` with OpenGL camera axes,
pictures under `images/`.
"""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from volkit.data.listing import build_cameras, opencv_from_opengl
from volkit.data.load import load_photographs
from volkit.data.transforms import read_shots, read_transforms
from volkit.files.atomic import atomic_write
from volkit.files.errors import FormatError
from volkit.geometry import Cameras, Domain

__all__ = ["PosedFolder", "read_cameras"]

CAMERA_MODEL_NAMES = {"pinhole": "PINHOLE", "opencv": "OPENCV", "fisheye": "OPENCV_FISHEYE"}
COEFFICIENT_NAMES = {"opencv": ("k1", "k2", "p1", "p2", "k3"), "fisheye": ("k1", "k2", "k3", "k4")}
AABB_SCALE = 16  # aabb_scale of unbounded scenes: half of instant-ngp's largest, as its own colmap2nerf.py writes


@dataclass(frozen=True)
class PosedFolder:
    """A folder of posed pictures to be written; frame and unit are those of the cameras."""

    folder: Path
    names: tuple[str, ...]
    cameras: Cameras
    held_out: tuple[str, ...] = ()
    domain: Domain | None = None  # the box that instant-ngp maps to its cube

    @property
    def files(self) -> list[Path]:
        """The path of each view's picture."""
        return [self.folder / name for name in self._picture_paths()]

    def write_transforms(self) -> None:
        """Write `transforms.json` with the recorded split; call it when all pictures are written."""
        relative, held_out = self._picture_paths(), set(self.held_out)
        tested = [path for path, name in zip(relative, self.names, strict=True) if name in held_out]
        document: dict[str, Any] = {"camera_model": CAMERA_MODEL_NAMES[self.cameras.lens.model], **self._box()}
        document["frames"] = [self._frame(i, path) for i, path in enumerate(relative)]
        if tested and len(tested) < len(relative):
            document["train_filenames"] = [path for path in relative if path not in set(tested)]
            document["test_filenames"] = tested
        with atomic_write(self.folder / "transforms.json") as place:
            place.write_text(json.dumps(document, indent=1), encoding="utf-8")

    def _picture_paths(self) -> list[str]:
        # Names come from untrusted files: they must not lead out of the folder.
        parts = [[p for p in PurePosixPath(name).parts if p not in ("/", "..", "images")] for name in self.names]
        paths = [str(PurePosixPath("images", *part).with_suffix(".png")) for part in parts]
        if len(set(paths)) == len(paths):
            return paths
        return [f"images/{index:05d}.png" for index in range(len(paths))]

    def _frame(self, index: int, path: str) -> dict[str, Any]:
        fx, fy, cx, cy = self.cameras.intrinsics[index].tolist()
        width, height = self.cameras.size[index].tolist()
        # OpenCV axes to OpenGL axes, which is its own inverse.
        pose = opencv_from_opengl(self.cameras.world_from_camera[index].double())
        frame = {"file_path": path, "w": width, "h": height, "fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy}
        frame["camera_angle_x"] = 2.0 * math.atan(0.5 * width / fx)
        if self.cameras.coefficients is not None:
            frame |= self._coefficients(self.cameras.coefficients[index].tolist())
        if self.cameras.time is not None:
            frame["time"] = self.cameras.time[index].item()
        return frame | {"transform_matrix": [*pose.tolist(), [0.0, 0.0, 0.0, 1.0]]}

    def _coefficients(self, values: list[float]) -> dict[str, float]:
        names = COEFFICIENT_NAMES[self.cameras.lens.model]
        if any(values[len(names) :]):
            raise FormatError(
                self.folder, "transforms.json has no place for the lens terms k4 k5 k6", "render with a pinhole camera"
            )
        return dict(zip(names, values, strict=False))

    def _box(self) -> dict[str, Any]:
        """The map `ngp = scale * x + offset` of the domain's cube onto [0, 1]^3, and the aabb_scale."""
        if self.domain is None:
            return {}
        scale = 1.0 / max(self.domain.extent)
        offset = [0.5 - scale * value for value in self.domain.centre]
        return {"aabb_scale": AABB_SCALE if self.domain.contracted else 1, "scale": scale, "offset": offset}


def read_cameras(path: Path) -> tuple[tuple[str, ...], Cameras]:
    """Names and cameras of a dataset, world frame; a transforms.json needs no pictures."""
    file = path / "transforms.json" if path.is_dir() else path
    if file.suffix.lower() != ".json" or not file.is_file():
        photographs = load_photographs(path)
        return photographs.names, photographs.cameras
    shots = read_shots(file, read_transforms(file))
    if min(min(shot.size) for shot in shots) < 2:
        raise FormatError(file, "has no sizes, and its pictures do not exist", "add w and h")
    cameras = build_cameras(file, shots)
    cameras = replace(cameras, world_from_camera=cameras.world_from_camera.float())
    return tuple(shot.name for shot in shots), cameras
