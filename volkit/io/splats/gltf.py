"""Splats in glTF, KHR_gaussian_splatting (release candidate of 2026-07), `.glb` or `.gltf`.

Points with rotation x y z w, scale, opacity and harmonics, one attribute each. Drafts before February 2026 stored the
logarithm of the scale, which shows in negative values. The axes are left, up, front where a `.ply` has right, down,
front, as SPZ's documentation says and splat-transform does: half a turn about z.
Source: KhronosGroup/glTF `extensions/2.0/Khronos/KHR_gaussian_splatting`.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from volkit.files.atomic import atomic_write
from volkit.files.errors import FormatError, format_errors
from volkit.files.provenance import provenance_record
from volkit.geometry.colour import array_linear_from_srgb
from volkit.geometry.frames import Similarity, turn
from volkit.io.meshes.gltf_builder import GltfBuilder, pack_glb
from volkit.io.meshes.gltf_file import MAX_NODE_DEPTH, GltfFile, gltf_json_head, parse_gltf
from volkit.io.splats.columns import (
    SplatColumns,
    check_count,
    columns_from_parts,
    columns_to_write,
    exp_scales,
    normalise_quaternions,
    safe_log,
    safe_logit,
    sigmoid_opacities,
)
from volkit.io.splats.quantisation import colour_from_sh_dc

__all__ = ["EXTENSION", "read", "sniff", "write"]

EXTENSION = "KHR_gaussian_splatting"
POINTS, ARRAY_BUFFER = 0, 34962
COMPONENT_TYPES = {"float32": 5126, "uint16": 5123}
ACCESSOR_TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}


def sniff(path: Path) -> bool:
    """Whether the file is glTF with the extension."""
    return f'"{EXTENSION}"'.encode() in gltf_json_head(path)


def read(path: Path) -> SplatColumns:
    """All splats of the scene: of a single primitive in its own frame, of several in the file's frame."""
    with format_errors(path, "gltf", "export it again"):
        tree, buffers = parse_gltf(path)
        found, extras = _read_scene(path, tree, buffers), tree["asset"].get("extras")
        if not found:
            raise FormatError(path, "has no splats in its scene", "export it again")
        provenance = dict(extras) if isinstance(extras, dict) else {}
        return columns_from_parts(found, turn("zup", "yup"), provenance | {"format": "splat_gltf"})


def _read_scene(
    path: Path, tree: dict[str, Any], buffers: list[bytes]
) -> list[tuple[dict[str, np.ndarray], Similarity]]:
    reader = GltfFile(path, tree, buffers)
    scene = tree["scenes"][tree.get("scene", 0)] if tree.get("scenes") else {"nodes": range(len(tree["nodes"]))}
    found, total = [], 0
    for root in scene.get("nodes", ()):
        for number, to_file in reader.mesh_nodes(root, np.eye(4), MAX_NODE_DEPTH):
            if np.linalg.det(to_file[:3, :3]) <= 0:
                raise ValueError("splats are mirrored or flattened")
            for primitive in _primitives(tree, tree["nodes"][number]["mesh"]):
                columns = _columns(reader, primitive)
                total += len(columns["means"])  # nodes may repeat the same splats
                check_count(path, total, sum(map(len, buffers)))
                found.append((columns, Similarity.from_matrix(to_file)))
    return found


def _primitives(tree: dict[str, Any], mesh: int) -> Iterator[dict[str, Any]]:
    for primitive in tree["meshes"][mesh]["primitives"]:
        about = primitive.get("extensions", {}).get(EXTENSION)
        if about is None or primitive.get("mode", 4) != POINTS:
            continue
        if about.get("extensions"):
            raise ValueError(f"splats are compressed by {', '.join(about['extensions'])}, which is not supported")
        if about.get("colorSpace", "srgb_rec709_display") != "srgb_rec709_display":
            raise ValueError(f"colours are of {about['colorSpace']}, not display-referred sRGB")
        yield primitive


