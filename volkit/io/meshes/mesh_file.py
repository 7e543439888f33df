"""Mesh files, `.glb`, `.gltf`, `.obj`, `.ply`, `.stl` and USD: geometry and base colour, without lighting."""

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
from volkit.files.provenance import frame_from_record, record_from_comments, without_frames
from volkit.geometry import Similarity, turn
from volkit.io.meshes.gltf_reader import gltf_json_head, read_gltf_parts
from volkit.io.meshes.usd_reader import open_stage, read_stage_provenance, read_usd_parts, world_from_stage
from volkit.io.meshes.writer import write_mesh
from volkit.io.splats.columns import SplatColumns
from volkit.io.splats.scene import columns_from_splats
from volkit.io.splats.usd import read_stage_splats, write_splats
from volkit.representations.mesh import Mesh
from volkit.representations.representation import Placement
from volkit.representations.splats import Splats
from volkit.typing import Tensor

__all__ = [
    "read_gltf",
    "read_obj",
    "read_ply",
    "read_stl",
    "read_usd",
    "sniff_obj",
    "sniff_ply",
    "sniff_stl",
    "sniff_usd",
    "write_mesh",
    "write_usd",
]

MAX_FILE_BYTES = 1 << 31
HEAD_BYTES = 1 << 16  # bytes by which a format is recognised
EXPORT_FIX = "export it again"


def sniff_obj(path: Path) -> bool:
    """Whether a file named `.obj` has lines of vertices."""
    head = read_start(path, HEAD_BYTES)
    return path.suffix.lower() == ".obj" and any(line.startswith(b"v ") for line in head.splitlines())


def sniff_ply(path: Path) -> bool:
    """Whether the header has an element `face`, which splats and point clouds lack."""
    head = read_start(path, HEAD_BYTES)
    return head.startswith(b"ply") and b"element face" in head.partition(b"end_header")[0]


def sniff_stl(path: Path) -> bool:
    """Whether the file has the length that its count of faces implies, or is a text STL."""
    head = read_start(path, HEAD_BYTES)
    if head.lstrip().startswith(b"solid") and b"facet" in head:
        return True
    return len(head) >= 84 and 84 + 50 * int.from_bytes(head[80:84], "little") == path.stat().st_size


def sniff_usd(path: Path) -> bool:
    """Whether the file begins as a USD crate or as USD text, or is an archive named `.usdz`."""
    head = read_start(path, HEAD_BYTES)
    return head.startswith((b"PXR-USDC", b"#usda")) or (path.suffix.lower() == ".usdz" and head.startswith(b"PK"))


def read_gltf(path: Path) -> Mesh:
    """A mesh in the file's own frame; the world's +Z is the file's +Y."""
    return _read(path, "gltf", read_gltf_parts, turn("zup", "yup"))


def read_obj(path: Path) -> Mesh:
    """A mesh in the file's own frame; the format has no up axis, +Y is assumed, as most programs write it."""
    with format_errors(path, "obj", EXPORT_FIX):
        _check_pictures(path)
    return _read(path, "obj", _trimesh_reader("obj"), turn("zup", "yup"))


def read_ply(path: Path) -> Mesh:
    """A mesh in the file's own frame; the format has no up axis, +Z is assumed, as scanners write it."""
    return _read(path, "ply", _trimesh_reader("ply"), Similarity())


def read_stl(path: Path) -> Mesh:
    """A mesh in the file's own frame, +Z up as for 3D printers; coincident corners are merged."""
    return _read(path, "stl", _trimesh_reader("stl"), Similarity())


def read_usd(path: Path) -> Mesh | SplatColumns:
    """The splats of a stage, else its meshes as one, in the stage's frame; the stage gives up axis and unit."""
    with format_errors(path, "usd", EXPORT_FIX):
        found = _read_stage(path)
    if isinstance(found, SplatColumns):
        return found
    parts, zup_from_stage, record = found
    return _read(path, "usd", lambda _: parts, zup_from_stage, record)


