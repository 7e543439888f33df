"""Bare triangles, as every step of meshing hands them on."""

from dataclasses import dataclass

import torch
from torch.nn import functional

from volkit.typing import Bool, Float, Int, Tensor

__all__ = ["Triangles"]


@dataclass(frozen=True)
class Triangles:
    """Vertices in a scene's local frame and faces that name them, counter-clockwise seen from outside."""

    vertices: Float[Tensor, "vertex 3"]
    faces: Int[Tensor, "face 3"]

    def __len__(self) -> int:
        return len(self.faces)

    @property
    def corners(self) -> Float[Tensor, "face 3 3"]:
        """Positions of each face's vertices."""
        return self.vertices[self.faces]

    @property
    def spans(self) -> Float[Tensor, "face 3"]:
        """Normals of faces, twice their areas long."""
        a, b, c = self.corners.unbind(1)
        return torch.linalg.cross(b - a, c - a)

    @property
    def areas(self) -> Float[Tensor, " face"]:
        """Areas of faces."""
        return 0.5 * self.spans.norm(dim=-1)

    @property
    def normals(self) -> Float[Tensor, "vertex 3"]:
        """Unit normals of vertices, the mean of their faces' by area."""
        sums = torch.zeros_like(self.vertices)
        sums.index_add_(0, self.faces.flatten(), self.spans.repeat_interleave(3, 0))
        return functional.normalize(sums, dim=-1)

    def kept(self, wanted: Bool[Tensor, " face"]) -> "Triangles":
        """Some of the faces, and the vertices that they name."""
        faces = self.faces[wanted]
        used, faces = faces.unique(return_inverse=True)
        return Triangles(self.vertices[used], faces)

    def sampled(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Points drawn evenly by area, and the unit normals of their faces."""
        edges = self.areas.double().cumsum(0)
        draw = torch.rand(count, generator=generator, dtype=torch.float64) * edges[-1]
        face = torch.searchsorted(edges, draw).clamp_max(len(self) - 1)
        u, v = torch.rand(2, count, 1, generator=generator)
        u, v = torch.where(u + v > 1.0, 1.0 - u, u), torch.where(u + v > 1.0, 1.0 - v, v)
        a, b, c = self.corners[face].unbind(1)
        return a + u * (b - a) + v * (c - a), functional.normalize(self.spans[face], dim=-1)
