"""Splats in glTF, KHR_gaussian_splatting (release candidate of 2026-07), `.glb` or `.gltf`.

Points with rotation x y z w, scale, opacity and harmonics, one attribute each; drafts before February 2026 had the
logarithm of the scale, which is known by its negative values. The file is left, up, front (LUF) where a `.ply` is
right, down, front, as SPZ's documents say and splat-transform does: a half turn about z.
Source: KhronosGroup/glTF `extensions/2.0/Khronos/KHR_gaussian_splatting`.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from volkit.files.atomic import atomic_write
from volkit.files.errors import FormatError, format_errors
from volkit.files.provenance import provenance_of
from volkit.geometry.colour import array_linear_from_srgb
from volkit.geometry.frames import Similarity, turn
from volkit.io.meshes.gltf_builder import GltfBuilder
from volkit.io.meshes.gltf_container import packed, tree_head, unpacked
from volkit.io.meshes.gltf_reader import MAX_NODE_DEPTH, GltfReader
from volkit.io.splats.columns import (
    SplatColumns,
    check_count,
    columns_for,
    columns_of_parts,
    log_of_scales,
    logits_of,
    opacities_of,
    scales_of,
    unit_quaternions,
)
from volkit.io.splats.quantised import colour_of_constant

__all__ = ["NAME", "read", "sniff", "write"]

NAME = "KHR_gaussian_splatting"
POINTS, ARRAY = 0, 34962
COMPONENTS = {"float32": 5126, "uint16": 5123}
SHAPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}


def sniff(path: Path) -> bool:
    """Whether the file is glTF that names the extension."""
    return f'"{NAME}"'.encode() in tree_head(path)


def read(path: Path) -> SplatColumns:
    """All splats of the scene; of one primitive in its own frame, of several in the file's."""
    with format_errors(path, "gltf", "export it again"):
        tree, buffers = unpacked(path)
        found, extras = _placed(path, tree, buffers), tree["asset"].get("extras")
        if not found:
            raise FormatError(path, "shows no splats", "export it again")
        told = dict(extras) if isinstance(extras, dict) else {}
        return columns_of_parts(found, turn("zup", "yup"), told | {"format": "splat_gltf"})


def _placed(path: Path, tree: dict[str, Any], buffers: list[bytes]) -> list[tuple[dict[str, np.ndarray], Similarity]]:
    reader = GltfReader(path, tree, buffers)
    scene = tree["scenes"][tree.get("scene", 0)] if tree.get("scenes") else {"nodes": range(len(tree["nodes"]))}
    found, total = [], 0
    for root in scene.get("nodes", ()):
        for number, to_file in reader.placed(root, np.eye(4), MAX_NODE_DEPTH):
            if np.linalg.det(to_file[:3, :3]) <= 0:
                raise ValueError("splats are mirrored or flat")
            for primitive in _primitives(tree, tree["nodes"][number]["mesh"]):
                columns = _columns(reader, primitive)
                total += len(columns["means"])  # nodes may show the same splats again and again
                check_count(path, total, sum(map(len, buffers)))
                found.append((columns, Similarity.from_matrix(to_file)))
    return found


def _primitives(tree: dict[str, Any], mesh: int) -> Iterator[dict[str, Any]]:
    for primitive in tree["meshes"][mesh]["primitives"]:
        about = primitive.get("extensions", {}).get(NAME)
        if about is None or primitive.get("mode", 4) != POINTS:
            continue
        if about.get("extensions"):
            raise ValueError(f"splats are packed by {', '.join(about['extensions'])}, which is not read here")
        if about.get("colorSpace", "srgb_rec709_display") != "srgb_rec709_display":
            raise ValueError(f"colours are of {about['colorSpace']}, not display-referred sRGB")
        yield primitive


