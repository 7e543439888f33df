"""Mesh files, `.glb`, `.gltf`, `.obj`, `.ply`, `.stl` and USD: geometry and materials, without lighting."""

import json
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

from volkit.extras import advice
from volkit.files.errors import FormatError, format_errors, read_start
from volkit.files.provenance import frame_from_record, record_from_comments, without_frames
from volkit.geometry import Similarity, turn
from volkit.io.meshes.gltf_file import gltf_json_head
from volkit.io.meshes.gltf_reader import read_gltf_parts
from volkit.io.meshes.obj_materials import ObjMaterials
from volkit.io.meshes.parts import ImageTable, MeshPart, mesh_of_parts, part_from_trimesh
from volkit.io.meshes.ply_mesh import read_ply_parts
from volkit.io.meshes.usd_reader import open_stage, read_stage_provenance, read_usd_parts, world_from_stage
from volkit.io.meshes.writer import write_mesh
from volkit.io.splats.columns import SplatColumns
from volkit.io.splats.scene import columns_from_splats
from volkit.io.splats.usd import read_stage_splats, write_splats
from volkit.representations.mesh import Mesh
from volkit.representations.representation import Placement
from volkit.representations.splats import Splats

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
STL_TAIL = 1024  # bytes that programs write behind the faces
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
    """Whether the file is as long as its count of faces implies, or a little longer, or a text STL."""
    head, size = read_start(path, HEAD_BYTES), path.stat().st_size
    if _is_text_stl(head):
        return True
    return len(head) >= 84 and 0 <= size - _stl_bytes(head) <= (STL_TAIL if _stl_bytes(head) > 84 else 0)


def _is_text_stl(head: bytes) -> bool:
    return head.lstrip()[:5].lower() == b"solid" and b"facet" in head[:HEAD_BYTES].lower()


def _stl_bytes(head: bytes) -> int:
    """The length of a binary STL by its count of faces; some programs write more behind them."""
    return 84 + 50 * int.from_bytes(head[80:84], "little")


def sniff_usd(path: Path) -> bool:
    """Whether the file begins as a USD crate or as USD text, or is an archive named `.usdz`."""
    head = read_start(path, HEAD_BYTES)
    return head.startswith((b"PXR-USDC", b"#usda")) or (path.suffix.lower() == ".usdz" and head.startswith(b"PK"))


def read_gltf(path: Path) -> Mesh:
    """A mesh in the file's own frame; the world's +Z is the file's +Y."""
    return _read(path, "gltf", read_gltf_parts, turn("zup", "yup"))


def read_obj(path: Path) -> Mesh:
    """A mesh in the file's own frame; the format has no up axis, +Y is assumed, as most programs write it."""
    return _read(path, "obj", _read_obj_parts, turn("zup", "yup"))


def read_ply(path: Path) -> Mesh:
    """A mesh in the file's own frame; the format has no up axis, +Z is assumed, as scanners write it."""
    return _read(path, "ply", read_ply_parts, Similarity())


def read_stl(path: Path) -> Mesh:
    """A mesh in the file's own frame, +Z up as for 3D printers; coincident corners are merged."""
    return _read(path, "stl", _read_stl_parts, Similarity())


def read_usd(path: Path) -> Mesh | SplatColumns:
    """The splats of a stage, else its meshes as one, in the stage's frame; the stage gives up axis and unit."""
    with format_errors(path, "usd", EXPORT_FIX):
        found = _read_stage(path)
    if isinstance(found, SplatColumns):
        return found
    parts, own, lost, zup_from_stage, record = found

    def stage_parts(_: Path, images: ImageTable, notes: list[str]) -> list[MeshPart]:
        images.images += own.images
        notes += lost
        return parts

    return _read(path, "usd", stage_parts, zup_from_stage, record)


def _read_stage(path: Path) -> SplatColumns | tuple[list[MeshPart], ImageTable, list[str], Similarity, dict[str, Any]]:
    with open_stage(path) as stage:
        splats = read_stage_splats(stage)
        if splats is not None:
            return splats
        _check_mesh(path)
        notes: list[str] = []
        parts = read_usd_parts(stage, images := ImageTable(), notes)
        return parts, images, notes, world_from_stage(stage), read_stage_provenance(stage)


def write_usd(scene: Mesh | Splats, path: Path) -> None:
    """Write splats, or a mesh, in the scene's frame."""
    if isinstance(scene, Mesh):
        return write_mesh(scene, path)
    write_splats(columns_from_splats(scene), path)


def _read_obj_parts(path: Path, images: ImageTable, notes: list[str]) -> list[MeshPart]:
    import trimesh

    materials = ObjMaterials(path, images, notes)
    text = BytesIO(materials.text())
    scene = trimesh.load_scene(text, file_type="obj", resolver=materials, process=False)  # pyright: ignore[reportArgumentType]
    return [materials.part(mesh) for mesh in scene.dump() if isinstance(mesh, trimesh.Trimesh)]


def _read_stl_parts(path: Path, images: ImageTable, notes: list[str]) -> list[MeshPart]:
    import trimesh

    data = path.read_bytes()
    if not _is_text_stl(data):
        data = data[: _stl_bytes(data)]
    scene = trimesh.load_scene(BytesIO(data), file_type="stl", process=False)
    meshes = [mesh for mesh in scene.dump() if isinstance(mesh, trimesh.Trimesh)]
    for mesh in meshes:
        mesh.merge_vertices()
    return [part_from_trimesh(mesh, images) for mesh in meshes]


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
    parts: Callable[[Path, ImageTable, list[str]], list[MeshPart]],
    zup_from_file: Similarity,
    record: dict[str, Any] | None = None,
) -> Mesh:
    _check_mesh(path)
    notes, images = list[str](), ImageTable()
    record = _read_record(path) if record is None else record
    frame = frame_from_record(record, "world", "zup")
    with format_errors(path, kind, EXPORT_FIX):
        mesh = mesh_of_parts(parts(path, images, notes), images, Placement(turn(frame, "zup") @ zup_from_file, frame))
    if mesh is None:
        raise FormatError(path, "has no faces", "give a mesh of triangles")
    return mesh.view(provenance=without_frames(record) | ({"notes": notes} if notes else {}))