def _read_stage(path: Path) -> SplatColumns | tuple[list[Any], Similarity, dict[str, Any]]:
    with open_stage(path) as stage:
        splats = read_stage_splats(stage)
        if splats is not None:
            return splats
        _check_mesh(path)
        return read_usd_parts(stage), world_from_stage(stage), read_stage_provenance(stage)


def write_usd(scene: Mesh | Splats, path: Path) -> None:
    """Write splats, or a mesh, in the scene's frame."""
    if isinstance(scene, Mesh):
        return write_mesh(scene, path)
    write_splats(columns_from_splats(scene), path)


def _check_pictures(path: Path) -> None:
    """Raise FormatError where a material or colour texture of an .obj is missing, rather than read a grey mesh."""
    materials = [_find_beside(path, path, name) for name in _names_after(path, b"mtllib")]
    for material in materials:
        for name in _names_after(material, b"map_Kd"):
            _find_beside(path, material, name)


def _names_after(path: Path, key: bytes) -> list[str]:
    """What follows a keyword on the lines of a text file that begin with it."""
    with path.open("rb") as file:
        lines = [line.split(None, 1) for line in file if line.lstrip().startswith(key)]
    return [line[1].decode(errors="replace").strip() for line in lines if len(line) == 2]


def _find_beside(path: Path, where: Path, name: str) -> Path:
    """The file that a line names, with or without options before the name."""
    for words in (name, name.split()[-1]):
        found = where.parent / words.replace("\\", "/")
        if found.is_file():
            return found
    raise FormatError(path, f"names {name}, which is not there", "keep the files of an .obj together")


def _trimesh_reader(kind: str) -> Callable[[Path], list[Any]]:
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


def _read_record(path: Path) -> dict[str, Any]:
    """Our provenance record, from the tree of a glTF or the comments of a text header."""
    if tree := gltf_json_head(path):
        with suppress(ValueError, RecursionError, KeyError, TypeError):  # the JSON may exceed its head
            return dict(json.loads(tree)["asset"]["extras"])
        return {}
    lines = read_start(path, HEAD_BYTES).partition(b"end_header")[0].decode("latin-1").splitlines()
    return record_from_comments(line.removeprefix("comment ").removeprefix("# ") for line in lines)


def _read(
    path: Path,
    kind: str,
    parts: Callable[[Path], list[Any]],
    zup_from_file: Similarity,
    record: dict[str, Any] | None = None,
) -> Mesh:
    _check_mesh(path)
    with format_errors(path, kind, EXPORT_FIX):
        vertices, faces, appearance = _merge_parts(parts(path))
    if not len(faces):
        raise FormatError(path, "has no faces", "give a mesh of triangles")
    if not bool(torch.isfinite(vertices).all()):
        raise FormatError(path, "has vertices that are not finite", "clean the mesh first")
    record = _read_record(path) if record is None else record
    frame = frame_from_record(record, "world", "zup")
    placement = Placement(turn(frame, "zup") @ zup_from_file, frame)
    mesh = Mesh.of(vertices, faces, **appearance).view(placement=placement, provenance=without_frames(record))
    try:
        mesh.check()
    except ValueError as error:
        raise FormatError(path, str(error), EXPORT_FIX) from error
    return mesh


def _merge_parts(parts: list[Any]) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Vertices, faces, and texture with corner uv or vertex colours, of all parts merged into one texture."""
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
            appearance = {"corner_uv": uv[faces], "texture": torch.from_numpy(np.array(image.convert("RGBA")))}
            metallic_roughness = getattr(material, "metallicRoughnessTexture", None)
            rough = ((255, 255), (0, 0))  # roughness 1 and metalness 0 everywhere: the default
            if metallic_roughness is not None and metallic_roughness.getextrema()[1:3] != rough:
                appearance["metallic_roughness"] = torch.from_numpy(np.array(metallic_roughness.convert("RGB")))
            return vertices, faces, appearance
    if visual.kind == "texture":  # without an image or without uv: one colour
        colours = np.tile(visual.material.main_color, (len(vertices), 1))
    else:
        colours = visual.vertex_colors
    return vertices, faces, {"colours": torch.from_numpy(np.array(colours, np.uint8))}
