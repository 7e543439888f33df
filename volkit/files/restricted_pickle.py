"""Pickles of other programs, of which only data are let in: nothing that they name is ever called.

PyTorch's own weights-only unpickler does the reading (legacy and zip files): it admits tensors, storages, numbers,
texts and containers, and knows no way to call anything else. NumPy arrays are admitted beside them.
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

__all__ = ["LEGACY_START", "load_pickled", "pickle_start"]

LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch.save before version 1.6: its pickled magic number
START = 1 << 16  # bytes of a pickle in which its names stand, before any numbers
SLACK = 1 << 20  # bytes by which zip members may exceed their file: headers of small members


def pickle_start(path: Path) -> bytes:
    """The first bytes of a `torch.save` file's pickle, by whose names formats are told apart; empty for other files."""
    try:
        with path.open("rb") as file:
            head = file.read(START)
        if head.startswith(LEGACY_START) or not head.startswith(b"PK\x03\x04"):
            return head if head.startswith(LEGACY_START) else b""
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            with archive.open(name) as member:
                return member.read(START)
    except (*UNZIP_ERRORS, StopIteration):
        return b""


def load_pickled(path: Path) -> Any:
    """What a `torch.save` file holds, tensors on the CPU; FormatError names what was refused."""
    _no_bomb(path)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_numpy_parts()):
            warnings.simplefilter("ignore")
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise FormatError(path, _refusal(str(error)), "do not trust it; ask for a file of plain tensors") from error
    except OSError as error:
        raise FormatError(path, f"cannot be read ({error.strerror or error})", "check the path") from error
    except Exception as error:
        # A damaged pickle surfaces as whatever its broken opcodes run into; there is no common type to name.
        reason = f"{type(error).__name__}: {error}".split("\n")[0][:200]
        raise FormatError(path, f"is no whole checkpoint ({reason})", "copy it again") from error
    if (lying := _lying(stored)) is not None:
        raise FormatError(path, f"has a tensor {lying} that holds fewer values than it says", "do not trust it")
    return stored


def _lying(stored: Any) -> tuple[int, ...] | None:
    """The shape of a tensor whose memory the file does not have: repeated by strides of 0, sparse, or without data."""
    left, seen = [stored], set()
    while left:
        value = left.pop()
        if isinstance(value, torch.Tensor):
            plain = value.layout is torch.strided and value.device.type == "cpu" and not value.is_quantized
            if not plain or value.numel() * value.element_size() > value.untyped_storage().nbytes():
                return tuple(value.shape)
        elif isinstance(value, dict | list | tuple | set) and id(value) not in seen:
            seen.add(id(value))
            left.extend(value.values() if isinstance(value, dict) else value)
    return None


def _numpy_parts() -> list[Any]:
    array = np.zeros(1)
    reconstruct = array.__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(name)) for name in ("?", "b", "B", "h", "H", "i", "I", "l", "L", "e", "f", "d")]
    # Files name these by the module path of the NumPy that wrote them.
    old_names = [(reconstruct, "numpy.core.multiarray._reconstruct"), (scalar, "numpy.core.multiarray.scalar")]
    return [np.ndarray, np.dtype, reconstruct, scalar, codecs.encode, *dtypes, *old_names]


def _no_bomb(path: Path) -> None:
    """A zip that unpacks to far more than its own size is no checkpoint: torch stores its members uncompressed."""
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except UNZIP_ERRORS as error:
        raise FormatError(path, f"is no whole checkpoint ({error})", "copy it again") from error
    if unpacked > path.stat().st_size + SLACK:
        raise FormatError(path, f"unpacks to {unpacked} bytes, far more than its size", "do not trust it")


def _refusal(message: str) -> str:
    found = re.search(r"(?:GLOBAL|class|function) ([\w.]+)", message)
    if found:
        return f"asks to load '{found.group(1)}', which is code and not data: refused"
    return f"is not plain data: {' '.join(message.split())[:160]}"
