"""Meshes of `.ply` files: polygons and strips, colours of vertices and faces of any type, textures by comments."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from volkit.files.errors import FormatError
from volkit.files.ply_file import read_lists, white_level
from volkit.io.meshes.beside import find_beside, read_picture
from volkit.io.meshes.parts import ImageTable, MeshPart
from volkit.io.meshes.polygons import triangulate
from volkit.representations import Material, Texture

__all__ = ["read_ply_parts"]

INDICES = ("vertex_indices", "vertex_index")
COLOURS = tuple(tuple(before + name for name in names) for before, names in (
    ("", ("red", "green", "blue")), ("diffuse_", ("red", "green", "blue")), ("", ("r", "g", "b"))))  # fmt: skip
ALPHAS = ("alpha", "diffuse_alpha", "a")
UV = (("texture_u", "texture_v"), ("s", "t"), ("u", "v"))
KNOWN_ELEMENTS = ("vertex", "face", "tristrips")
TEXTURE = "TextureFile "  # comments that name pictures, in turn


@dataclass(frozen=True)
class _Triangles:
    """Triangles, and where each came from: rows of the corners of all polygons, and of the polygons."""

    vertices: np.ndarray  # [triangle, 3]
    corners: np.ndarray  # [triangle, 3]
    polygon: np.ndarray  # [triangle]
    counts: np.ndarray  # [polygon]


def read_ply_parts(path: Path, images: ImageTable, notes: list[str]) -> list[MeshPart]:
    """The mesh of a file, a part for each picture, in the file's frame; what is left out is said in `notes`."""
    tables, comments = read_lists(path, INDICES)
    if others := [name for name in tables if name not in KNOWN_ELEMENTS]:
        notes.append(f"its elements {', '.join(others)} were left out")
    vertex, face = tables["vertex"], tables.get("face", np.zeros(0, []))
    positions = _matrix(vertex, ("x", "y", "z"))
    found = _triangles(face, tables.get("tristrips"), positions)
    names = [comment.removeprefix(TEXTURE).strip() for comment in comments if comment.startswith(TEXTURE)]
    corner_uv = _corner_uv(vertex, face, found) if names else None
    if names and corner_uv is None:
        notes.append(f"names {', '.join(names)}, and has no uv: the pictures were left out")
    normals = _unit(_matrix(vertex, ("nx", "ny", "nz"))) if {"nx", "ny", "nz"} <= _names(vertex) else None
    own, faces = _colours(vertex), _colours(face)
    if corner_uv is None and (own is not None or faces is None):
        clear = own is not None and bool((own[:, 3] < 255).any())
        material = Material(alpha_mode="blend" if clear else "opaque")
        return [MeshPart(positions, found.vertices, material, (), own, normals)]
    # A corner with a uv or a colour of its own face is a vertex of its own.
    uv = None if corner_uv is None else corner_uv.reshape(-1, 2)
    rows = found.vertices.reshape(-1)
    by_faces = None if faces is None else faces[found.polygon.repeat(3)]
    colours = by_faces if own is None else own[rows]
    keys = np.column_stack([rows, *([] if uv is None else [uv]), *([] if colours is None else [colours])])
    _, first, place = np.unique(keys.astype(np.float64), axis=0, return_index=True, return_inverse=True)
    triangles = place.reshape(-1, 3)
    picked = [None if rows_of is None else rows_of[first] for rows_of in (uv, colours)]
    at = rows[first]
    number = _texture_numbers(face, found, len(names)) if uv is not None else np.zeros(len(triangles), np.int64)
    parts = []
    for one in np.unique(number):
        material = Material(alpha_mode="blend" if colours is not None and (colours[:, 3] < 255).any() else "opaque")
        if uv is not None:
            material = _textured(path, names[one], images)
        parts.append(
            MeshPart(
                positions[at],
                triangles[number == one],
                material,
                () if picked[0] is None else (picked[0] * [1, -1] + [0, 1],),  # the format's v runs up
                picked[1],
                None if normals is None else normals[at],
            )
        )
    return parts


