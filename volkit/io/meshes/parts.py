"""Parts of a mesh file, each with one material, and the mesh that they are together."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from volkit.geometry import Similarity
from volkit.geometry.colour import array_linear_from_srgb
from volkit.representations import Look, Material, Mesh, Placement, Texture
from volkit.typing import Tensor

__all__ = ["ImageTable", "MeshPart", "far_origin", "mesh_of_parts", "offset_of", "part_from_trimesh"]

MAX_UV = 1e6  # images from the first to where a uv may lie
PLAIN = Material()
FAR_SHARE = 8.0  # of a mesh's diagonal: vertices farther from the origin are kept as an offset and remainders


@dataclass(frozen=True)
class MeshPart:
    """Triangles with one material.

    Attributes:
        vertices: `[vertex, 3]`, in the file's frame.
        faces: `[face, 3]`.
        material: its images are rows of the file's `ImageTable`.
        uv: up to two sets, `[vertex, 2]`, (0, 0) at the upper left corner of an image, v down.
        colours: `[vertex, 4]`, display-referred bytes and alpha, factors of the base colour.
        normals: `[vertex, 3]`, unit.
    """

    vertices: np.ndarray
    faces: np.ndarray
    material: Material = PLAIN
    uv: tuple[np.ndarray, ...] = ()
    colours: np.ndarray | None = None
    normals: np.ndarray | None = None


@dataclass
class ImageTable:
    """The images of a file, each once."""

    images: list[np.ndarray] = field(default_factory=list)
    _rows: dict[Hashable, int] = field(default_factory=dict)

    def row(self, key: Hashable, pixels: np.ndarray) -> int:
        """The row of an image by a key of its own, added where it is new; `[height, width, 3 or 4]` bytes."""
        if key not in self._rows:
            self._rows[key] = len(self.images)
            self.images.append(pixels)
        return self._rows[key]

    def has(self, key: Hashable) -> bool:
        """Whether an image of that key is there, so that it need not be decoded again."""
        return key in self._rows


def part_from_trimesh(mesh: Any, images: ImageTable, material: Material | None = None) -> MeshPart:
    """The triangles of a `trimesh.Trimesh` with its look; `material` says what trimesh does not know."""
    vertices, faces, visual = np.array(mesh.vertices), np.array(mesh.faces), mesh.visual
    if visual.kind != "texture":
        colours = np.array(visual.vertex_colors, np.uint8)
        clear = "blend" if (colours[:, 3] < 255).any() else "opaque"
        return MeshPart(vertices, faces, material or Material(alpha_mode=clear), colours=colours)
    uv = () if visual.uv is None else (np.array(visual.uv, np.float64) * [1, -1] + [0, 1],)  # trimesh's v runs up
    if material is not None:
        return MeshPart(vertices, faces, material, uv)
    found = visual.material
    image = getattr(found, "baseColorTexture", None) or getattr(found, "image", None)
    if image is None or not uv:  # one colour
        rgba = np.array(found.main_color, np.float64) / 255.0
        colour = (*array_linear_from_srgb(rgba[:3]).tolist(), float(rgba[3]))
        return MeshPart(vertices, faces, Material(base_colour=colour, alpha_mode="blend" if rgba[3] < 1 else "opaque"))
    pixels = np.array(image.convert("RGBA"))
    clear = "blend" if (pixels[..., 3] < 255).any() else "opaque"
    texture = Texture(images.row(id(image), pixels))
    return MeshPart(vertices, faces, Material(base_colour_texture=texture, alpha_mode=clear), uv)


def mesh_of_parts(parts: Sequence[MeshPart], images: ImageTable, placement: Placement) -> Mesh | None:
    """The mesh of all parts, each face with the material of its part; None without faces.

    Vertices that lie far from the origin are moved there, and the placement moves them back: float32 would round them.
    """
    parts = [part for part in parts if len(part.faces)]
    if not parts:
        return None
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    faces = np.concatenate([p.faces + start for p, start in zip(parts, starts[:-1], strict=True)])
    vertices = np.concatenate([part.vertices for part in parts])
    if not -1 < faces.min() <= faces.max() < len(vertices):
        raise ValueError(f"faces name vertices {faces.min()} to {faces.max()}, there are {len(vertices)}")
    if not np.isfinite(vertices).all():
        raise ValueError("vertices are not finite")
    for uv in (uv for part in parts for uv in part.uv):
        if not (np.abs(uv) < MAX_UV).all():
            raise ValueError(f"uv are not finite, or {MAX_UV:.0e} and more")
    offset = offset_of(vertices)
    materials = list(dict.fromkeys(part.material for part in parts))
    used = list(dict.fromkeys(t.image for material in materials for t in material.textures.values()))
    rows = {image: row for row, image in enumerate(used)}
    look = Look(
        tuple(material.with_images(rows) for material in materials),
        tuple(_tensor(images.images[image]) for image in used),
        torch.from_numpy(np.repeat([materials.index(p.material) for p in parts], [len(p.faces) for p in parts])),
        _corner_uv(parts, 0),
        _corner_uv(parts, 1),
        _colours(parts),
    )
    normals = None
    if all(part.normals is not None for part in parts):
        normals = _tensor(np.concatenate([part.normals for part in parts if part.normals is not None])).float()
    mesh = Mesh.build(_tensor(vertices - offset).float(), _tensor(faces), look, normals)
    if offset.any():
        moved = placement.world_from_local @ Similarity(translation=tuple(offset.tolist()))
        placement = Placement(moved, placement.frame)
    return mesh.view(placement=placement)


def far_origin(mesh: Mesh) -> np.ndarray:
    """Where a mesh far from its frame's origin lies, [3] whole units; zeros for one that is not far."""
    ends = torch.tensor([mesh.domain.lower, mesh.domain.upper], dtype=torch.float64)
    return offset_of(mesh.world_from_local.points(ends).numpy())


def offset_of(points: np.ndarray) -> np.ndarray:
    """The middle of points far from the origin, zeros for others; whole units, so that remainders are exact."""
    low, high = points.min(0), points.max(0)
    far = np.abs([low, high]).max() > FAR_SHARE * np.linalg.norm(high - low)
    return (0.5 * (low + high)).round() if far else np.zeros(3)


def _corner_uv(parts: Sequence[MeshPart], number: int) -> Tensor | None:
    """Uv of all corners, zeros for parts without; None where none has any."""
    if not any(len(part.uv) > number for part in parts):
        return None
    own = [p.uv[number][p.faces] if len(p.uv) > number else np.zeros((len(p.faces), 3, 2)) for p in parts]
    return _tensor(np.concatenate(own)).float()


def _colours(parts: Sequence[MeshPart]) -> Tensor | None:
    """Colours of all vertices, white for parts without; None where none has any."""
    if all(part.colours is None or (part.colours == 255).all() for part in parts):
        return None
    white = [np.full((len(part.vertices), 4), 255, np.uint8) for part in parts]
    return _tensor(np.concatenate([w if p.colours is None else p.colours for p, w in zip(parts, white, strict=True)]))


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))
