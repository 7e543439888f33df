"""Decode pictures, 8 and 16 bits and OpenEXR, with or without alpha; and resize them by area."""

import os
import struct
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from volkit.extras import advice
from volkit.files.eight_bits import in_8_bits
from volkit.files.errors import FormatError
from volkit.geometry.colour import array_srgb_from_linear
from volkit.typing import Tensor, UInt8

__all__ = [
    "Progress",
    "area_average",
    "exr_pixels",
    "exr_size",
    "picture_size",
    "png16_layout",
    "png16_pixels",
    "read_mask",
    "read_picture",
    "read_pictures",
]


# PNG colour type (PNG specification, 11.2.1): ffmpeg's pixel format at 16 bits, number of channels.
PNG16_LAYOUTS = {0: ("gray16be", 1), 2: ("rgb48be", 3), 4: ("ya16be", 2), 6: ("rgba64be", 4)}

Progress = Callable[[int, int], None]  # done, total
Size = tuple[int, int]
EXIF_ORIENTATION = 0x0112
TRANSPOSED = (5, 6, 7, 8)  # EXIF orientations that swap width and height
DECODE_ERRORS = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    struct.error,
)


def area_average(pixels: np.ndarray, size: tuple[int, int] | None = None) -> UInt8[Tensor, "height width channel"]:
    """Average straight-alpha pixels over the area that each new pixel covers, and round to 8 bits.

    `pixels` is [height, width, 3 or 4], uint8 or float in [0, 1]; `size` is (width, height), None keeps it. Colours are
    weighted by alpha, so that those of transparent pixels never show.
    """
    height, width = pixels.shape[:2]
    if size is None or size == (width, height):
        eight = pixels if pixels.dtype == np.uint8 else _round_to_bytes(pixels * np.float32(255))
        return torch.from_numpy(np.array(eight, order="C"))
    scale = np.float32(1 if pixels.dtype == np.uint8 else 255)
    values = pixels.astype(np.float32) * scale
    if values.shape[2] == 4:
        values[..., :3] *= values[..., 3:] / np.float32(255)
    values = _average_axis(_average_axis(values, size[1]).swapaxes(0, 1), size[0]).swapaxes(0, 1)
    if values.shape[2] == 4:
        values[..., :3] /= np.maximum(values[..., 3:] / np.float32(255), np.float32(1e-6))
    return torch.from_numpy(np.ascontiguousarray(_round_to_bytes(values)))


def _round_to_bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(values + np.float32(0.5), 0, 255).astype(np.uint8)


def _average_axis(values: np.ndarray, count: int) -> np.ndarray:
    """Average axis 0 into `count` equal intervals."""
    length = values.shape[0]
    if length % count == 0:
        return values.reshape(count, length // count, *values.shape[1:]).mean(1)
    edges = np.arange(count + 1) * (length / count)
    low, high = edges[:-1, None], edges[1:, None]
    cell = np.arange(length)[None]
    weights = np.clip(np.minimum(high, cell + 1) - np.maximum(low, cell), 0, None) * (count / length)
    return np.einsum("ol,lwc->owc", weights.astype(np.float32), values, optimize=True)


def png16_layout(path: Path) -> tuple[str, int] | None:
    """ffmpeg's pixel format and channel count of a 16-bit PNG; None for every other file."""
    with path.open("rb") as file:
        head = file.read(26)
    if len(head) < 26 or head[:8] != b"\x89PNG\r\n\x1a\n" or head[24] != 16:
        return None
    return PNG16_LAYOUTS.get(head[25])


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
    with _open_exr(path, header_only=True) as file:
        low, high = file.header()["dataWindow"]
        return int(high[0] - low[0]) + 1, int(high[1] - low[1]) + 1


def exr_pixels(path: Path) -> np.ndarray:
    """Decode OpenEXR to sRGB float [height, width, 3 or 4] in [0, 1] with straight alpha.

    EXR stores linear light premultiplied by alpha; a picture with a Y channel in place of R, G and B is grey.
    """
    with _open_exr(path, header_only=False) as file:
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


def _open_exr(path: Path, header_only: bool):
    try:
        import OpenEXR
    except ImportError as error:
        raise FormatError(path, "is an OpenEXR picture, and OpenEXR is not installed", advice("exr")) from error
    if not path.is_file():
        raise FormatError(path, "no such file", "check the path")
    try:
        return OpenEXR.File(str(path), separate_channels=True, header_only=header_only)
    except Exception as error:  # the binding raises RuntimeError or ValueError for any defect
        reason = str(error).split("\n")[0]
        raise FormatError(path, f"cannot be decoded ({reason})", "replace it, or remove it") from error


def picture_size(path: Path, listed: Size | None = None) -> Size:
    """(width, height) of the upright picture, from its header alone.

    EXIF orientation is applied, except where only the stored size agrees with the `listed` one: programs that estimate
    poses mostly ignore EXIF.
    """
    if path.suffix.lower() == ".exr":
        return exr_size(path)
    try:
        with Image.open(path) as image:
            width, height = image.size
            return (height, width) if _orientation(image, listed) in TRANSPOSED else (width, height)
    except DECODE_ERRORS as error:
        raise _decode_error(path, error) from error


def read_picture(path: Path, size: Size | None = None, listed: Size | None = None) -> UInt8[Tensor, "height width c"]:
    """Decode one upright picture, 3 channels or 4 with straight alpha, area-averaged to `size` (width, height)."""
    if path.suffix.lower() == ".exr":
        return area_average(exr_pixels(path), size)
    try:
        with Image.open(path) as image:
            orientation = _orientation(image, listed)
            layout = png16_layout(path)
            pixels = png16_pixels(path, image.size, layout) if layout else _pixels(image)
    except DECODE_ERRORS as error:
        raise _decode_error(path, error) from error
    return area_average(_orient(pixels, orientation), size)


def read_mask(path: Path, size: Size) -> UInt8[Tensor, "height width"]:
    """A mask at `size`: 255 where the mean is at least 128, else 0."""
    picture = read_picture(path, size)
    return torch.where(picture[..., 0] >= 128, 255, 0).to(torch.uint8)


def read_pictures(jobs: Sequence[Callable[[], Tensor]], progress: Progress | None = None) -> list[Tensor]:
    """Run decoders in threads on all cores; results in order. They release the interpreter lock."""
    results = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        futures = [pool.submit(job) for job in jobs]
        try:
            for done, future in enumerate(futures, 1):
                results.append(future.result())
                if progress is not None:
                    progress(done, len(futures))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return results


def _decode_error(path: Path, error: BaseException) -> FormatError:
    if isinstance(error, FileNotFoundError):
        return FormatError(path, "no such file", "check the path")
    reason = "of no known picture format" if isinstance(error, UnidentifiedImageError) else str(error).split("\n")[0]
    return FormatError(path, f"cannot be decoded ({reason})", "replace it, or remove it from the dataset")


def _orientation(image: Image.Image, listed: Size | None) -> int:
    # Pillow would decode the whole PNG to look for EXIF at its end, where in practice there is none.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    width, height = image.size
    stored_agrees = listed is not None and width != height and width * listed[1] == height * listed[0]
    return 1 if orientation in TRANSPOSED and stored_agrees else orientation


def _pixels(image: Image.Image) -> np.ndarray:
    has_alpha = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    return np.asarray(in_8_bits(image).convert("RGBA" if has_alpha else "RGB"))


def _orient(pixels: np.ndarray, orientation: int) -> np.ndarray:
    if orientation in TRANSPOSED:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels[::-1] if orientation in (3, 4, 7, 8) else pixels
