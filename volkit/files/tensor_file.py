"""safetensors files of ours: named tensors and one JSON header, written whole, read without trust."""

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


HEADER_LIMIT = 64 << 20  # bytes of JSON; a thousand cameras take 0.2 MB

STATE_KEY = "volkit_state"


def write_tensors(path: Path, key: str, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write tensors of any layout and device, and `header` as JSON under the metadata name `key`."""
    flat = {name: _storable(tensor) for name, tensor in tensors.items()}
    with atomic_write(path) as place:
        try:
            save_file(flat, place, metadata={key: json.dumps(header)})
        except SafetensorError as error:
            # The library reports a full disk as its own error type.
            raise _system_error(str(error)) from error


def _system_error(text: str) -> OSError:
    """The system's own error where the library quotes it: `... (os error 28)`."""
    number = re.search(r"os error (\d+)", text)
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(text)


def read_header(path: Path, key: str) -> Any:
    """The JSON under `key`, None where the file has no such entry; FormatError unless it is a safetensors file."""
    with _opened(path) as file:
        text = (file.metadata() or {}).get(key)
    if text is None:
        return None
    if len(text) > HEADER_LIMIT:
        raise FormatError(path, f"has a header of {len(text)} bytes", "it is damaged, or no file of ours")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(path, f"has a damaged header ({error})", "write the file again") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors by name, copied out of the file."""
    with _opened(path) as file:
        # A later rewrite of the file must not change what was read: mapped pages are copied.
        return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118


def _opened(path: Path):
    if not path.is_file():
        raise FormatError(path, "no such file", "check the path")
    try:
        return safe_open(path, framework="pt")
    except SafetensorError as error:
        reason = str(error).split("\n")[0]
        raise FormatError(path, f"is no whole safetensors file ({reason})", "write or copy it again") from error
    except OSError as error:
        raise FormatError(path, f"cannot be read ({error.strerror or error})", "check the path") from error


def _storable(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu()
    # Views that share memory are refused by the library; a copy of a part is what is meant.
    whole = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    return tensor if whole else tensor.contiguous().clone()


def write_state(path: Path | str, state: Any) -> None:
    """Write dicts, lists, tuples, tensors, bool, int, float, str and None so that `read_state` returns their equal.

    Tensors that appear twice are stored twice. Raises TypeError for anything else, FormatError where writing fails.
    """
    tensors: dict[str, Tensor] = {}
    tree = _encoded(state, tensors)
    write_tensors(Path(path), STATE_KEY, {"schema": 1, "tree": tree}, tensors)


def read_state(path: Path | str, device: torch.device | str = "cpu") -> Any:
    """What `write_state` was given, tensors on `device`; FormatError for a damaged or foreign file."""
    path = Path(path)
    header = read_header(path, STATE_KEY)
    if not isinstance(header, dict) or header.get("schema") != 1:
        raise FormatError(path, "is no stored state of this version", "start again without it")
    try:
        return _decoded(header["tree"], {name: tensor.to(device) for name, tensor in read_tensors(path).items()})
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise FormatError(path, f"is a damaged state ({error})", "start again without it") from error


def _encoded(value: Any, tensors: dict[str, Tensor]) -> Any:
    if value is None or isinstance(value, bool | str | float | int):
        return value
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[_encoded(k, tensors), _encoded(v, tensors)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        return {"list" if isinstance(value, list) else "tuple": [_encoded(v, tensors) for v in value]}
    raise TypeError(f"state: cannot store a {type(value).__name__}")


def _decoded(node: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(node, dict):
        return node
    ((tag, content),) = node.items()
    if tag == "tensor":
        return tensors[content]
    if tag == "dict":
        return {_decoded(k, tensors): _decoded(v, tensors) for k, v in content}
    if tag in ("list", "tuple"):
        items = [_decoded(v, tensors) for v in content]
        return items if tag == "list" else tuple(items)
    raise ValueError(f"unknown tag '{tag}'")
