"""Tangents as readers of a mesh find them: MikkTSpace (Mikkelsen 2008), the default of glTF."""

import torch
from torch.nn import functional

from volkit.meshing.unwrap import Atlas
from volkit.typing import Float, Tensor

__all__ = ["corner_tangents"]


def corner_tangents(atlas: Atlas) -> tuple[Float[Tensor, "face 3 3"], Float[Tensor, " face"]]:
    """Unit tangents of each face's corners and the face's sign w, local frame: B = w N x T, along -v as glTF's v runs.

    Faces that share a vertex, its uv and their sign share the tangent: the mean direction of u in the vertex's plane,
    weighted by the angles of the corners.
    """
    surface = atlas.surface
    corners, normals = surface.corners.double(), surface.normals.double()[surface.faces]
    uv = atlas.corner_uv.double() * torch.tensor([1.0, -1.0], dtype=torch.float64)
    (first, second), (a, b) = (corners[:, 1:] - corners[:, :1]).unbind(1), (uv[:, 1:] - uv[:, :1]).unbind(1)
    sign = torch.where(a[:, 0] * b[:, 1] - b[:, 0] * a[:, 1] > 0, 1.0, -1.0).double()
    along = sign[:, None] * (b[:, 1:] * first - a[:, 1:] * second)
    onward, back = (_in_plane(corners.roll(shift, 1) - corners, normals) for shift in (-1, 1))
    angle = (onward * back).sum(-1, keepdim=True).clamp(-1.0, 1.0).acos()
    shares = angle * _in_plane(along[:, None].expand(-1, 3, 3), normals)
    keys = torch.cat([surface.faces[..., None], uv, sign[:, None, None].expand(-1, 3, 1)], -1)
    _, group = keys.reshape(-1, 4).unique(dim=0, return_inverse=True)
    sums = torch.zeros(int(group.max()) + 1, 3, dtype=torch.float64).index_add_(0, group, shares.view(-1, 3))
    mean = functional.normalize(sums[group].view(-1, 3, 3), dim=-1)
    # where the uv of all faces about a vertex are one point, any direction in its plane will do
    spare = torch.linalg.cross(normals, normals.roll(1, -1) + normals.new_tensor([0.0, 0.0, 1e-3]))
    lost = mean.norm(dim=-1, keepdim=True) < 0.5
    return torch.where(lost, functional.normalize(spare, dim=-1), mean), sign


def _in_plane(vectors: Float[Tensor, "face 3 3"], normals: Float[Tensor, "face 3 3"]) -> Float[Tensor, "face 3 3"]:
    """Unit directions of vectors within the planes of normals."""
    return functional.normalize(vectors - (vectors * normals).sum(-1, keepdim=True) * normals, dim=-1)
