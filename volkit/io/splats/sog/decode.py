"""The files of a SOG, in an archive or beside its `meta.json`; and the columns of splats in them, versions 1 and 2."""

import json
import zipfile
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, Self

import numpy as np
from PIL import Image, UnidentifiedImageError

from volkit.files.errors import UNZIP_ERRORS, FormatError
from volkit.geometry.spherical_harmonics import sh_count
from volkit.io.splats.quantisation import decode_smallest_three, logits_from_bytes

__all__ = ["FIX", "MAX_WEBP_SIDE", "META", "Parts", "decode_columns", "is_mip", "is_surfels"]


META = "meta.json"
MAX_JSON_BYTES = 16 << 20  # enough for a tree of a hundred thousand nodes
MAX_WEBP_SIDE = 16383  # pixels, by the format
# A single image may be of one colour and tiny, but not all of them: more pixels than this is a bomb.
MAX_PIXELS_PER_BYTE, FREE_PIXELS = 64, 1 << 22
FIX = "copy or write it again"

LARGEST_BASE = 252  # alpha of a rotation whose largest component is w; 253 to 255: x, y, z
PALETTE_LINE_ROWS = 64  # palette rows in one line of its image
MAX_PALETTE = 1 << 16  # rows of a palette


class Parts:
    """The files of a SOG by name; FormatError for those that are missing, too large, or outside its folder."""

    def __init__(self, path: Path, archive: zipfile.ZipFile | None) -> None:
        self.path, self.archive = path, archive
        files = path.parent.glob("*.webp") if archive is None else [path]
        self.size = sum(file.stat().st_size for file in files)

    @classmethod
    def open(cls, path: Path, stack: ExitStack) -> Self:
        """The members of an archive, or the files beside a JSON."""
        with path.open("rb") as file:
            if file.read(4) != b"PK\x03\x04":
                return cls(path, None)
        try:
            return cls(path, stack.enter_context(zipfile.ZipFile(path)))
        except UNZIP_ERRORS as error:
            raise FormatError(path, f"is a damaged archive: {error}", FIX) from error

    def meta(self) -> dict[str, Any]:
        """The JSON that describes the other files."""
        text = self._bytes(META if self.archive else self.path.name)
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise FormatError(self.path, f"holds JSON that cannot be read: {error}", FIX) from error
        if not isinstance(found, dict):
            raise FormatError(self.path, "does not describe a SOG", FIX)
        return found

    def picture(self, name: Any) -> np.ndarray:
        """An image as RGBA, uint8 [height, width, 4]."""
        data = self._bytes(name)
        try:
            with Image.open(BytesIO(data), formats=("WEBP", "PNG")) as image:
                if (
                    max(image.size) > MAX_WEBP_SIDE
                    or image.width * image.height > MAX_PIXELS_PER_BYTE * self.size + FREE_PIXELS
                ):
                    raise FormatError(self.path, f"holds {name} of {image.size} pixels in {len(data)} bytes", FIX)
                return np.asarray(image.convert("RGBA"))
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            if isinstance(error, FormatError):
                raise
            raise FormatError(self.path, f"holds {name}, which is not a readable image: {error}", FIX) from error

    def beside(self, name: Any) -> Path:
        """The path of a file that the JSON names, within its folder."""
        pure = PurePosixPath(str(name))
        if not isinstance(name, str) or pure.is_absolute() or ".." in pure.parts or not pure.parts:
            raise FormatError(self.path, f"names {str(name)[:80]!r}, which is not in its folder", FIX)
        return self.path.parent.joinpath(*pure.parts)

    def _bytes(self, name: Any) -> bytes:
        if self.archive is None:
            place = self.path if name == self.path.name else self.beside(name)
            if not place.is_file():
                raise FormatError(self.path, f"names {name}, which is not there", "keep the files of a SOG together")
            return place.read_bytes()
        try:
            member = self.archive.getinfo(str(name))
            if member.file_size > max(MAX_JSON_BYTES if name == META else 0, 2 * self.path.stat().st_size):
                raise FormatError(self.path, f"holds {name} of {member.file_size} bytes", FIX)
            return self.archive.read(member)
        except (KeyError, *UNZIP_ERRORS) as error:
            if isinstance(error, FormatError):
                raise
            reason = " ".join(str(error).split())
            raise FormatError(self.path, f"holds no readable {str(name)[:80]}: {reason}", FIX) from error


def is_mip(meta: dict[str, Any]) -> bool:
    """Whether the splats were trained with the filter of Mip-Splatting."""
    return meta.get("model") == "antialiased"


def is_surfels(meta: dict[str, Any]) -> bool:
    """Whether the splats are surfels (2DGS)."""
    return meta.get("model") == "2dgs"


