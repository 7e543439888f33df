"""Textured meshes, `.glb`, `.gltf` and `.obj`, by trimesh: read as what they look like without light."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch

from volkit.io.format import Format, FormatError
from volkit.io.mesh_writer import UP, write_gltf, write_obj
from volkit.representations.mesh import Mesh
from volkit.typing import Tensor

__all__ = ["GLTF", "OBJ"]

LARGEST = 1 << 31  # bytes


def sniff_gltf(path: Path) -> bool:
    """Whether the file begins as a binary glTF, or is JSON that names an asset."""
    head = _head(path)
    return head[:4] == b"glTF" or (head.lstrip()[:1] == b"{" and b'"asset"' in head and b'"version"' in head)


def sniff_obj(path: Path) -> bool:
    """Whether a file by that name has vertex lines."""
    head = _head(path)
    return path.suffix.lower() == ".obj" and any(line.startswith(b"v ") for line in head.splitlines())


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(1 << 16)
    except OSError:
        return b""


def read_gltf(path: Path) -> Mesh:
    """A mesh in the file's own frame; the world's +Z is the file's +Y."""
    mesh = _read(path, "glb" if _head(path)[:4] == b"glTF" else "gltf")
    mesh.world_from_local = UP
    return mesh


def read_obj(path: Path) -> Mesh:
    """A mesh in the file's own frame, which says nothing of what is up: taken for +Y, as most are."""
    mesh = _read(path, "obj")
    mesh.world_from_local = UP
    return mesh


def _read(path: Path, kind: str) -> Mesh:
    try:
        import trimesh
    except ImportError:
        raise FormatError(path, "is a mesh, and trimesh is not installed", "pip install 'volkit[mesh]'") from None
    if path.stat().st_size > LARGEST:
        raise FormatError(path, f"is larger than {LARGEST >> 30} GiB", "simplify the mesh first")
    try:
        whole = trimesh.load_scene(path, file_type=kind, process=False).to_mesh()
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OSError, struct.error) as error:
        raise FormatError(path, f"cannot be read as {kind}: {error}", "export it again") from None
    faces, vertices = torch.from_numpy(np.array(whole.faces)), torch.from_numpy(np.array(whole.vertices)).float()
    if not len(faces):
        raise FormatError(path, "has no faces", "give a mesh of triangles")
    if not bool(torch.isfinite(vertices).all()):
        raise FormatError(path, "has vertices that are not finite", "clean the mesh first")
    mesh = Mesh.of(vertices, faces, **_looks(whole, faces))
    mesh.check()
    return mesh


def _looks(whole: Any, faces: Tensor) -> dict[str, Tensor]:
    """Texture and corner uv, or vertex colours."""
    visual = whole.visual
    if visual.kind == "texture" and visual.uv is not None:
        material = visual.material
        image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
        if image is not None:
            texture = np.array(image.convert("RGBA"))
            factor = getattr(material, "baseColorFactor", None)
            if factor is not None:
                texture = _times_linear(texture, np.asarray(factor, np.float64) / 255.0)
            uv = torch.from_numpy(np.array(visual.uv)).float()
            uv[:, 1] = 1.0 - uv[:, 1]  # trimesh's v runs up
            return {"corner_uv": uv[faces], "texture": torch.from_numpy(texture)}
    colours = visual.to_color().vertex_colors if visual.kind == "texture" else visual.vertex_colors
    return {"colours": torch.from_numpy(np.array(colours, np.uint8))}


def _times_linear(texture: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """glTF multiplies a base colour by its factor in linear light."""
    if (factor[:4] >= 1.0).all():
        return texture
    value = texture / 255.0
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    linear[..., 3] = value[..., 3]
    linear *= factor
    coded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-12) ** (1 / 2.4) - 0.055)
    coded[..., 3] = linear[..., 3]
    return (coded * 255.0).round().clip(0, 255).astype(np.uint8)


KEEPS = "shape and base colour, without light"
GLTF = Format("gltf", (".glb", ".gltf"), ("mesh",), sniff_gltf, read_gltf, write_gltf, KEEPS)
OBJ = Format("obj", (".obj",), ("mesh",), sniff_obj, read_obj, write_obj, KEEPS)
