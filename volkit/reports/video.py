"""Videos, frame by frame, whole or not at all."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from volkit.files.atomic import atomic_write
from volkit.files.errors import FormatError

__all__ = ["write_video"]

MUXERS = {".mp4": "mp4", ".webm": "webm", ".mkv": "matroska"}
CODECS = {".mp4": "libx264", ".webm": "libvpx-vp9", ".mkv": "libx264"}


def write_video(path: Path, frames: Iterable[np.ndarray], fps: int) -> None:
    """Encode 8-bit RGB frames as they come; FormatError where there is no encoder."""
    with atomic_write(path) as place:
        if path.suffix.lower() == ".gif":
            import imageio.v3 as imageio

            imageio.imwrite(place, list(frames), extension=".gif", duration=1000.0 / fps, loop=0)
        else:
            _encode(path, place, iter(frames), fps)


def _encode(path: Path, place: Path, frames: Iterable[np.ndarray], fps: int) -> None:
    write_frames, suffix = _encoder(path), path.suffix.lower()
    stream = None
    try:
        for frame in frames:
            if stream is None:
                height, width = frame.shape[:2]
                # The file's own name ends with .part until it is whole, so the container must be named.
                container = ["-f", MUXERS[suffix]]
                stream = write_frames(
                    str(place), (width, height), fps=fps, codec=CODECS[suffix], quality=8, macro_block_size=2,
                    output_params=container,
                )  # fmt: skip
                stream.send(None)
            stream.send(np.ascontiguousarray(frame))
    finally:
        if stream is not None:
            stream.close()


def _encoder(path: Path):
    try:
        import imageio_ffmpeg

        imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise FormatError(
            path, f"no video encoder ({error})", "pip install imageio-ffmpeg, or write a folder"
        ) from error
    return imageio_ffmpeg.write_frames
