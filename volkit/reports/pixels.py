"""Rendered pictures as pixels of a file, by channel: colour, depth, normals, opacity; and videos of them."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from volkit.choices import Channel
from volkit.evaluation.metrics import round_to_8_bits
from volkit.files.atomic import atomic_write
from volkit.files.errors import FormatError
from volkit.rendering.picture import Picture
from volkit.typing import Tensor

__all__ = ["CHANNELS", "DEPTH_UNIT", "Channel", "channel_pixels", "write_video"]


DEPTH_UNIT = 1e-3  # world units per step of a 16-bit depth: millimetres for scenes in metres, as in nerfstudio
DEPTH_OPACITY = 0.5  # pixels below have no depth

Background = tuple[float, float, float] | None

MUXERS = {".mp4": "mp4", ".webm": "webm", ".mkv": "matroska"}
CODECS = {".mp4": "libx264", ".webm": "libvpx-vp9", ".mkv": "libx264"}


def channel_pixels(picture: Picture, channel: Channel, background: Background, *, video: bool = False) -> np.ndarray:
    """Pixels `[height, width, channel]` of one picture; without a background colours keep a straight alpha channel.

    Depth is in 16-bit thousandths of a world unit, 0 where nothing is opaque; in videos it is grey, bright where near.
    Normals are `(n + 1) / 2`, world frame.
    """
    return np.ascontiguousarray(CHANNELS[channel](picture, background, video))


def _to_bytes(values: Tensor) -> np.ndarray:
    return (round_to_8_bits(values) * 255.0).round().to(torch.uint8).numpy()


def _rgb(picture: Picture, background: Background, video: bool) -> np.ndarray:
    if background is not None:
        return _to_bytes(picture.over(picture.rgb.new_tensor(background)))
    straight = picture.rgb / picture.opacity.clamp_min(1e-6)[..., None]
    return _to_bytes(torch.cat([straight, picture.opacity[..., None]], -1))


def _depth(picture: Picture, background: Background, video: bool) -> np.ndarray:
    opaque = (picture.opacity > DEPTH_OPACITY) & picture.depth.isfinite()
    depth = torch.where(opaque, picture.depth, torch.zeros_like(picture.depth))
    if not video:
        return (depth / DEPTH_UNIT).round().clamp(0, 65535).to(torch.int32).numpy().astype(np.uint16)
    if not opaque.any():
        return np.zeros((*depth.shape, 3), np.uint8)
    near, far = depth[opaque].amin(), depth[opaque].amax()
    grey = torch.where(opaque, 0.15 + 0.85 * (far - depth) / (far - near).clamp_min(1e-6), torch.zeros_like(depth))
    return _to_bytes(grey[..., None].expand(*grey.shape, 3))


def _normal(picture: Picture, background: Background, video: bool) -> np.ndarray:
    assert picture.normal is not None
    return _to_bytes(0.5 + 0.5 * picture.normal)


def _opacity(picture: Picture, background: Background, video: bool) -> np.ndarray:
    grey = _to_bytes(picture.opacity)
    return np.repeat(grey[..., None], 3, -1) if video else grey


CHANNELS: dict[Channel, Callable[[Picture, Background, bool], np.ndarray]] = dict(
    zip(get_args(Channel), (_rgb, _depth, _normal, _opacity), strict=True)
)


def write_video(path: Path, frames: Iterable[np.ndarray], fps: int) -> None:
    """Encode 8-bit RGB frames [height, width, 3] as they come; FormatError where no encoder is installed."""
    with atomic_write(path) as place:
        if path.suffix.lower() == ".gif":
            import imageio.v3 as imageio

            imageio.imwrite(place, list(frames), extension=".gif", duration=1000.0 / fps, loop=0)
        else:
            _encode(path, place, iter(frames), fps)


def _encode(path: Path, place: Path, frames: Iterable[np.ndarray], fps: int) -> None:
    write_frames, suffix = _find_encoder(path), path.suffix.lower()
    stream = None
    try:
        for frame in frames:
            if stream is None:
                height, width = frame.shape[:2]
                # The temporary name does not tell ffmpeg which container to use.
                container = ["-f", MUXERS[suffix]]
                stream = write_frames(
                    str(place),
                    (width, height),
                    fps=fps,
                    codec=CODECS[suffix],
                    quality=8,
                    macro_block_size=2,
                    output_params=container,
                )
                stream.send(None)
            stream.send(np.ascontiguousarray(frame))
    finally:
        if stream is not None:
            stream.close()


def _find_encoder(path: Path):
    try:
        import imageio_ffmpeg

        imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise FormatError(
            path, f"no video encoder ({error})", "pip install imageio-ffmpeg, or write a folder"
        ) from error
    return imageio_ffmpeg.write_frames
