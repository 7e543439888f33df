"""`transforms*.json`, the convention of Blender NeRF scenes, nerfstudio and instant-ngp.

Source: nerfstudio's page on data conventions and its dataparser; instant-ngp's `nerf_loader.h` for scale, offset and
aabb_scale; NeRF-Synthetic (Mildenhall 2020) for one file per split.
"""

import json
import math
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from volkit.data.listing import Listing, Reader, Shot, drop_missing, opencv_from_opengl, read_pose, triple
from volkit.data.pictures import picture_size
from volkit.files.errors import FormatError
from volkit.geometry import FISHEYE, OPENCV, PINHOLE, Domain, Lens

__all__ = ["BLENDER", "NERFSTUDIO", "get_number", "picture_name", "read_shots", "read_transforms"]


SUFFIXES = (".png", ".jpg", ".jpeg", ".exr", ".PNG", ".JPG", ".JPEG")
PERSPECTIVE_MODELS = (None, "OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE_MODELS")


SPLITS = ("train", "val", "test")
NGP_SCALE, NGP_OFFSET = 0.33, 0.5  # instant-ngp's defaults of ngp = scale * file + offset


def read_transforms(path: Path) -> dict[str, Any]:
    """Parse the file; FormatError unless it is a JSON object with a list of frames."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FormatError(path, f"cannot be read ({error.strerror})", "check the path") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(path, f"is not valid JSON ({error}); perhaps truncated", "write or copy it again") from error
    frames = document.get("frames") if isinstance(document, dict) else None
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise FormatError(path, "has no list of frames", "give a NeRF transforms.json")
    if not frames:
        raise FormatError(path, "lists no cameras", "a dataset needs at least one posed picture")
    return document


def get_number(path: Path, values: dict[str, Any], key: str, default: float | None = None) -> float | None:
    """A finite number by name, `default` where it is absent; FormatError for anything else."""
    value = values.get(key, default)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise FormatError(path, f"'{key}' is {value!r}, not a finite number", "repair it")
    return float(value)


def picture_name(file_path: str) -> str:
    """A frame's `file_path` as a plain relative name: `./train\\r_0` is `train/r_0`."""
    return str(PurePosixPath(file_path.replace("\\", "/")))


def read_shots(path: Path, document: dict[str, Any], split: str = "train") -> list[Shot]:
    """Every frame as a shot, whether or not its picture exists; values of a frame override those of the file."""
    shared = {key: value for key, value in document.items() if key != "frames"}
    return [_shot(path, index, {**shared, **frame}, split) for index, frame in enumerate(document["frames"])]


def _shot(path: Path, index: int, values: dict[str, Any], split: str) -> Shot:
    file_path = values.get("file_path")
    if not isinstance(file_path, str) or not file_path or "\0" in file_path:
        raise FormatError(path, f"frame {index} has no file_path", "repair or remove this frame")
    name = picture_name(file_path)
    image = _find_picture(path.parent, name)
    matrix = values.get("transform_matrix")
    if matrix is None:
        raise FormatError(path, f"'{name}' has no transform_matrix", "repair or remove this frame")
    size = _size(path, values, image)
    lens, coefficients = _lens(path, values)
    mask = values.get("mask_path")
    return Shot(
        name=name,
        image=image,
        pose=opencv_from_opengl(read_pose(path, name, matrix)),
        intrinsics=_intrinsics(path, values, size),
        size=size,
        lens=lens,
        coefficients=coefficients,
        split=split,
        mask=path.parent / picture_name(mask) if isinstance(mask, str) and mask else None,
        time=get_number(path, values, "time"),
        frame=int(get_number(path, values, "frame_index") or 0) if "frame_index" in values else None,
    )


def _find_picture(folder: Path, name: str) -> Path:
    image = folder / name
    if not image.is_file():
        for suffix in SUFFIXES:
            if (candidate := image.with_name(image.name + suffix)).is_file():
                return candidate
    return image


def _size(path: Path, values: dict[str, Any], image: Path) -> tuple[int, int]:
    width, height = get_number(path, values, "w"), get_number(path, values, "h")
    if width and height and min(width, height) >= 1:
        return round(width), round(height)
    return picture_size(image) if image.is_file() else (1, 1)  # missing pictures are dropped later


