"""Videos with a pose per frame: `clip.mp4` beside `clip.json` or `transforms.json`.

An entry of the JSON belongs to the frame of the video at its `frame_index`, counted from 0. Without indices, entries
and frames correspond in order, and must be equally many.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from volkit.data.listing import Listing, Reader, Shot, drop_missing
from volkit.data.pictures import Progress, area_average
from volkit.data.transforms import read_shots, read_transforms
from volkit.files.errors import FormatError
from volkit.typing import Tensor

__all__ = ["READER", "read_frames"]

SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".gif")


def read_frames(
    path: Path, wanted: Sequence[tuple[int, tuple[int, int]]], progress: Progress | None = None
) -> list[Tensor]:
    """Decode the wanted (index, (width, height)) frames of a video in one pass, area-averaged; in the given order."""
    sizes = dict(wanted)
    frames: dict[int, Tensor] = {}
    for index, pixels in enumerate(_pixels(path)):
        if index in sizes:
            frames[index] = area_average(pixels, sizes[index])
            if progress is not None:
                progress(len(frames), len(sizes))
        if len(frames) == len(sizes):
            break
    if missing := sorted(set(sizes) - set(frames)):
        raise FormatError(path, f"ends before frame {missing[0]}", "correct frame_index, or cut the list of poses")
    return [frames[index] for index, _ in wanted]


def _open(path: Path):
    import imageio_ffmpeg

    return imageio_ffmpeg.read_frames(str(path))


def _decode_or_raise(path: Path, decode: Callable):
    try:
        return decode()
    except (OSError, RuntimeError, ValueError, IndexError, StopIteration) as error:
        reason = (str(error).strip().splitlines() or ["no pictures"])[0][:120]
        raise FormatError(path, f"the video cannot be decoded ({reason})", "check it in a player") from error


def _size(path: Path) -> tuple[int, int]:
    reader = _open(path)
    try:
        return tuple(_decode_or_raise(path, lambda: next(reader))["size"])
    finally:
        reader.close()


def _pixels(path: Path) -> Iterator[np.ndarray]:
    reader = _open(path)
    try:
        width, height = _decode_or_raise(path, lambda: next(reader))["size"]
        while (frame := _decode_or_raise(path, lambda: next(reader, None))) is not None:
            yield np.frombuffer(frame, np.uint8).reshape(height, width, 3)
    finally:
        reader.close()


def _count(path: Path) -> int:
    import imageio_ffmpeg

    return _decode_or_raise(path, lambda: imageio_ffmpeg.count_frames_and_secs(str(path)))[0]


def _poses(path: Path) -> Path | None:
    candidates = (path.with_suffix(".json"), path.parent / "transforms.json")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _matches(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _read(path: Path) -> Listing:
    poses = _poses(path)
    if poses is None:
        raise FormatError(path, "has no poses beside it", f"put them into {path.stem}.json or transforms.json")
    document = read_transforms(poses)
    size = _size(path)
    document = {"w": size[0], "h": size[1], **document}
    for frame in document["frames"]:
        frame.setdefault("file_path", path.name)
    listed = read_shots(poses, document)
    if any(shot.frame is None for shot in listed):
        count = _count(path)
        if count != len(listed):
            fact = f"has {count} frames for {len(listed)} poses"
            raise FormatError(path, fact, f"give every frame of {poses.name} its frame_index")
        listed = [replace(shot, frame=index) for index, shot in enumerate(listed)]
    shots = [_shot_of_video(shot, path, size) for shot in listed]
    kept, notes = drop_missing(path, shots)
    return Listing(path, kept, notes=notes)


def _shot_of_video(shot: Shot, path: Path, size: tuple[int, int]) -> Shot:
    """The same shot with intrinsics for the video's own size."""
    ratio = (size[0] / shot.size[0], size[1] / shot.size[1])
    fx, fy, cx, cy = shot.intrinsics
    intrinsics = (fx * ratio[0], fy * ratio[1], cx * ratio[0], cy * ratio[1])
    return replace(shot, name=f"{path.name}#{shot.frame:06d}", image=path, size=size, intrinsics=intrinsics)


READER = Reader("video", matches=_matches, read=_read)
