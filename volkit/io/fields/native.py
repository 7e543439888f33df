"""Our own file: safetensors with every tensor in its published layout and one JSON header."""

import math
from pathlib import Path
from typing import Any

import torch

from volkit.files.dataclass_json import dataclass_from_json, dataclass_to_json
from volkit.files.errors import FormatError
from volkit.files.provenance import frame_in
from volkit.files.tensor_file import read_header, read_tensors, write_tensors
from volkit.geometry import Cameras, Domain, Lens, Similarity
from volkit.representations import REPRESENTATIONS, Capture, Representation
from volkit.typing import Tensor
from volkit.version import __version__

__all__ = ["read", "sniff", "write"]

HEADER_KEY = "volkit"
SCHEMA = 1
CAPTURE = "capture/"  # names of camera tensors; no parameter name holds a slash
CAMERA_TENSORS = ("world_from_camera", "intrinsics", "size", "coefficients", "time")
SAFETENSORS_START = b'{"'  # of the header, which follows its length in 8 bytes
MOST_NEW_VALUES = 1 << 28  # what a config may build beyond what its file holds (1 GB of float32)


def sniff(path: Path) -> bool:
    """Whether the file is safetensors with our header."""
    try:
        with path.open("rb") as file:
            head = file.read(10)
        return head[8:] == SAFETENSORS_START and read_header(path, HEADER_KEY) is not None
    except (OSError, FormatError):
        return False


def write(representation: Representation, path: Path) -> None:
    """Write every tensor, frame, domain, capture and provenance."""
    tensors = dict(representation.stored_tensors())
    header: dict[str, Any] = {
        "schema": SCHEMA,
        "volkit": __version__,
        "kind": representation.config.kind,
        "config": dataclass_to_json(representation.config),
        "domain": dataclass_to_json(representation.domain),
        "world_from_local": dataclass_to_json(representation.world_from_local),
        "frame": representation.frame,
        "provenance": dict(representation.provenance),
    }
    if representation.capture is not None:
        header["capture"] = _capture_header(representation.capture)
        tensors |= _capture_tensors(representation.capture.cameras)
    write_tensors(path, HEADER_KEY, header, tensors)


def read(path: Path) -> Representation:
    """Rebuild what was written, bit for bit; FormatError for damaged, hostile, newer and foreign files."""
    header = read_header(path, HEADER_KEY)
    if not isinstance(header, dict):
        raise FormatError(path, "is no file of ours: it has no 'volkit' header", "convert it with the tool it is from")
    if header.get("schema") != SCHEMA:
        raise FormatError(path, f"has schema {header.get('schema')!r}, known is {SCHEMA}", "use the version that wrote")
    kind = header.get("kind")
    if not isinstance(kind, str) or kind not in REPRESENTATIONS:
        raise FormatError(path, f"holds the unknown kind {str(kind)[:40]!r}", f"known: {', '.join(REPRESENTATIONS)}")
    try:
        config = dataclass_from_json(REPRESENTATIONS[kind], header.get("config"))
        domain = dataclass_from_json(Domain, header.get("domain"))
        place = dataclass_from_json(Similarity, header.get("world_from_local"))
        tensors = _checked(read_tensors(path))
        frame = frame_in(header, "frame", "zup")
        capture = _capture(header.get("capture"), tensors)
        representation = _built(config, domain, tensors)
    except (ValueError, TypeError, OverflowError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise FormatError(path, f"is damaged or hostile: {reason}", "write or copy it again") from error
    representation.domain, representation.world_from_local = domain, place
    representation.frame, representation.capture = frame, capture
    provenance = header.get("provenance")
    representation.provenance = provenance if isinstance(provenance, dict) else {}
    return representation


def _checked(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"'{name}' contains NaN or infinity")
    return tensors


def _built(config: Any, domain: Domain, tensors: dict[str, Tensor]) -> Representation:
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith(CAPTURE)}
    held = sum(tensor.numel() for tensor in own.values())
    wanted = _values_of(config, domain)
    if wanted > 4 * held + MOST_NEW_VALUES:
        raise ValueError(f"its config asks for {wanted} values, the file holds {held}")
    representation = config.build(domain, torch.Generator())
    expected = representation.state_dict()
    for name, tensor in own.items():
        if name in expected and expected[name].dtype != tensor.dtype:
            raise ValueError(f"'{name}' is {tensor.dtype}, not {expected[name].dtype}")
    representation.load_state_dict(own)
    representation.check()
    return representation


def _values_of(config: Any, domain: Domain) -> int:
    """How many values a config builds, found without memory: a few bytes of it must not ask for more than fits."""
    try:
        with torch.device("meta"):
            shadow = config.build(domain, torch.Generator())
    except (RuntimeError, NotImplementedError) as error:
        if "meta" in str(error):
            return 0  # analytic scenes read values while they are built; they have no parameters
        raise
    return sum(tensor.numel() for tensor in shadow.state_dict().values())


def _capture_header(capture: Capture) -> dict[str, Any]:
    return {
        "names": list(capture.names),
        "held_out": list(capture.held_out),
        "near": capture.near,
        "background": None if capture.background is None else list(capture.background),
        "lens": capture.cameras.lens.model,
    }


def _capture_tensors(cameras: Cameras) -> dict[str, Tensor]:
    members = {name: getattr(cameras, name) for name in CAMERA_TENSORS}
    return {CAPTURE + name: member for name, member in members.items() if member is not None}


def _capture(header: Any, tensors: dict[str, Tensor]) -> Capture | None:
    if header is None:
        return None
    if not isinstance(header, dict):
        raise ValueError("its capture is not a table of values")
    members = {name: tensors.get(CAPTURE + name) for name in CAMERA_TENSORS}
    pose, intrinsics, size = (members[name] for name in CAMERA_TENSORS[:3])
    if pose is None or intrinsics is None or size is None:
        raise ValueError("its cameras are incomplete")
    count = len(pose)
    if pose.shape != (count, 3, 4) or intrinsics.shape != (count, 4) or size.shape != (count, 2):
        raise ValueError("its cameras have tensors of wrong shapes")
    if any(member is not None and len(member) != count for member in members.values()):
        raise ValueError("its cameras have tensors of different lengths")
    if size.is_floating_point() or bool((size < 1).any()) or bool((size > 1 << 16).any()):
        raise ValueError("its cameras have impossible sizes")
    lens = dataclass_from_json(Lens, {"model": header.get("lens")})
    names, held_out = header.get("names"), header.get("held_out")
    if not isinstance(names, list) or len(names) != count or not isinstance(held_out, list):
        raise ValueError("its cameras and their names do not agree")
    near, background = header.get("near"), header.get("background")
    if not isinstance(near, int | float) or not math.isfinite(near):
        raise ValueError("its near distance is not a number")
    colour = None if background is None else tuple(float(value) for value in background)
    if colour is not None and len(colour) != 3:
        raise ValueError("its background is not a colour")
    cameras = Cameras(pose, intrinsics, size, lens, members["coefficients"], members["time"])
    return Capture(cameras, tuple(map(str, names)), tuple(map(str, held_out)), float(near), colour)
