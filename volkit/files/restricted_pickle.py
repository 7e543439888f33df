"""Untrusted `torch.save` files: only data are loaded, nothing that they name is ever called.

PyTorch's weights-only unpickler reads them (legacy and zip files). It admits tensors, storages, numbers, strings and
containers, and cannot call anything else. NumPy arrays are admitted too.
"""

import codecs
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from volkit.files.errors import UNZIP_ERRORS, FormatError

__all__ = ["LEGACY_MAGIC", "load_pickled", "pickle_start"]

LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the pickled magic number of torch.save before version 1.6
HEAD_BYTES = 1 << 16  # of a pickle: names come before numbers
MAX_HEADER_BYTES = 1 << 20  # by which unpacked members may exceed the file


def pickle_start(path: Path) -> bytes:
    """The first bytes of a `torch.save` file's pickle, whose names identify a format; empty for other files."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if head.startswith(LEGACY_MAGIC) or not head.startswith(b"PK\x03\x04"):
            return head if head.startswith(LEGACY_MAGIC) else b""
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            with archive.open(name) as member:
                return member.read(HEAD_BYTES)
    except (*UNZIP_ERRORS, StopIteration):
        return b""


def load_pickled(path: Path) -> Any:
    """The content of a `torch.save` file, tensors on the CPU; FormatError names what was refused."""
    _check_size(path)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_numpy_globals()):
            warnings.simplefilter("ignore")
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise FormatError(path, _explain_refusal(str(error)), "do not trust it; get a file of plain tensors") from error
    except OSError as error:
        raise FormatError(path, f"cannot be read ({error.strerror or error})", "check the path") from error
    except Exception as error:
        # A damaged pickle may raise anything; there is no common base class.
        reason = f"{type(error).__name__}: {error}".split("\n")[0][:200]
        raise FormatError(path, f"is not a complete checkpoint ({reason})", "copy it again") from error
    if (shape := _find_oversized(stored)) is not None:
        raise FormatError(path, f"has a tensor {shape} that holds fewer values", "do not trust it")
    return stored


def _find_oversized(stored: Any) -> tuple[int, ...] | None:
    """The shape of a tensor that is larger than its storage (strides of 0, sparse, or without data), or None."""
    left, visited = [stored], set()
    while left:
        value = left.pop()
        if isinstance(value, torch.Tensor):
            plain = value.layout is torch.strided and value.device.type == "cpu" and not value.is_quantized
            if not plain or value.numel() * value.element_size() > value.untyped_storage().nbytes():
                return tuple(value.shape)
        elif isinstance(value, dict | list | tuple | set) and id(value) not in visited:
            visited.add(id(value))
            left.extend(value.values() if isinstance(value, dict) else value)
    return None


def _numpy_globals() -> list[Any]:
    array = np.zeros(1)
    reconstruct = array.__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(name)) for name in ("?", "b", "B", "h", "H", "i", "I", "l", "L", "e", "f", "d")]
    # Files use the module paths of the NumPy that wrote them.
    old_names = [(reconstruct, "numpy.core.multiarray._reconstruct"), (scalar, "numpy.core.multiarray.scalar")]
    return [np.ndarray, np.dtype, reconstruct, scalar, codecs.encode, *dtypes, *old_names]


def _check_size(path: Path) -> None:
    """Raise FormatError for a zip that unpacks to far more than its size: torch stores members uncompressed."""
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except UNZIP_ERRORS as error:
        raise FormatError(path, f"is not a complete checkpoint ({error})", "copy it again") from error
    if unpacked > path.stat().st_size + MAX_HEADER_BYTES:
        raise FormatError(path, f"unpacks to {unpacked} bytes, far more than its size", "do not trust it")


def _explain_refusal(message: str) -> str:
    found = re.search(r"(?:GLOBAL|class|function) ([\w.]+)", message)
    if found:
        return f"would load '{found.group(1)}', which is code and not data: refused"
    return f"is not plain data: {' '.join(message.split())[:160]}"
