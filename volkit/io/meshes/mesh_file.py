"""Meshes in files: `.glb`, `.gltf`, `.obj`, `.ply`, `.stl` and USD, read as what they look like without light."""

import json
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from volkit.extras import advice
from volkit.files.errors import FormatError, format_errors, read_start
from volkit.files.provenance import about_scene, frame_in, provenance_in
from volkit.geometry import Similarity, turn
from volkit.io.meshes.gltf_container import tree_head
from volkit.io.meshes.gltf_reader import gltf_parts
from volkit.io.meshes.usd_reader import opened, usd_frame, usd_parts, usd_record
from volkit.io.meshes.writer import write_mesh
from volkit.io.splats.columns import SplatColumns
from volkit.io.splats.scene import columns_of_splats
from volkit.io.splats.usd import place_splats, write_splats
from volkit.representations.mesh import Mesh
from volkit.representations.representation import Placement, Representation
from volkit.representations.splats import Splats
from volkit.typing import Tensor

__all__ = [
    "read_gltf", "read_obj", "read_ply", "read_stl", "read_usd", "sniff_obj", "sniff_ply", "sniff_stl",
    "sniff_usd", "write_mesh", "write_usd",
]  # fmt: skip

MAX_FILE_BYTES = 1 << 31  # bytes
HEAD = 1 << 16  # bytes that tell what a file is
AGAIN = "export it again"


def sniff_obj(path: Path) -> bool:
    """Whether a file by that name has vertex lines."""
    head = read_start(path, HEAD)
    return path.suffix.lower() == ".obj" and any(line.startswith(b"v ") for line in head.splitlines())


def sniff_ply(path: Path) -> bool:
    """Whether the header names faces: splats and clouds have none."""
    head = read_start(path, HEAD)
    return head.startswith(b"ply") and b"element face" in head.partition(b"end_header")[0]


def sniff_stl(path: Path) -> bool:
    """Whether the file is as long as its count of faces says, or begins as text."""
    head = read_start(path, HEAD)
    if head.lstrip().startswith(b"solid") and b"facet" in head:
        return True
    return len(head) >= 84 and 84 + 50 * int.from_bytes(head[80:84], "little") == path.stat().st_size


def sniff_usd(path: Path) -> bool:
    """Whether the file begins as a crate or as text, or is an archive by that name."""
    head = read_start(path, HEAD)
    return head.startswith((b"PXR-USDC", b"#usda")) or (path.suffix.lower() == ".usdz" and head.startswith(b"PK"))


def read_gltf(path: Path) -> Mesh:
    """A mesh in the file's own frame; the world's +Z is the file's +Y."""
    return _read(path, "gltf", gltf_parts, turn("zup", "yup"))


def read_obj(path: Path) -> Mesh:
    """A mesh in the file's own frame, which says nothing of what is up: taken for +Y, as most are."""
    with format_errors(path, "obj", AGAIN):
        _check_pictures(path)
    return _read(path, "obj", _by_trimesh("obj"), turn("zup", "yup"))


def read_ply(path: Path) -> Mesh:
    """A mesh in the file's own frame, which says nothing of what is up: taken for +Z, as scanners have it."""
    return _read(path, "ply", _by_trimesh("ply"), Similarity())


def read_stl(path: Path) -> Mesh:
    """A mesh in the file's own frame, +Z up as printers have it; corners at one place become one vertex."""
    return _read(path, "stl", _by_trimesh("stl"), Similarity())


def read_usd(path: Path) -> Mesh | SplatColumns:
    """Splats, or else a mesh, in the stage's frame, which says what is up and how long its unit is."""
    with format_errors(path, "usd", AGAIN):
        found = _on_stage(path)
    if isinstance(found, SplatColumns):
        return found
    parts, world_from_stage, told = found
    return _read(path, "usd", lambda _: parts, world_from_stage, told)


def _on_stage(path: Path) -> SplatColumns | tuple[list[Any], Similarity, dict[str, Any]]:
    with opened(path) as stage:
        splats = place_splats(stage)
        if splats is not None:
            return splats
        _check_mesh(path)
        return usd_parts(stage), usd_frame(stage), usd_record(stage)


def write_usd(scene: Representation, path: Path) -> None:
    """Splats, or a mesh as it is."""
    if not isinstance(scene, Splats):
        return write_mesh(scene, path)
    write_splats(columns_of_splats(scene), path)


