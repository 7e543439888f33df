"""The frame of a snapshot: instant-ngp's unit cube, the dataset's world, cameras between them.

Facts: NVlabs/instant-ngp `nerf_loader.h`: ngp = scale world + offset, then (x, y, z) <- (y, z, x) unless the set is
from Mitsuba; camera matrices have OpenCV axes; `json_binding.h` and tiny-cuda-nn `vec_json.h`: matrices by rows.
"""

from collections.abc import Mapping
from typing import Any

import torch

from volkit.geometry import FISHEYE, OPENCV, PINHOLE, Cameras, Lens, Similarity
from volkit.io.fields.instant_ngp.layout import number, table
from volkit.representations import Capture

__all__ = ["CYCLE", "dataset_cameras", "dataset_frame", "read_capture", "read_frame", "vector"]

CYCLE = ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))  # world_from_ngp
COEFFICIENTS = {"opencv": ("k1", "k2", "p1", "p2"), "fisheye": ("k1", "k2", "k3", "k4")}
MAX_PICTURE_SIDE = 1 << 16  # pixels along an edge


def read_frame(dataset: Mapping[str, Any]) -> Similarity:
    """world_from_ngp of a dataset's table; ValueError where it is damaged."""
    scale, offset = number(dataset, "scale"), vector(dataset.get("offset"), 3)
    if not scale > 0.0:
        raise ValueError("its scale is not positive")
    rotation = Similarity().rotation if dataset.get("from_mitsuba") else CYCLE
    return Similarity(rotation, tuple(-value / scale for value in offset), 1.0 / scale)


def dataset_frame(world_from_ngp: Similarity) -> dict[str, Any]:
    """Scale, offset and axes with which instant-ngp maps the world into its cube.

    It knows two rotations. Under any other its world is ours turned back, and up is told.
    """
    upright = world_from_ngp.rotation == Similarity().rotation
    rotation = torch.tensor(world_from_ngp.rotation, dtype=torch.float64)
    kept = torch.eye(3, dtype=torch.float64) if upright else torch.tensor(CYCLE, dtype=torch.float64)
    moved = kept @ rotation.T @ torch.tensor(world_from_ngp.translation, dtype=torch.float64)
    return {
        "scale": 1.0 / world_from_ngp.scale,
        "offset": (-moved / world_from_ngp.scale).tolist(),
        "from_mitsuba": upright,
        "up": rotation[2].tolist(),
    }


def read_capture(dataset: Mapping[str, Any], world_from_ngp: Similarity) -> Capture | None:
    """The training cameras, None where there are none or their lenses are not all of one known kind."""
    metadata, poses = dataset.get("metadata"), dataset.get("xforms")
    if not isinstance(metadata, list) or not isinstance(poses, list) or not poses or len(metadata) != len(poses):
        return None
    views = [_camera(table({"camera": about}, "camera"), table({"pose": pose}, "pose"))
             for about, pose in zip(metadata, poses, strict=True)]  # fmt: skip
    lenses = {lens for _, _, _, lens, _ in views}
    if len(lenses) > 1 or None in lenses:
        return None
    matrices, intrinsics, sizes, _, coefficients = zip(*views, strict=True)
    lens = views[0][3]
    assert lens is not None
    given = None if lens == PINHOLE else torch.tensor(coefficients)
    cameras = Cameras(torch.tensor(matrices), torch.tensor(intrinsics), torch.tensor(sizes), lens, given)
    paths = dataset.get("paths")
    if not isinstance(paths, list) or len(paths) != len(views):
        paths = [f"view {index}" for index in range(len(views))]
    return Capture(cameras.transform(world_from_ngp), tuple(map(str, paths)))


def dataset_cameras(capture: Capture | None, world_from_ngp: Similarity) -> dict[str, Any]:
    """The same cameras as entries of a dataset's table."""
    if capture is None:
        return {"n_images": 0, "paths": [], "metadata": [], "xforms": []}
    cameras = capture.cameras.transform(world_from_ngp.inverse())
    metadata = []
    for index in range(len(cameras)):
        size, (fx, fy, cx, cy) = cameras.size[index].tolist(), cameras.intrinsics[index].tolist()
        metadata.append(
            {
                "focal_length": [fx, fy],
                "lens": _lens_entry(cameras, index),
                "principal_point": [cx / size[0], cy / size[1]],
                "rolling_shutter": [0.0, 0.0, 0.0, 0.0],
                "resolution": size,
            }
        )
    poses = [pose.tolist() for pose in cameras.world_from_camera.double()]
    return {
        "n_images": len(cameras),
        "paths": list(capture.names),
        "metadata": metadata,
        "xforms": [{"start": pose, "end": pose} for pose in poses],
    }


def vector(value: Any, size: int) -> list[float]:
    """A list of so many finite numbers; ValueError where it is none."""
    if not isinstance(value, list) or len(value) != size:
        raise ValueError(f"a list of {size} numbers is missing")
    return [number({"entry": entry}, "entry") for entry in value]


def _camera(about: dict[str, Any], pose: dict[str, Any]):
    """Pose, intrinsics, size, lens (None: of another kind) and its coefficients."""
    rows = pose.get("start")
    if not isinstance(rows, list) or len(rows) != 3:
        raise ValueError("a camera has no matrix of 3 rows")
    width, height = (int(edge) for edge in vector(about.get("resolution"), 2))
    if not (1 <= width <= MAX_PICTURE_SIDE and 1 <= height <= MAX_PICTURE_SIDE):
        raise ValueError(f"a camera has {width} x {height} pixels")
    centre = vector(about.get("principal_point"), 2)
    intrinsics = [*vector(about.get("focal_length"), 2), centre[0] * width, centre[1] * height]
    lens, coefficients = _lens(about.get("lens", about.get("camera_distortion")) or {})
    return [vector(row, 4) for row in rows], intrinsics, [width, height], lens, coefficients


def _lens(entry: Any) -> tuple[Lens | None, list[float]]:
    if not isinstance(entry, dict):
        raise ValueError("a camera's lens is no table of values")
    if "k1" in entry:
        lens = FISHEYE if entry.get("is_fisheye") else OPENCV
        found = [number(entry, name) for name in COEFFICIENTS[lens.model]]
        return lens, found + [0.0] * (4 if lens == OPENCV else 0)
    return (PINHOLE, []) if not any(entry.values()) else (None, [])


def _lens_entry(cameras: Cameras, index: int) -> dict[str, Any]:
    if cameras.coefficients is None or cameras.lens == PINHOLE:
        return {}
    values = cameras.coefficients[index].tolist()
    named = dict(zip(COEFFICIENTS[cameras.lens.model], values, strict=False))
    return {"is_fisheye": cameras.lens == FISHEYE, **named}
