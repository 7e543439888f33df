"""Videos, frame by frame, whole or not at all."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from volkit.io.atomic import written_whole
from volkit.io.format import FormatError

__all__ = ["write_video"]

MUXERS = {".mp4": "mp4", ".webm": "webm", ".mkv": "matroska"}
CODECS = {".mp4": "libx264", ".webm": "libvpx-vp9", ".mkv": "libx264"}


def write_video(path: Path, frames: Iterable[np.ndarray], fps: int) -> None:
    """Encode 8-bit RGB frames as they come; FormatError where there is no encoder."""
    import imageio.v2 as imageio

    suffix = path.suffix.lower()
    with written_whole(path) as place:
        if suffix == ".gif":
            writer = imageio.get_writer(place, format="GIF", mode="I", duration=1000.0 / fps, loop=0)
        else:
            _check_encoder(path)
            writer = imageio.get_writer(
                place, format="FFMPEG", mode="I", fps=fps, codec=CODECS[suffix], quality=8, macro_block_size=2,
                output_params=["-f", MUXERS[suffix]],
            )  # fmt: skip
        with writer:
            for frame in frames:
                writer.append_data(frame)


def _check_encoder(path: Path) -> None:
    try:
        import imageio_ffmpeg

        imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise FormatError(
            path, f"no video encoder ({error})", "pip install imageio-ffmpeg, or write a folder"
        ) from None