def _columns(reader: GltfReader, primitive: dict[str, Any]) -> dict[str, np.ndarray]:
    wanted = {name: number for name, number in primitive["attributes"].items()
              if name == "POSITION" or name.startswith(f"{NAME}:")}  # fmt: skip
    arrays = reader.arrays({"attributes": wanted})
    own = {name.removeprefix(f"{NAME}:"): array for name, array in arrays.items()}
    degree = max(d for d in range(5) if f"SH_DEGREE_{d}_COEF_0" in own)
    basis = [own[f"SH_DEGREE_{d}_COEF_{k}"] for d in range(degree + 1) for k in range(2 * d + 1)]
    count = len(own["POSITION"])
    shapes = {"POSITION": 3, "ROTATION": 4, "SCALE": 3, "OPACITY": 1}
    if any(own[name].shape != (count, width) for name, width in shapes.items()):
        raise ValueError("attributes of splats are of different lengths")
    if any(values.shape != (count, 3) for values in basis):
        raise ValueError("harmonics are of different lengths")
    scale = own["SCALE"]
    columns = {
        "means": own["POSITION"],
        "quaternions": np.roll(own["ROTATION"], 1, -1),
        "log_scales": scale if (scale < 0).any() else log_of_scales(scale),
        "logits": logits_of(own["OPACITY"][:, 0]),
        "sh_dc": basis[0][:, None],
        "sh_rest": np.stack(basis[1:], 1) if degree else np.empty((count, 0, 3), np.float32),
    }
    return {name: column.astype(np.float32) for name, column in columns.items()}


def write(splats: SplatColumns, path: Path) -> None:
    """One primitive of floats, with colours for programs that know nothing of splats."""
    if path.suffix.lower() != ".glb":
        raise FormatError(path, "splats in glTF are written in one file", "name it .glb")
    columns = columns_for(splats, path, 3)
    position = columns["means"]
    if not len(position):
        raise FormatError(path, "cannot hold a scene without splats", "write a .ply")
    opacity, constant = opacities_of(columns["logits"])[:, None], columns["sh_dc"][:, 0]
    attributes = {
        "POSITION": position,
        f"{NAME}:ROTATION": np.roll(unit_quaternions(columns["quaternions"]), -1, -1),
        f"{NAME}:SCALE": scales_of(columns["log_scales"]),
        f"{NAME}:OPACITY": opacity,
    }
    harmonics = np.concatenate([columns["sh_dc"], columns["sh_rest"]], 1)
    for k in range(harmonics.shape[1]):
        degree = math.isqrt(k)
        attributes[f"{NAME}:SH_DEGREE_{degree}_COEF_{k - degree * degree}"] = harmonics[:, k]
    built = GltfBuilder({"name": path.stem} | provenance_of(splats))
    numbers = {name: _stored(built, np.ascontiguousarray(values, "<f4")) for name, values in attributes.items()}
    light = np.concatenate([array_linear_from_srgb(colour_of_constant(constant)), opacity], 1)
    numbers["COLOR_0"] = _stored(built, (65535 * light).round().astype(np.uint16))
    about = {"min": position.min(0).tolist(), "max": position.max(0).tolist()}
    built.tree["accessors"][numbers["POSITION"]] |= about
    about = {"kernel": "ellipse", "colorSpace": "srgb_rec709_display", "projection": "perspective",
             "sortingMethod": "cameraDistance"}  # fmt: skip
    built.uses(NAME)
    primitive = {"mode": POINTS, "attributes": numbers, "extensions": {NAME: about}}
    mesh = built.add("meshes", {"name": path.stem, "primitives": [primitive]})
    built.add("scenes", {"name": path.stem, "nodes": [built.add("nodes", {"name": path.stem, "mesh": mesh})]})
    built.tree["buffers"] = [{"byteLength": len(built.blob)}]
    with atomic_write(path) as place:
        place.write_bytes(packed(built.tree, bytes(built.blob)))


def _stored(built: GltfBuilder, values: np.ndarray) -> int:
    view = built.view(values.tobytes(), {"target": ARRAY})
    kind, shares = COMPONENTS[values.dtype.name], {"normalized": True} if values.dtype == np.uint16 else {}
    about = {"bufferView": view, "componentType": kind, "count": len(values), "type": SHAPES[values.shape[1]]}
    return built.add("accessors", about | shares)
