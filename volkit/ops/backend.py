"""Which implementation an op runs: `reference` (plain torch), `native` (CPU kernels) or `cuda`.

`auto`, the default, follows the device of the tensors. A forced choice, `with backend.use("native")` or the
environment variable VOLKIT_BACKEND, raises where it cannot be honoured. Nothing falls back silently. The choice
`gsplat` is `cuda` with splats blended by that library, see `ops.splat.blend`.
"""

import os
import warnings
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Literal, get_args

import numpy as np
import torch  # before the extension, so that both share one OpenMP runtime
from torch import Tensor

__all__ = [
    "Choice",
    "Kind",
    "choose",
    "cuda_missing",
    "describe",
    "fields_of",
    "isa",
    "library_missing",
    "native_missing",
    "run",
    "splats_by_gsplat",
    "use",
    "use_isa",
]

Kind = Literal["reference", "native", "cuda"]
Choice = Literal["auto", "reference", "native", "cuda", "gsplat"]

try:
    from volkit.ops import _native  # pyright: ignore[reportAttributeAccessIssue]

    _import_failure = ""
    if not hasattr(_native, "fields"):  # in a checkout, whose Python is newer than what was built
        raise ImportError("it was built from older sources")
except ImportError as failure:
    _native = None
    _import_failure = str(failure)

_forced: list[Choice] = []
_warned: set[str] = set()

# What each optional library that is wired replaces.
_LIBRARIES = {"gsplat": "splat rasterisation"}


@contextmanager
def use(choice: Choice) -> Iterator[None]:
    """Force an implementation for the ops called inside; the innermost wins, before VOLKIT_BACKEND."""
    _forced.append(_check_choice(choice, "backend.use"))
    try:
        yield
    finally:
        _forced.pop()


def choose(op: str, *tensors: Tensor, dtypes: tuple[torch.dtype, ...] = (torch.float32,)) -> Kind:
    """Decide the implementation of `op` for these tensors.

    `dtypes` are the floating types that the kernels of this op take; under `auto` others go to the reference,
    which every op that calls this must state in its own docstring. Raises RuntimeError where a forced choice is
    not available, ValueError where the tensors are on different devices.
    """
    device = tensors[0].device
    for tensor in tensors:
        if tensor.device != device:
            raise ValueError(f"{op}: tensors on {device} and on {tensor.device}; move them to one device")
    choice = _choice()
    if choice == "reference":
        return "reference"
    kind: Kind = "cuda" if device.type == "cuda" else "native"
    odd = next((t.dtype for t in tensors if t.is_floating_point() and t.dtype not in dtypes), None)
    missing = native_missing() if kind == "native" else cuda_missing()
    if choice == "auto":
        if odd is not None or device.type not in ("cpu", "cuda"):
            return "reference"
        if missing:
            _warn_once(f"volkit runs its plain torch reference on {device.type}, many times slower: {missing}")
            return "reference"
        return kind
    if choice != kind and not (choice == "gsplat" and kind == "cuda"):
        raise RuntimeError(f"{op}: backend '{choice}' was forced but the tensors are on {device}; move them")
    if missing:
        raise RuntimeError(f"{op}: backend '{choice}' was forced but {missing}")
    if odd is not None:
        raise RuntimeError(f"{op}: the {choice} kernel takes {_names(dtypes)}, not {odd}; convert, or use 'reference'")
    return kind


def splats_by_gsplat() -> bool:
    """Whether gsplat was chosen to blend splats; raises RuntimeError where it was and cannot be used."""
    if _choice() != "gsplat":
        return False
    if missing := library_missing("gsplat"):
        raise RuntimeError(f"splat: backend 'gsplat' was forced but {missing}")
    return True


def run(op: str, on: Tensor, **fields: Tensor | np.ndarray | array | int | float | None) -> None:
    """Call a kernel with the fields of its task by name, where `on` lies: on the current stream of a GPU.

    TypeError where a field is unknown, missing or of the wrong type, ValueError where it has the wrong length, is not
    contiguous or lies elsewhere; each names the op and the field. `fields_of(op)` lists them.
    """
    if on.device.type == "cpu":
        getattr(_native, op)(**fields)
        return
    with torch.cuda.device(on.device):
        getattr(_native, f"{op}_cuda")(torch.cuda.current_stream(on.device).cuda_stream, **fields)