def _triangles(face: np.ndarray, strips: np.ndarray | None, positions: np.ndarray) -> _Triangles:
    name = next((name for name in INDICES if name in _names(face)), None)
    lists = [] if name is None else face[name]
    if isinstance(lists, np.ndarray) and lists.ndim == 2:
        counts, flat = np.full(len(lists), 3), lists.reshape(-1).astype(np.int64)
    else:
        counts = np.array([len(one) for one in lists], np.int64)
        flat = np.concatenate([np.zeros(0, np.int64), *lists]).astype(np.int64)
    if len(flat) and not 0 <= flat.min() <= flat.max() < len(positions):
        raise ValueError(f"faces name vertices {flat.min()} to {flat.max()}, there are {len(positions)}")
    corners = triangulate(counts, positions[flat])
    polygon = np.repeat(np.arange(len(counts)), np.maximum(counts - 2, 0))
    if (counts != 3).any():  # triangles of polygons that are not convex come last: find each by its first corner
        polygon = np.searchsorted(np.cumsum(counts), corners[:, 0], side="right")
    found = _Triangles(flat[corners].reshape(-1, 3), corners, polygon, counts)
    if strips is None or not len(strips):
        return found
    stripped = [_strip(run) for row in strips[next(n for n in INDICES if n in _names(strips))]
                for run in np.split(np.asarray(row), np.flatnonzero(np.asarray(row) < 0))]  # fmt: skip
    vertices = np.concatenate([found.vertices, *stripped])
    none = np.zeros((len(vertices) - len(found.vertices), 3), np.int64)
    return _Triangles(vertices, np.concatenate([corners, none]), np.append(polygon, none[:, 0]), counts)


def _strip(run: np.ndarray) -> np.ndarray:
    """Triangles of a strip, every second one turned; a leading -1 ends the one before."""
    run = run[run >= 0].astype(np.int64)
    step = np.arange(max(len(run) - 2, 0))
    return run[np.stack([step, step + 1 + step % 2, step + 2 - step % 2], 1)]


def _corner_uv(vertex: np.ndarray, face: np.ndarray, found: _Triangles) -> np.ndarray | None:
    """Uv of the corners of triangles, [triangle, 3, 2], v up: by the faces, else by the vertices."""
    if "texcoord" in _names(face) and len(face):
        flat = np.concatenate([np.asarray(row, np.float64).reshape(-1) for row in face["texcoord"]])
        if len(flat) != 2 * found.counts.sum():
            raise ValueError(f"faces have {found.counts.sum()} corners and {len(flat)} texture coordinates")
        return flat.reshape(-1, 2)[found.corners]
    for names in UV:
        if set(names) <= _names(vertex):
            return _matrix(vertex, names)[found.vertices]
    return None


def _texture_numbers(face: np.ndarray, found: _Triangles, count: int) -> np.ndarray:
    """The picture of each triangle."""
    if "texnumber" not in _names(face):
        return np.zeros(len(found.vertices), np.int64)
    numbers = face["texnumber"].astype(np.int64)[found.polygon].clip(0)  # -1 is a face without
    if len(numbers) and numbers.max() >= count:
        raise ValueError(f"faces have picture {numbers.max()}, the file names {count}")
    return numbers


def _textured(path: Path, name: str, images: ImageTable) -> Material:
    found = find_beside(path, name)
    if found is None:
        raise FormatError(path, f"names {name}, which is not there", "keep the pictures of a .ply beside it")
    pixels = read_picture(path, name, found)
    clear = bool((pixels[..., 3] < 255).any())
    texture = Texture(images.row(found, pixels))
    return Material(found.stem, base_colour_texture=texture, alpha_mode="blend" if clear else "opaque")


def _colours(table: np.ndarray) -> np.ndarray | None:
    """Colours and alpha as bytes, [row, 4]."""
    names = next((names for names in COLOURS if set(names) <= _names(table)), None)
    if names is None or not len(table):
        return None
    alpha = next((name for name in ALPHAS if name in _names(table)), None)
    rgb = _matrix(table, names)
    bytes_ = np.full((len(rgb), 4), 255, np.uint8)
    bytes_[:, :3] = (255.0 * (rgb / white_level(table.dtype[names[0]], rgb)).clip(0, 1)).round()
    if alpha is not None:
        own = table[alpha].astype(np.float64)
        bytes_[:, 3] = (255.0 * (own / white_level(table.dtype[alpha], own)).clip(0, 1)).round()
    return bytes_


def _names(table: np.ndarray) -> set[str]:
    return set(table.dtype.names or ())


def _matrix(table: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    return np.stack([table[name].astype(np.float64) for name in names], 1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
