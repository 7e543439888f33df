"""Tangent spaces of textured triangles, as MikkTSpace defines them, for normal maps that mean the same everywhere."""

import torch
from torch.nn import functional

from volkit.geometry.triangles import Triangles
from volkit.typing import Float, Tensor

__all__ = ["corner_tangents"]


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
    some = torch.where(normals[..., :1].abs() < 0.9, sums.new_tensor([1.0, 0, 0]), sums.new_tensor([0, 1.0, 0]))
    tangents = torch.where(sums.norm(dim=-1, keepdim=True) > 1e-9, _in_plane(sums, normals), _in_plane(some, normals))
    return torch.cat([tangents, signs[..., None]], -1).float()


def _in_plane(vectors: Tensor, normals: Tensor) -> Tensor:
    """Unit directions of what is left of vectors at right angles to normals."""
    flat = vectors - (vectors * normals).sum(-1, keepdim=True) * normals
    return functional.normalize(flat, dim=-1, eps=1e-300)


def _angles(corners: Tensor, normals: Tensor) -> Float[Tensor, "face 3"]:
    """Angles of corners as seen along the vertices' normals."""
    ahead, behind = (_in_plane(corners.roll(-k, 1) - corners, normals) for k in (1, 2))
    return (ahead * behind).sum(-1).clamp(-1.0, 1.0).acos()