def fields_of(op: str) -> dict[str, tuple[str, bool]]:
    """The fields that a kernel takes: their type, and whether they must be given."""
    if _native is None:
        raise RuntimeError(native_missing())
    return dict(_native.fields[op])


def isa() -> str:
    """Name the instruction set that the CPU kernels use."""
    return _native.isa() if _native is not None else "none"


def use_isa(name: str) -> None:
    """Make the CPU kernels use an instruction set of `describe()["isas"]`, as VOLKIT_ISA does at import.

    Raises ValueError where this processor or this build lacks it.
    """
    if _native is None:
        raise RuntimeError(native_missing())
    _native.use_isa(name)


def native_missing() -> str:
    """Why there are no native CPU kernels, with the fix; empty if there are."""
    if _native is None:
        return f"volkit.ops._native is not importable ({_import_failure}); build it with `pip install .`"
    if not _native.isas():
        return "this processor has none of the extension's instruction sets; rebuild it here"
    return ""


def library_missing(name: str) -> str:
    """Why an optional CUDA library cannot be used, with the fix; empty if it can. Does not import it."""
    if name not in _LIBRARIES:
        raise ValueError(f"unknown library '{name}'; known: {', '.join(_LIBRARIES)}")
    if find_spec(name) is None:
        return f"{name} ({_LIBRARIES[name]}) is not installed; `pip install {name}`"
    if not torch.cuda.is_available():
        return f"{name} ({_LIBRARIES[name]}) is installed, but torch sees no CUDA device"
    return ""


def describe() -> dict[str, object]:
    """Report what runs here, in JSON-able values: for every report and for `volkit doctor`.

    `native` and `cuda` tell whether a small op works on them, or why they are missing.
    """
    devices = int(_native.device_count()) if _native is not None else 0
    return {
        "choice": _choice(),
        "native": native_missing() or _try("cpu", f"isa {isa()}, {_counted(torch.get_num_threads(), 'thread')}"),
        "isa": isa(),
        "isas": list(_native.isas()) if _native is not None else [],
        "bfloat16_products": "bfloat16" if isa() in ("avx512_bf16", "amx_bf16") else "float32 (no AVX-512 BF16)",
        "threads": torch.get_num_threads(),
        "cuda": cuda_missing() or _try("cuda", _counted(devices, "device")),
        "cuda_compiled": _native is not None and bool(_native.has_cuda),
        "cuda_devices": devices,
        "torch": torch.__version__,
        "libraries": {name: library_missing(name) or "available" for name in _LIBRARIES},
    }


def _try(device: str, what: str) -> str:
    """Run one step of Adam whose result is known: 3 - 2 / sqrt(2 * 2)."""
    try:
        param, grad, first, second = (torch.full((8,), value, device=device) for value in (3.0, 2.0, 0.0, 0.0))
        tensors = {"param": param, "grad": grad, "first": first, "second": second}
        constants = {"rate": 1.0, "root": 1.0, "beta1": 0.0, "beta2": 0.0, "eps": 0.0}
        run("adam", param, **tensors, **constants, rows=1, features=8, touched_only=False)
        found = param.tolist()
    except RuntimeError as error:
        return f"fails ({what}): {error}"
    return f"works ({what})" if found == [2.0] * 8 else f"fails ({what}): wrong numbers"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def cuda_missing() -> str:
    """Say why the CUDA kernels cannot run, or return an empty string."""
    if _native is None:
        return native_missing()
    if not _native.has_cuda:
        return "the extension was built without CUDA; rebuild it with nvcc on PATH and VOLKIT_CUDA=ON"
    if _native.device_count() == 0:
        return "no CUDA device is visible to the extension; check the driver and CUDA_VISIBLE_DEVICES"
    return ""


def _choice() -> Choice:
    return _forced[-1] if _forced else _check_choice(os.environ.get("VOLKIT_BACKEND") or "auto", "VOLKIT_BACKEND")


def _check_choice(choice: str, source: str) -> Choice:
    if choice not in get_args(Choice):
        raise ValueError(f"{source}: unknown backend '{choice}'; choose one of {', '.join(get_args(Choice))}")
    return choice  # pyright: ignore[reportReturnType]


def _warn_once(message: str) -> None:
    if message not in _warned:
        _warned.add(message)
        warnings.warn(message, RuntimeWarning, stacklevel=4)


def _names(dtypes: tuple[torch.dtype, ...]) -> str:
    return " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
