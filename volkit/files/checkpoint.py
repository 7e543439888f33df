"""States of unfinished work: any nesting of tensors, numbers, texts and None, exact, without pickle."""

from pathlib import Path
from typing import Any

import torch

from volkit.files.errors import FormatError
from volkit.files.tensor_file import read_header, read_tensors, write_tensors
from volkit.typing import Tensor

__all__ = ["read_state", "write_state"]

STATE_KEY = "volkit_state"


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