def _intrinsics(path: Path, values: dict[str, Any], size: tuple[int, int]) -> tuple[float, float, float, float]:
    focal: list[float | None] = []
    for axis, side in zip("xy", size, strict=True):
        angle = get_number(path, values, f"camera_angle_{axis}")
        length = get_number(path, values, f"fl_{axis}")
        if length is None and angle is not None and 0 < angle < math.pi:
            length = 0.5 * side / math.tan(0.5 * angle)
        focal.append(length)
    fx, fy = focal[0] or focal[1], focal[1] or focal[0]
    if not fx or not fy or fx <= 0 or fy <= 0:
        raise FormatError(path, "has no usable focal length", "give fl_x in pixels or camera_angle_x in radians")
    cx, cy = get_number(path, values, "cx", size[0] / 2), get_number(path, values, "cy", size[1] / 2)
    assert cx is not None and cy is not None
    return fx, fy, cx, cy


def _lens(path: Path, values: dict[str, Any]) -> tuple[Lens, tuple[float, ...]]:
    model = values.get("camera_model")
    k1, k2, k3, k4, p1, p2 = (get_number(path, values, key, 0.0) or 0.0 for key in ("k1", "k2", "k3", "k4", "p1", "p2"))
    if model == "OPENCV_FISHEYE" or values.get("is_fisheye"):
        return FISHEYE, (k1, k2, k3, k4)
    if model not in PERSPECTIVE_MODELS:
        raise FormatError(path, f"camera_model '{model}' is not supported", "use OPENCV, PINHOLE or OPENCV_FISHEYE")
    if k4:
        # For nerfstudio k4 is the coefficient of r^8, for OpenCV part of a denominator.
        raise FormatError(path, "k4 of a perspective lens is ambiguous", "fit the lens again with k1 k2 p1 p2 k3")
    if not any((k1, k2, p1, p2, k3)):
        return PINHOLE, ()
    return OPENCV, (k1, k2, p1, p2, k3)


def _split_files(path: Path) -> list[tuple[str, Path]]:
    """The files of splits at a path; other names, such as `transforms_test_all200.json`, do not count."""
    if path.is_dir():
        files = [(split, path / f"transforms_{split}.json") for split in SPLITS]
        return [(split, file) for split, file in files if file.is_file()]
    return [(split, path) for split in SPLITS if path.name == f"transforms_{split}.json"]


def _read_splits(path: Path) -> Listing:
    shots = []
    for split, file in _split_files(path):
        shots += read_shots(file, read_transforms(file), split)
    kept, notes = drop_missing(path, shots)
    return Listing(path, kept, notes=notes)


BLENDER = Reader("blender", matches=lambda path: bool(_split_files(path)), read=_read_splits)


def _file(path: Path) -> Path:
    return path / "transforms.json" if path.is_dir() else path


def _matches(path: Path) -> bool:
    file = _file(path)
    return file.suffix == ".json" and file.is_file()


def _read(path: Path) -> Listing:
    file = _file(path)
    document = read_transforms(file)
    shots, split_notes = _apply_splits(document, read_shots(file, document))
    kept, missing = drop_missing(file, shots)
    notes = [*missing, *split_notes]
    box = _box(file, document)
    if box is not None:
        shown = ", ".join(f"{low:.2f}..{high:.2f}" for low, high in zip(box.lower, box.upper, strict=True))
        notes.append(f"the file's aabb_scale gives the box {shown}")
    if "applied_transform" in document:
        notes.append("applied_transform is not undone: poses are used as the file has them")
    return Listing(file, kept, box=box, notes=tuple(notes))


def _apply_splits(document: dict[str, Any], shots: list[Shot]) -> tuple[list[Shot], list[str]]:
    split_of = {}
    for split in SPLITS:
        names = document.get(f"{split}_filenames")
        if isinstance(names, list):
            split_of.update({picture_name(name): split for name in names if isinstance(name, str)})
    if not split_of:
        return shots, []
    kept = [replace(shot, split=split_of[shot.name]) for shot in shots if shot.name in split_of]
    left = len(shots) - len(kept)
    return kept, [f"{left} frames belong to no split of the file and are skipped"] if left else []


def _box(file: Path, document: dict[str, Any]) -> Domain | None:
    """The cube of edge aabb_scale around 0.5 in instant-ngp's frame, in the file's frame."""
    side = get_number(file, document, "aabb_scale")
    if side is None:
        return None
    scale = get_number(file, document, "scale", NGP_SCALE)
    offset = document.get("offset", NGP_OFFSET)
    offsets = offset if isinstance(offset, list) else [offset] * 3
    if not scale or scale < 0 or side <= 0 or len(offsets) != 3:
        raise FormatError(file, "aabb_scale, scale and offset give no box", "repair or remove them")
    values = [get_number(file, {"offset": value}, "offset") or 0.0 for value in offsets]
    centre = [(0.5 - value) / scale for value in values]
    half = 0.5 * side / scale
    return Domain(triple(c - half for c in centre), triple(c + half for c in centre))


NERFSTUDIO = Reader("nerfstudio", matches=_matches, read=_read)
