"""Triangle surfaces without colours: areas, normals, tangents, samples."""

from dataclasses import dataclass

import torch
from torch.nn import functional

from volkit.typing import Bool, Float, Int, Tensor

__all__ = ["Triangles", "corner_tangents"]


CANCELLED_SHARE = 1e-3  # of the area about a vertex, at which its normals cancel: a fold


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
        """Normals of faces, as long as twice their areas."""
        a, b, c = self.corners.unbind(1)
        return torch.linalg.cross(b - a, c - a)

    @property
    def areas(self) -> Float[Tensor, " face"]:
        """Areas of faces."""
        return 0.5 * self.spans.norm(dim=-1)

    @property
    def normals(self) -> Float[Tensor, "vertex 3"]:
        """Unit normals of vertices: the area-weighted mean over their faces, or one of them where these cancel."""
        at, spans = self.faces.flatten(), self.spans.double().repeat_interleave(3, 0)
        lengths = spans.norm(dim=-1, keepdim=True)
        sums = spans.new_zeros(len(self.vertices), 4).index_add_(0, at, torch.cat([spans, lengths], 1))
        mean, total = sums.split([3, 1], -1)
        fallback = mean.new_tensor([0.0, 0.0, 1.0]).repeat(len(mean), 1)
        real = lengths[:, 0] > 0
        fallback[at[real]] = spans[real] / lengths[real]
        cancelled = mean.norm(dim=-1, keepdim=True) <= CANCELLED_SHARE * total
        return torch.where(cancelled, fallback, functional.normalize(mean, dim=-1, eps=1e-300)).float()

    def keep(self, mask: Bool[Tensor, " face"]) -> "Triangles":
        """The faces of a mask, with the vertices that they use."""
        faces = self.faces[mask]
        used, faces = faces.unique(return_inverse=True)
        return Triangles(self.vertices[used], faces)

    def sample(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Points drawn evenly by area, and the unit normals of their faces."""
        edges = self.areas.double().cumsum(0)
        draw = torch.rand(count, generator=generator, dtype=torch.float64) * edges[-1]
        face = torch.searchsorted(edges, draw).clamp_max(len(self) - 1)
        u, v = torch.rand(2, count, 1, generator=generator)
        u, v = torch.where(u + v > 1.0, 1.0 - u, u), torch.where(u + v > 1.0, 1.0 - v, v)
        a, b, c = self.corners[face].unbind(1)
        return a + u * (b - a) + v * (c - a), functional.normalize(self.spans[face], dim=-1)


def corner_tangents(surface: Triangles, corner_uv: Float[Tensor, "face 3 2"]) -> Float[Tensor, "face 3 4"]:
    """Unit tangents along u at right angles to the vertices' normals, and the sign s of `bitangent = s cross(n, t)`.

    `corner_uv` is glTF's, v runs down; the bitangent points up the texture. The tangents of all faces about a vertex
    that share uv and sign are projected onto its plane and added, weighted by the angles of their corners.
    Source: Mikkelsen, Simulation of Wrinkled Surfaces Revisited (2008), section 2, and his mikktspace.c.
    """
    uv = corner_uv.double() * torch.tensor([1.0, -1.0], dtype=torch.float64)  # v up
    corners, normals = surface.corners.double(), surface.normals.double()[surface.faces]
    edge1, edge2 = (corners[:, k] - corners[:, 0] for k in (1, 2))
    (u1, v1), (u2, v2) = ((uv[:, k] - uv[:, 0]).unbind(-1) for k in (1, 2))
    sign = torch.where(u1 * v2 - u2 * v1 < 0, -1.0, 1.0).double()
    along = functional.normalize((v2[:, None] * edge1 - v1[:, None] * edge2) * sign[:, None], dim=-1, eps=1e-300)
    weighted = _in_plane(along[:, None].expand_as(corners), normals) * _angles(corners, normals)[..., None]
    signs = sign[:, None].expand(-1, 3)
    key = torch.cat([surface.faces[..., None].double(), uv, signs[..., None]], -1).view(-1, 4)
    _, group = key.unique(dim=0, return_inverse=True)
    sums = (
        torch.zeros(len(key), 3, dtype=torch.float64).index_add_(0, group, weighted.view(-1, 3))[group].view_as(corners)
    )
    fallback = torch.where(normals[..., :1].abs() < 0.9, sums.new_tensor([1.0, 0, 0]), sums.new_tensor([0, 1.0, 0]))
    tangents = torch.where(
        sums.norm(dim=-1, keepdim=True) > 1e-9, _in_plane(sums, normals), _in_plane(fallback, normals)
    )
    return torch.cat([tangents, signs[..., None]], -1).float()


def _in_plane(vectors: Tensor, normals: Tensor) -> Tensor:
    """Unit directions of what is left of vectors at right angles to normals."""
    flat = vectors - (vectors * normals).sum(-1, keepdim=True) * normals
    return functional.normalize(flat, dim=-1, eps=1e-300)


def _angles(corners: Tensor, normals: Tensor) -> Float[Tensor, "face 3"]:
    """Angles of corners in the plane of the vertices' normals."""
    ahead, behind = (_in_plane(corners.roll(-k, 1) - corners, normals) for k in (1, 2))
    return (ahead * behind).sum(-1).clamp(-1.0, 1.0).acos()