def decode_columns(parts: Parts, meta: dict[str, Any]) -> dict[str, np.ndarray]:
    """The columns of all splats of one `meta.json`; FormatError where JSON and images do not agree."""
    page = _Page(parts, meta)
    low, high = page.picture("means", 0), page.picture("means", 1)
    steps = low[:, :3].astype(np.float32) + high[:, :3].astype(np.float32) * 256
    logs = page.interpolate("means", steps / 65535, 3)
    turns = page.picture("quats", 0)
    known = turns[:, 3] >= LARGEST_BASE
    largest = np.where(known, turns[:, 3], LARGEST_BASE).astype(np.int64) - LARGEST_BASE
    three = np.where(known[:, None], turns[:, :3].astype(np.float32) * np.float32(2 / 255) - 1, np.float32(0))
    scales, light = page.picture("scales", 0), page.picture("sh0", 0)
    if page.version == 1:
        share = lambda texels: texels.astype(np.float32) / 255  # noqa: E731
        log_scales, light4 = (
            page.interpolate("scales", share(scales[:, :3]), 3),
            page.interpolate("sh0", share(light), 4),
        )
        constant, logits = light4[:, :3], light4[:, 3]
    else:
        log_scales, constant = (page.look_up(key, rows[:, :3]) for key, rows in (("scales", scales), ("sh0", light)))
        logits = logits_from_bytes(light[:, 3])
    return {
        "means": np.sign(logs) * np.expm1(np.abs(logs).astype(np.float64)).astype(np.float32),
        "quaternions": decode_smallest_three(largest, three),
        "log_scales": log_scales,
        "logits": logits,
        "sh_dc": constant[:, None],
        "sh_rest": page.harmonics() if "shN" in meta else np.empty((page.count, 0, 3), np.float32),
    }


class _Page:
    """Checked access to a `meta.json` and its images."""

    def __init__(self, parts: Parts, meta: dict[str, Any]) -> None:
        self.parts, self.meta, self.version = parts, meta, meta.get("version", 1)
        if self.version not in (1, 2):
            raise self.error(f"has version {str(self.version)[:20]}")
        shape = self.section("means").get("shape")
        count = meta.get("count", shape[0] if isinstance(shape, list) and shape else None)
        if type(count) is not int or count < 1:
            raise self.error("does not say how many splats it holds")
        self.count = count

    def error(self, fact: str) -> FormatError:
        return FormatError(self.parts.path, fact, FIX)

    def section(self, key: str) -> dict[str, Any]:
        found = self.meta.get(key)
        if not isinstance(found, dict):
            raise self.error(f"lacks '{key}'")
        return found

    def image(self, key: str, number: int) -> np.ndarray:
        files = self.section(key).get("files")
        if not isinstance(files, list) or len(files) <= number:
            raise self.error(f"names no image {number} of {key}")
        return self.parts.picture(files[number])

    def picture(self, key: str, number: int) -> np.ndarray:
        """One texel per splat, uint8 [splat, 4]."""
        texels = self.image(key, number).reshape(-1, 4)
        if len(texels) < self.count:
            raise self.error(f"claims {self.count} splats, and {key} holds {len(texels)}")
        return texels[: self.count]

    def number_list(self, key: str, name: str, least: int) -> np.ndarray:
        """A list of numbers in the JSON as float32; a single number is a list of one."""
        values = self.section(key).get(name)
        try:
            found = np.array(values, np.float32).reshape(-1)
        except (TypeError, ValueError, OverflowError):
            found = np.zeros(0, np.float32)
        if len(found) < least or not np.isfinite(found).all():
            raise self.error(f"has a {name} of {key} that is not a list of {least} numbers")
        return found

    def interpolate(self, key: str, shares: np.ndarray, width: int) -> np.ndarray:
        low, high = (self.number_list(key, name, width)[:width] for name in ("mins", "maxs"))
        return shares * (high - low) + low

    def look_up(self, key: str, numbers: np.ndarray) -> np.ndarray:
        table = np.zeros(256, np.float32)
        given = self.number_list(key, "codebook", 1)[:256]
        table[: len(given)] = given
        return np.take(table, numbers)

    def harmonics(self) -> np.ndarray:
        """Harmonics from degree 1 on, [splat, basis, 3]."""
        texels = self.image("shN", 0)
        height, width, _ = texels.shape
        basis = width // PALETTE_LINE_ROWS
        if width % PALETTE_LINE_ROWS or basis not in [sh_count(degree) - 1 for degree in (1, 2, 3)]:
            raise self.error(f"has a palette {width} texels wide")
        rows = texels[..., :3].reshape(height * PALETTE_LINE_ROWS, basis, 3)[:MAX_PALETTE]
        if self.version == 1:
            palette = self.interpolate("shN", rows.astype(np.float32) / 255, 1)
        else:
            palette = self.look_up("shN", rows)
        labels = self.picture("shN", 1)
        labels = labels[:, 0].astype(np.int64) | labels[:, 1].astype(np.int64) << 8
        if int(labels.max()) >= len(palette):
            raise self.error(f"names row {int(labels.max())} of a palette of {len(palette)}")
        return palette[labels]