def _columns(reader: GltfFile, primitive: dict[str, Any]) -> dict[str, np.ndarray]:
    attributes = primitive["attributes"].items()
    wanted = {name: number for name, number in attributes if name == "POSITION" or name.startswith(f"{EXTENSION}:")}
    arrays = reader.arrays({"attributes": wanted})
    own = {name.removeprefix(f"{EXTENSION}:"): array for name, array in arrays.items()}
    degree = max(d for d in range(5) if f"SH_DEGREE_{d}_COEF_0" in own)
    basis = [own[f"SH_DEGREE_{d}_COEF_{k}"] for d in range(degree + 1) for k in range(2 * d + 1)]
    count = len(own["POSITION"])
    shapes = {"POSITION": 3, "ROTATION": 4, "SCALE": 3, "OPACITY": 1}
    if any(own[name].shape != (count, width) for name, width in shapes.items()):
        raise ValueError("attributes of splats have different lengths")
    if any(values.shape != (count, 3) for values in basis):
        raise ValueError("harmonics have different lengths")
    scale = own["SCALE"]
    columns = {
        "means": own["POSITION"],
        "quaternions": np.roll(own["ROTATION"], 1, -1),
        "log_scales": scale if (scale < 0).any() else safe_log(scale),
        "logits": safe_logit(own["OPACITY"][:, 0]),
        "sh_dc": basis[0][:, None],
        "sh_rest": np.stack(basis[1:], 1) if degree else np.empty((count, 0, 3), np.float32),
    }
    return {name: column.astype(np.float32) for name, column in columns.items()}


def write(splats: SplatColumns, path: Path) -> None:
    """Write one primitive of floats, with `COLOR_0` for programs that draw it as plain points.

    The offset of splats that lie far from the world's origin is the translation of their node.
    """
    if path.suffix.lower() != ".glb":
        raise FormatError(path, "splats in glTF are written as one binary file", "name it .glb")
    placed, offset = splats.without_offset() if splats.georeferenced else (splats, None)
    columns = columns_to_write(placed, path, 3)
    position = columns["means"]
    opacity, constant = sigmoid_opacities(columns["logits"])[:, None], columns["sh_dc"][:, 0]
    attributes = {
        "POSITION": position,
        f"{EXTENSION}:ROTATION": np.roll(normalise_quaternions(columns["quaternions"]), -1, -1),
        f"{EXTENSION}:SCALE": exp_scales(columns["log_scales"]),
        f"{EXTENSION}:OPACITY": opacity,
    }
    harmonics = np.concatenate([columns["sh_dc"], columns["sh_rest"]], 1)
    for k in range(harmonics.shape[1]):
        degree = math.isqrt(k)
        attributes[f"{EXTENSION}:SH_DEGREE_{degree}_COEF_{k - degree * degree}"] = harmonics[:, k]
    builder = GltfBuilder({"name": path.stem} | provenance_record(splats))
    numbers = {name: _add_array(builder, np.ascontiguousarray(values, "<f4")) for name, values in attributes.items()}
    light = np.concatenate([array_linear_from_srgb(colour_from_sh_dc(constant)), opacity], 1)
    numbers["COLOR_0"] = _add_array(builder, (65535 * light).round().astype(np.uint16))
    about = {"min": position.min(0).tolist(), "max": position.max(0).tolist()}
    builder.tree["accessors"][numbers["POSITION"]] |= about
    about = {
        "kernel": "ellipse",
        "colorSpace": "srgb_rec709_display",
        "projection": "perspective",
        "sortingMethod": "cameraDistance",
    }
    builder.use_extension(EXTENSION)
    primitive = {"mode": POINTS, "attributes": numbers, "extensions": {EXTENSION: about}}
    mesh = builder.add("meshes", {"name": path.stem, "primitives": [primitive]})
    moved = {"translation": list(offset)} if offset else {}
    node = builder.add("nodes", {"name": path.stem, "mesh": mesh} | moved)
    builder.add("scenes", {"name": path.stem, "nodes": [node]})
    builder.tree["buffers"] = [{"byteLength": len(builder.blob)}]
    with atomic_write(path) as place:
        place.write_bytes(pack_glb(builder.tree, bytes(builder.blob)))


def _add_array(builder: GltfBuilder, values: np.ndarray) -> int:
    view = builder.add_view(values.tobytes(), {"target": ARRAY_BUFFER})
    kind, shares = COMPONENT_TYPES[values.dtype.name], {"normalized": True} if values.dtype == np.uint16 else {}
    about = {"bufferView": view, "componentType": kind, "count": len(values), "type": ACCESSOR_TYPES[values.shape[1]]}
    return builder.add("accessors", about | shares)
