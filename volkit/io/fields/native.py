"""volkit's own format: safetensors with every tensor in its published layout, and one JSON header."""

import math
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from volkit.files.dataclass_json import dataclass_from_json, dataclass_to_json
from volkit.files.errors import FormatError
from volkit.files.provenance import frame_from_record
from volkit.files.tensor_file import read_header, read_tensors, write_tensors
from volkit.geometry import Cameras, Domain, Lens, Similarity
from volkit.representations import Capture, Look, Placement, Representation, WrapperConfig, config_class, kinds
from volkit.typing import Tensor
from volkit.version import __version__

__all__ = ["read", "sniff", "write"]

HEADER_KEY = "volkit"
SCHEMA = 1
CAPTURE_PREFIX = "capture/"  # of the names of camera tensors; names of parameters have no slash
CAMERA_TENSORS = ("world_from_camera", "intrinsics", "size", "coefficients", "time")
PER_UNIT = {"tensor_vm": 25.0, "tensor_cp": 25.0, "planes": 1.0}  # density scales per local unit of older files
SAFETENSORS_START = b'{"'  # of the header, after its length in 8 bytes
MAX_NEW_VALUES = 1 << 28  # that a config may allocate beyond what its file holds: 1 GiB of float32
INITIALISERS = (Tensor.uniform_, Tensor.normal_, Tensor.mul, Tensor.__rmul__, Tensor.mul_, Tensor.add, Tensor.__radd__)
READERS = (Tensor.__float__, Tensor.__int__, Tensor.__bool__, Tensor.item, Tensor.tolist)
MAX_READ_VALUES = 1 << 12  # at once, while values are counted
MAX_SCENES = 1 << 10  # that one query may reach
MAX_DEPTH = 32  # of nested wrappers
DISTIL_FIX = "distil it into a kind that has a configuration, such as hash_grid"


def sniff(path: Path) -> bool:
    """Whether the file is safetensors with our header."""
    try:
        with path.open("rb") as file:
            head = file.read(10)
        return head[8:] == SAFETENSORS_START and read_header(path, HEADER_KEY) is not None
    except (OSError, FormatError):
        return False


def write(representation: Representation, path: Path) -> None:
    """Write every tensor, placement, domain, capture and provenance; the parts of a wrapper too, each once."""
    parts = _collect_parts(representation)
    numbers = {id(part): index for index, part in enumerate(parts)}
    rows = [_describe(path, scene, numbers) for scene in (*parts, representation)]
    header: dict[str, Any] = {"schema": SCHEMA, "volkit": __version__} | rows[-1]
    tensors = _tensors(representation)
    if parts:
        try:
            _check_parts(rows)
        except ValueError as error:
            raise FormatError(path, f"cannot hold this scene: {error}", DISTIL_FIX) from error
        header["scenes"] = rows[:-1]
    for index, part in enumerate(parts):
        tensors |= {f"{index}/{name}": tensor for name, tensor in _tensors(part).items()}
    write_tensors(path, HEADER_KEY, header, _unshare_memory(tensors))


