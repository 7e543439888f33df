"""Picture files to 8-bit tensors: PNG, JPEG, 16-bit PNG, EXR; upright, at the size asked for."""

import os
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from volkit.data.area import area_average
from volkit.data.decoders import exr_pixels, exr_size, png16_layout, png16_pixels
from volkit.files.errors import FormatError
from volkit.typing import Tensor, UInt8

__all__ = ["Progress", "read_mask", "read_picture", "read_pictures", "size_of_picture"]

Progress = Callable[[int, int], None]  # done, total
Size = tuple[int, int]
EXIF_ORIENTATION = 0x0112
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
DEFECTS = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    struct.error,
)


def size_of_picture(path: Path, listed: Size | None = None) -> Size:
    """Width and height of the upright picture from its header alone.

    EXIF says which side is up, except where only the stored rows agree with the `listed` size: programs that
    estimate poses mostly ignore EXIF.
    """
    if path.suffix.lower() == ".exr":
        return exr_size(path)
    try:
        with Image.open(path) as image:
            width, height = image.size
            return (height, width) if _orientation(image, listed) in SIDEWAYS else (width, height)
    except DEFECTS as error:
        raise _undecodable(path, error) from error


def read_picture(path: Path, size: Size | None = None, listed: Size | None = None) -> UInt8[Tensor, "height width c"]:
    """Decode one picture, 3 channels or 4 with straight alpha, area-averaged to `size` (width, height)."""
    if path.suffix.lower() == ".exr":
        return area_average(exr_pixels(path), size)
    try:
        with Image.open(path) as image:
            orientation = _orientation(image, listed)
            layout = png16_layout(path)
            pixels = png16_pixels(path, image.size, layout) if layout else _pixels(image)
    except DEFECTS as error:
        raise _undecodable(path, error) from error
    return area_average(_turned(pixels, orientation), size)


def read_mask(path: Path, size: Size) -> UInt8[Tensor, "height width"]:
    """A mask at `size`: 255 where at least half of the pixel counts, else 0."""
    picture = read_picture(path, size)
    return torch.where(picture[..., 0] >= 128, 255, 0).to(torch.uint8)


def read_pictures(jobs: Sequence[Callable[[], Tensor]], progress: Progress | None = None) -> list[Tensor]:
    """Run decoders on all cores (they release the interpreter lock), results in order."""
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


def _undecodable(path: Path, error: BaseException) -> FormatError:
    if isinstance(error, FileNotFoundError):
        return FormatError(path, "no such file", "check the path")
    reason = "not a known picture format" if isinstance(error, UnidentifiedImageError) else str(error).split("\n")[0]
    return FormatError(path, f"the picture does not decode ({reason})", "replace it, or remove it from the dataset")


def _orientation(image: Image.Image, listed: Size | None) -> int:
    # Pillow decodes a whole PNG to look for EXIF at its end; none is written there in practice.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    width, height = image.size
    stored_agrees = listed is not None and width != height and width * listed[1] == height * listed[0]
    return 1 if orientation in SIDEWAYS and stored_agrees else orientation


def _pixels(image: Image.Image) -> np.ndarray:
    has_alpha = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    return np.asarray(image.convert("RGBA" if has_alpha else "RGB"))


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    if orientation in SIDEWAYS:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels[::-1] if orientation in (3, 4, 7, 8) else pixels
