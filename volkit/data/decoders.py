"""Decoders for what Pillow cannot read at full depth: 16-bit PNG and OpenEXR."""

import subprocess
from pathlib import Path

import numpy as np

from volkit.extras import advice
from volkit.files.errors import FormatError
from volkit.geometry.colour import array_srgb_from_linear

__all__ = ["exr_pixels", "exr_size", "png16_layout", "png16_pixels"]

# PNG colour type (section 11.2.1 of the PNG specification) to ffmpeg's name and channel count at 16 bits.
PNG16 = {0: ("gray16be", 1), 2: ("rgb48be", 3), 4: ("ya16be", 2), 6: ("rgba64be", 4)}


def png16_layout(path: Path) -> tuple[str, int] | None:
    """ffmpeg's pixel format and channel count of a 16-bit PNG; None for every other file."""
    with path.open("rb") as file:
        head = file.read(26)
    if len(head) < 26 or head[:8] != b"\x89PNG\r\n\x1a\n" or head[24] != 16:
        return None
    return PNG16.get(head[25])


def png16_pixels(path: Path, size: tuple[int, int], layout: tuple[str, int]) -> np.ndarray:
    """Decode a 16-bit PNG to float [height, width, 3 or 4] in [0, 1]."""
    import imageio_ffmpeg

    name, channels = layout
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path.absolute())]
    command += ["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", name, "-"]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    values = np.frombuffer(done.stdout, dtype=">u2")
    if done.returncode or values.size != size[0] * size[1] * channels:
        reason = done.stderr.decode(errors="replace").strip().split("\n")[-1] or "too little data"
        raise OSError(reason)
    pixels = values.reshape(size[1], size[0], channels).astype(np.float32) / 65535
    if channels <= 2:
        pixels = np.concatenate([pixels[..., :1]] * 3 + [pixels[..., 1:]], -1)
    return pixels


def exr_size(path: Path) -> tuple[int, int]:
    """Width and height of an OpenEXR picture from its header."""
    with _opened(path, header_only=True) as file:
        low, high = file.header()["dataWindow"]
        return int(high[0] - low[0]) + 1, int(high[1] - low[1]) + 1


def exr_pixels(path: Path) -> np.ndarray:
    """Decode OpenEXR to display-referred float [height, width, 3 or 4] in [0, 1] with straight alpha.

    EXR holds linear light premultiplied by alpha; a picture without R, G and B channels is taken for grey.
    """
    with _opened(path, header_only=False) as file:
        channels = {name: channel.pixels for name, channel in file.channels().items()}
    names = ["R", "G", "B"] if {"R", "G", "B"} <= set(channels) else ["Y"] * 3
    if names[0] not in channels:
        raise FormatError(path, f"has no colour channels, only {sorted(channels)}", "export R, G, B and A")
    colour = np.stack([channels[name] for name in names], -1).astype(np.float32)
    if not np.isfinite(colour).all():
        raise FormatError(path, "contains NaN or infinite pixels", "repair the picture")
    if "A" not in channels:
        return array_srgb_from_linear(colour).astype(np.float32)
    alpha = np.clip(channels["A"].astype(np.float32), 0, 1)[..., None]
    straight = np.where(alpha > 0, colour / np.maximum(alpha, 1e-6), 0)
    return np.concatenate([array_srgb_from_linear(straight), alpha], -1).astype(np.float32)


def _opened(path: Path, header_only: bool):
    try:
        import OpenEXR
    except ImportError as error:
        raise FormatError(path, "is an OpenEXR picture, and OpenEXR is not installed", advice("exr")) from error
    if not path.is_file():
        raise FormatError(path, "no such file", "check the path")
    try:
        return OpenEXR.File(str(path), separate_channels=True, header_only=header_only)
    except Exception as error:  # the binding raises bare RuntimeError and ValueError for every defect
        reason = str(error).split("\n")[0]
        raise FormatError(path, f"the picture does not decode ({reason})", "replace it, or remove it") from error