def read(path: Path) -> Representation:
    """Read what was written, bit for bit; FormatError for damaged, hostile, newer and foreign files."""
    header = read_header(path, HEADER_KEY)
    if not isinstance(header, dict):
        raise FormatError(path, "has no 'volkit' header", "export it from the program that wrote it")
    if header.get("schema") != SCHEMA:
        raise FormatError(
            path, f"has schema {header.get('schema')!r}, only {SCHEMA} is supported", "use the version that wrote it"
        )
    described = header.get("scenes", [])
    if not isinstance(described, list) or not all(isinstance(row, dict) for row in described):
        raise FormatError(path, "is damaged or hostile: its scenes are not a table", "write or copy it again")
    rows = [*described, header]
    classes = [_class_of(path, row.get("kind")) for row in rows]
    try:
        _check_parts(rows)
        tensors = _check_finite(read_tensors(path))
        own = _split_by_scene(tensors, len(rows) - 1)
        parts: list[Representation] = []
        for row, config, held in zip(rows, classes, own, strict=True):
            parts.append(_build_scene(row, config, held, parts))
    except (ValueError, TypeError, OverflowError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise FormatError(path, f"is damaged or hostile: {reason}", "write or copy it again") from error
    return parts[-1]


def _collect_parts(scene: Representation) -> list[Representation]:
    """All parts of a wrapper, recursively, each once and after its own parts."""
    found: dict[int, Representation] = {}
    for part in scene.parts:
        for inner in (*_collect_parts(part), part):
            found.setdefault(id(inner), inner)
    return list(found.values())


def _describe(path: Path, scene: Representation, numbers: dict[int, int]) -> dict[str, Any]:
    config, kind = scene.config, scene.config.kind
    if not is_dataclass(config):
        raise FormatError(path, f"cannot hold {type(scene).__name__}, a field of your own", DISTIL_FIX)
    described: dict[str, Any] = {
        "kind": kind,
        "config": dataclass_to_json(config),
        "domain": dataclass_to_json(scene.domain),
        "world_from_local": dataclass_to_json(scene.world_from_local),
        "frame": scene.frame,
        "provenance": {name: value for name, value in scene.provenance.items() if name != "notes"},
    }
    if scene.parts:
        described["parts"] = [numbers[id(part)] for part in scene.parts]
    if scene.capture is not None:
        described["capture"] = _capture_header(scene.capture)
    return described


def _tensors(scene: Representation) -> dict[str, Tensor]:
    tensors = dict(scene.stored_tensors())
    return tensors if scene.capture is None else tensors | _capture_tensors(scene.capture.cameras)


def _class_of(path: Path, kind: Any) -> Any:
    try:
        return config_class(str(kind))
    except ValueError as error:
        raise FormatError(
            path,
            f"holds the unknown kind {str(kind)[:40]!r}",
            f"known: {', '.join(kinds())}; or install the package that wrote it",
        ) from error


def _check_parts(rows: list[dict[str, Any]]) -> None:
    """Raise ValueError unless every scene consists of scenes before it, and the whole stays within the limits."""
    sizes: list[int] = []
    depths: list[int] = []
    for index, row in enumerate(rows):
        parts = row.get("parts", [])
        if not isinstance(parts, list) or not all(type(part) is int and 0 <= part < index for part in parts):
            raise ValueError("one of its scenes refers to parts that do not exist")
        sizes.append(1 + sum(sizes[part] for part in parts))
        depths.append(1 + max((depths[part] for part in parts), default=0))
    if sizes[-1] > MAX_SCENES:  # doubling at every level would make a query endless
        raise ValueError(f"every query would reach {sizes[-1]} scenes, at most {MAX_SCENES} are supported")
    if depths[-1] > MAX_DEPTH:
        raise ValueError(f"its wrappers are nested {depths[-1]} deep, at most {MAX_DEPTH} are supported")


def _unshare_memory(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors that share memory with an earlier one, as those of views do: safetensors refuses them."""
    storages: set[int] = set()
    found = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        found[name] = tensor.clone() if place in storages and tensor.numel() else tensor
        storages.add(place)
    return found


def _split_by_scene(tensors: dict[str, Tensor], parts: int) -> list[dict[str, Tensor]]:
    """The tensors of each part, then those of the whole; ValueError where the part does not exist."""
    found: list[dict[str, Tensor]] = [{} for _ in range(parts + 1)]
    for name, tensor in tensors.items():
        number, _, rest = name.partition("/")
        if number.isdecimal() and rest:
            if int(number) >= parts:
                raise ValueError(f"'{name[:60]}' belongs to a part that does not exist")
            found[int(number)][rest] = tensor
        else:
            found[-1][name] = tensor
    return found


def _build_scene(
    row: dict[str, Any], kind: Any, tensors: dict[str, Tensor], before: list[Representation]
) -> Representation:
    domain = dataclass_from_json(Domain, row.get("domain"))
    found, tensors = _with_materials(kind, row.get("config"), tensors)
    config = dataclass_from_json(kind, _per_edge(kind, found, domain))
    place = dataclass_from_json(Similarity, row.get("world_from_local"))
    capture = _capture(row.get("capture"), tensors)
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith(CAPTURE_PREFIX)}
    if isinstance(config, WrapperConfig):
        built = _build_wrapper(config, tuple(before[part] for part in row.get("parts", [])), own)
    else:
        built = _build(config, domain, own)
    provenance = row.get("provenance")
    return built.view(
        domain=domain,
        placement=Placement(place, frame_from_record(row, "frame", "zup")),
        capture=capture,
        provenance=provenance if isinstance(provenance, dict) else {},
    )


def _with_materials(kind: Any, config: Any, tensors: dict[str, Tensor]) -> tuple[Any, dict[str, Tensor]]:
    """Config and tensors of a mesh with a material; older files have one texture, or colours at the vertices."""
    if kind.kind != "mesh" or not isinstance(config, dict) or "texture" not in config:
        return config, tensors
    texture, finish = tensors.get("texture"), tensors.get("metallic_roughness")
    faces, colours, uv = (tensors.get(name) for name in ("faces", "colours", "corner_uv"))
    if texture is None or faces is None or colours is None or uv is None:
        raise ValueError("the tensors of its mesh are incomplete")
    look = Look.of_texture(uv, texture, finish) if len(uv) else Look.of_colours(colours)
    old = {name: tensor for name, tensor in tensors.items() if name not in ("texture", "metallic_roughness")}
    now = {"face_material": faces.new_zeros(len(faces)), "second_uv": uv[:0], "normals": uv.new_zeros(0, 3)}
    images = {f"image_{row}": image for row, image in enumerate(look.images)}
    sizes = {name: config.get(name) for name in ("vertices", "faces")}
    shapes = [list(image.shape) for image in look.images]
    materials = [dataclass_to_json(material) for material in look.materials]
    own = {"materials": materials, "images": shapes, "uv_sets": int(len(uv) > 0), "coloured": not len(uv)}
    return sizes | own, old | now | images


def _per_edge(kind: Any, config: Any, domain: Domain) -> Any:
    """The config with a density scale per edge of the domain; older files have it per local unit, or not at all."""
    if not isinstance(config, dict) or "density_scale" in config or kind.kind not in PER_UNIT:
        return config
    per_unit = float(config.get("distance_scale", PER_UNIT[kind.kind]))
    return {name: value for name, value in config.items() if name != "distance_scale"} | {
        "density_scale": per_unit * domain.unit_edge
    }


def _build_wrapper(config: WrapperConfig, parts: tuple[Representation, ...], own: dict[str, Tensor]) -> Representation:
    wrapper = config.wrap(parts)
    expected = wrapper.stored_tensors()
    if set(expected) != set(own):
        raise ValueError(f"{config.kind}: has the tensors {sorted(own)}, not {sorted(expected)}")
    for name, tensor in own.items():
        if (expected[name].dtype, expected[name].shape) != (tensor.dtype, tensor.shape):
            raise ValueError(f"'{name}' is {tensor.dtype} {tuple(tensor.shape)}")
    wrapper.load_state_dict(own, strict=False)
    return wrapper


def _check_finite(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"'{name}' contains NaN or infinity")
    return tensors


def _build(config: Any, domain: Domain, own: dict[str, Tensor]) -> Representation:
    held = sum(tensor.numel() for tensor in own.values())
    wanted = _count_values(config, domain)
    if wanted > 4 * held + MAX_NEW_VALUES:
        raise ValueError(f"its config needs {wanted} values, the file holds {held}")
    representation = config.build(domain, torch.Generator())
    expected = representation.state_dict()
    for name, tensor in own.items():
        if name in expected and expected[name].dtype != tensor.dtype:
            raise ValueError(f"'{name}' is {tensor.dtype}, not {expected[name].dtype}")
    representation.load_state_dict(own)
    representation.check()
    return representation


def _count_values(config: Any, domain: Domain) -> int:
    """Number of values that a config allocates, counted without allocating: a tiny file must not exhaust memory."""
    try:
        with torch.device("meta"), _Uninitialised():
            shadow = config.build(domain, torch.Generator())
    except (RuntimeError, NotImplementedError) as error:
        if "meta" in str(error):
            return 0  # analytic scenes read values while building, and have no parameters
        raise
    return sum(tensor.numel() for tensor in shadow.state_dict().values())


class _Uninitialised(TorchFunctionMode):
    """Skips what changes values and no shape: on the meta device that imports torch's compiler, 1 s of CPU.

    Tensors there have no values: where a build reads some, as for the spacing of splats, it gets ones.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in READERS and args[0].is_meta and args[0].numel() <= MAX_READ_VALUES:
            ones = torch.ones(args[0].shape, device="cpu")
            return func(ones, *args[1:])
        if func is torch.randn:
            return torch.empty(*args)
        if func in INITIALISERS and not any(isinstance(argument, Tensor) for argument in args[1:]):
            return args[0]
        return func(*args, **(kwargs or {}))


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
    return {CAPTURE_PREFIX + name: member for name, member in members.items() if member is not None}


def _capture(header: Any, tensors: dict[str, Tensor]) -> Capture | None:
    if header is None:
        return None
    if not isinstance(header, dict):
        raise ValueError("its capture is not a JSON object")
    members = {name: tensors.get(CAPTURE_PREFIX + name) for name in CAMERA_TENSORS}
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
