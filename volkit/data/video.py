"""A video whose frames have poses: `clip.mp4` beside `clip.json` or `transforms.json`.

A frame of the JSON file is the picture of the video that its `frame_index` names, counted from 0; without that, the
n-th frame of the file is the n-th picture of the video, and their numbers must agree.
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
    """Decode pictures of a video by number, area-averaged to its (width, height), in one pass and in this order."""
    sizes = dict(wanted)
    found: dict[int, Tensor] = {}
    for index, pixels in enumerate(_pixels(path)):
        if index in sizes:
            found[index] = area_average(pixels, sizes[index])
            if progress is not None:
                progress(len(found), len(sizes))
        if len(found) == len(sizes):
            break
    if missing := sorted(set(sizes) - set(found)):
        raise FormatError(path, f"ends before picture {missing[0]}", "correct frame_index, or cut the list of poses")
    return [found[index] for index, _ in wanted]


def _opened(path: Path):
    import imageio_ffmpeg

    return imageio_ffmpeg.read_frames(str(path))


def _guarded(path: Path, ask: Callable):
    try:
        return ask()
    except (OSError, RuntimeError, ValueError, IndexError, StopIteration) as error:
        reason = (str(error).strip().splitlines() or ["no pictures"])[0][:120]
        raise FormatError(path, f"the video does not decode ({reason})", "check it in a player") from error


def _size(path: Path) -> tuple[int, int]:
    reader = _opened(path)
    try:
        return tuple(_guarded(path, lambda: next(reader))["size"])
    finally:
        reader.close()


def _pixels(path: Path) -> Iterator[np.ndarray]:
    reader = _opened(path)
    try:
        width, height = _guarded(path, lambda: next(reader))["size"]
        while (frame := _guarded(path, lambda: next(reader, None))) is not None:
            yield np.frombuffer(frame, np.uint8).reshape(height, width, 3)
    finally:
        reader.close()


def _count(path: Path) -> int:
    import imageio_ffmpeg

    return _guarded(path, lambda: imageio_ffmpeg.count_frames_and_secs(str(path)))[0]


def _poses(path: Path) -> Path | None:
    candidates = (path.with_suffix(".json"), path.parent / "transforms.json")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _owns(path: Path) -> bool:
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
            fact = f"has {count} pictures for {len(listed)} poses"
            raise FormatError(path, fact, f"give every frame of {poses.name} its frame_index")
        listed = [replace(shot, frame=index) for index, shot in enumerate(listed)]
    shots = [_of_video(shot, path, size) for shot in listed]
    kept, notes = drop_missing(path, shots)
    return Listing(path, kept, notes=notes)


def _of_video(shot: Shot, path: Path, size: tuple[int, int]) -> Shot:
    """The same shot, its intrinsics at the video's own size."""
    ratio = (size[0] / shot.size[0], size[1] / shot.size[1])
    fx, fy, cx, cy = shot.intrinsics
    intrinsics = (fx * ratio[0], fy * ratio[1], cx * ratio[0], cy * ratio[1])
    return replace(shot, name=f"{path.name}#{shot.frame:06d}", image=path, size=size, intrinsics=intrinsics)


READER = Reader("video", matches=_owns, read=_read)