def _check_pictures(path: Path) -> None:
    """FormatError where a material or a picture of colours that an .obj names is not there: it would be grey."""
    materials = [_beside(path, path, name) for name in _named(path, b"mtllib")]
    for material in materials:
        for name in _named(material, b"map_Kd"):
            _beside(path, material, name)


def _named(path: Path, key: bytes) -> list[str]:
    """What lines of a text file that begin with a word name after it."""
    with path.open("rb") as file:
        lines = [line.split(None, 1) for line in file if line.lstrip().startswith(key)]
    return [line[1].decode(errors="replace").strip() for line in lines if len(line) == 2]


def _beside(path: Path, where: Path, name: str) -> Path:
    """A file by its name, which may have options before it."""
    for words in (name, name.split()[-1]):
        found = where.parent / words.replace("\\", "/")
        if found.is_file():
            return found
    raise FormatError(path, f"names {name}, which is not there", "keep the files of an .obj together")


def _by_trimesh(kind: str) -> Callable[[Path], list[Any]]:
    def parts(path: Path) -> list[Any]:
        import trimesh

        whole = trimesh.load_scene(path, file_type=kind, process=False).to_mesh()
        if kind == "stl":
            whole.merge_vertices()
        return [whole]

    return parts


def _check_mesh(path: Path) -> None:
    if find_spec("trimesh") is None:
        raise FormatError(path, "is a mesh, and trimesh is not installed", advice("mesh", "embreex", "trimesh"))
    if path.stat().st_size > MAX_FILE_BYTES:
        raise FormatError(path, f"is larger than {MAX_FILE_BYTES >> 30} GiB", "simplify the mesh first")


def _told(path: Path) -> dict[str, Any]:
    """The record in a glTF's tree, or among the comments of a text header."""
    if tree := tree_head(path):
        with suppress(ValueError, RecursionError, KeyError, TypeError):  # a tree may be longer than its head
            return dict(json.loads(tree)["asset"]["extras"])
        return {}
    lines = read_start(path, HEAD).partition(b"end_header")[0].decode("latin-1").splitlines()
    return provenance_in(line.removeprefix("comment ").removeprefix("# ") for line in lines)


def _read(
    path: Path,
    kind: str,
    parts: Callable[[Path], list[Any]],
    zup_from_file: Similarity,
    told: dict[str, Any] | None = None,
) -> Mesh:
    _check_mesh(path)
    with format_errors(path, kind, AGAIN):
        vertices, faces, looks = _joined(parts(path))
    if not len(faces):
        raise FormatError(path, "has no faces", "give a mesh of triangles")
    if not bool(torch.isfinite(vertices).all()):
        raise FormatError(path, "has vertices that are not finite", "clean the mesh first")
    told = _told(path) if told is None else told
    frame = frame_in(told, "world", "zup")
    placement = Placement(turn(frame, "zup") @ zup_from_file, frame)
    mesh = Mesh.of(vertices, faces, **looks).view(placement=placement, provenance=about_scene(told))
    try:
        mesh.check()
    except ValueError as error:
        raise FormatError(path, str(error), "export it again") from error
    return mesh


def _joined(parts: list[Any]) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """All parts as one, their textures on one picture; textures and corner uv, or vertex colours."""
    import trimesh

    if not parts:
        return torch.zeros(0, 3), torch.zeros(0, 3), {}
    whole: Any = parts[0] if len(parts) == 1 else trimesh.util.concatenate(parts)
    faces, vertices = torch.from_numpy(np.array(whole.faces)), torch.from_numpy(np.array(whole.vertices)).float()
    visual = whole.visual
    if visual.kind == "texture" and visual.uv is not None:
        material = visual.material
        image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
        if image is not None:
            uv = torch.from_numpy(np.array(visual.uv)).float()
            uv[:, 1] = 1.0 - uv[:, 1]  # trimesh's v runs up
            looks = {"corner_uv": uv[faces], "texture": torch.from_numpy(np.array(image.convert("RGBA")))}
            finish = getattr(material, "metallicRoughnessTexture", None)
            if finish is not None and finish.getextrema()[1:3] != ((255, 255), (0, 0)):  # rough and not metallic
                looks["metallic_roughness"] = torch.from_numpy(np.array(finish.convert("RGB")))
            return vertices, faces, looks
    if visual.kind == "texture":  # without a picture, or without uv: one colour
        colours = np.tile(visual.material.main_color, (len(vertices), 1))
    else:
        colours = visual.vertex_colors
    return vertices, faces, {"colours": torch.from_numpy(np.array(colours, np.uint8))}
