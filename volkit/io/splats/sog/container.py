"""Where the pictures of a SOG lie: in an archive, or beside its `meta.json`."""

import json
import zipfile
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, Self

import numpy as np
from PIL import Image, UnidentifiedImageError

from volkit.files.errors import UNZIP_ERRORS, FormatError

__all__ = ["FIX", "MAX_WEBP_SIDE", "META", "Parts", "webp"]

META = "meta.json"
MAX_JSON_BYTES = 16 << 20  # bytes of JSON; a tree of a hundred thousand nodes
MAX_WEBP_SIDE = 16383  # pixels of a WebP
MAX_PIXELS_PER_BYTE, FREE_PIXELS = (
    64,
    1 << 22,
)  # pixels a byte of all files: a picture of one colour is small, but not all are
FIX = "copy or write it again"


class Parts:
    """The files of a SOG by name; FormatError for those that are not there, are too large or lie elsewhere."""

    def __init__(self, path: Path, archive: zipfile.ZipFile | None) -> None:
        self.path, self.archive = path, archive
        files = path.parent.glob("*.webp") if archive is None else [path]
        self.size = sum(file.stat().st_size for file in files)

    @classmethod
    def opened(cls, path: Path, stack: ExitStack) -> Self:
        """Of an archive, or of the folder that the named JSON lies in."""
        with path.open("rb") as file:
            if file.read(4) != b"PK\x03\x04":
                return cls(path, None)
        try:
            return cls(path, stack.enter_context(zipfile.ZipFile(path)))
        except UNZIP_ERRORS as error:
            raise FormatError(path, f"is a damaged archive: {error}", FIX) from error

    def meta(self) -> dict[str, Any]:
        """The page that describes all."""
        text = self._bytes(META if self.archive else self.path.name)
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise FormatError(self.path, f"holds JSON that cannot be read: {error}", FIX) from error
        if not isinstance(found, dict):
            raise FormatError(self.path, "is no description of a SOG", FIX)
        return found

    def picture(self, name: Any) -> np.ndarray:
        """RGBA, uint8 [height, width, 4]."""
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
            raise FormatError(self.path, f"holds {name}, no picture that can be read: {error}", FIX) from error

    def beside(self, name: Any) -> Path:
        """A file that the page names, below its own folder."""
        pure = PurePosixPath(str(name))
        if not isinstance(name, str) or pure.is_absolute() or ".." in pure.parts or not pure.parts:
            raise FormatError(self.path, f"names {str(name)[:80]!r}, no file of its own folder", FIX)
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
            raise FormatError(self.path, f"holds no {str(name)[:80]} that can be read: {reason}", FIX) from error


def webp(pixels: np.ndarray, effort: int) -> bytes:
    """A lossless picture, also of the colours that are transparent; `effort` of 0 to 100 for its size."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", lossless=True, exact=True, quality=effort, method=4)
    return file.getvalue()
