"""Our safetensors files: named tensors and a JSON header, written atomically, read without trust."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from volkit.files.atomic import atomic_write
from volkit.files.errors import FormatError
from volkit.typing import Tensor

__all__ = ["read_header", "read_state", "read_tensors", "write_state", "write_tensors"]


MAX_HEADER_BYTES = 64 << 20  # a thousand cameras take 0.2 MB

STATE_KEY = "volkit_state"


def write_tensors(path: Path, key: str, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write tensors of any strides and device, and `header` as JSON under the metadata key `key`."""
    flat = {name: _make_storable(tensor) for name, tensor in tensors.items()}
    with atomic_write(path) as place:
        try:
            save_file(flat, place, metadata={key: json.dumps(header)})
        except SafetensorError as error:
            # The library wraps a full disk in its own error type.
            raise _system_error(str(error)) from error


def _system_error(text: str) -> OSError:
    """The system's error where the library quotes its number, as in `... (os error 28)`."""
    number = re.search(r"os error (\d+)", text)
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(text)


def read_header(path: Path, key: str) -> Any:
    """The JSON under `key`, None where there is none; FormatError unless the file is safetensors."""
    with _open(path) as file:
        text = (file.metadata() or {}).get(key)
    if text is None:
        return None
    if len(text) > MAX_HEADER_BYTES:
        raise FormatError(path, f"has a header of {len(text)} bytes", "it is damaged, or not written by volkit")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(path, f"has a damaged header ({error})", "write the file again") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors by name, copied into memory."""
    with _open(path) as file:
        # Memory-mapped pages would change if the file were rewritten.
        return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118


def _open(path: Path):
    if not path.is_file():
        raise FormatError(path, "no such file", "check the path")
    try:
        return safe_open(path, framework="pt")
    except SafetensorError as error:
        reason = str(error).split("\n")[0]
        raise FormatError(path, f"is not a complete safetensors file ({reason})", "write or copy it again") from error
    except OSError as error:
        raise FormatError(path, f"cannot be read ({error.strerror or error})", "check the path") from error


def _make_storable(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu()
    # The library refuses views that share memory: store a copy.
    whole = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    return tensor if whole else tensor.contiguous().clone()


def write_state(path: Path | str, state: Any) -> None:
    """Write nested dicts, lists, tuples, tensors, bool, int, float, str and None, for `read_state` to return.

    Tensors that occur twice are stored twice. Raises TypeError for other types, PlaceError where writing fails.
    """
    tensors: dict[str, Tensor] = {}
    tree = _encode(state, tensors)
    write_tensors(Path(path), STATE_KEY, {"schema": 1, "tree": tree}, tensors)


def read_state(path: Path | str, device: torch.device | str = "cpu") -> Any:
    """What `write_state` wrote, tensors on `device`; FormatError for a damaged or foreign file."""
    path = Path(path)
    header = read_header(path, STATE_KEY)
    if not isinstance(header, dict) or header.get("schema") != 1:
        raise FormatError(path, "is not a saved state of this version", "start again without it")
    try:
        return _decode(header["tree"], {name: tensor.to(device) for name, tensor in read_tensors(path).items()})
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise FormatError(path, f"is damaged ({error})", "start again without it") from error


def _encode(value: Any, tensors: dict[str, Tensor]) -> Any:
    if value is None or isinstance(value, bool | str | float | int):
        return value
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[_encode(k, tensors), _encode(v, tensors)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        return {"list" if isinstance(value, list) else "tuple": [_encode(v, tensors) for v in value]}
    raise TypeError(f"state: cannot store a {type(value).__name__}")


def _decode(node: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(node, dict):
        return node
    ((tag, content),) = node.items()
    if tag == "tensor":
        return tensors[content]
    if tag == "dict":
        return {_decode(k, tensors): _decode(v, tensors) for k, v in content}
    if tag in ("list", "tuple"):
        items = [_decode(v, tensors) for v in content]
        return items if tag == "list" else tuple(items)
    raise ValueError(f"unknown tag '{tag}'")
