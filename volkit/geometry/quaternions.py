"""Rotations as quaternions (w, x, y, z), the order of splat files."""

import torch

from volkit.typing import Float, Tensor

__all__ = ["quaternion_of", "quaternion_product", "rotations_of"]


def rotations_of(quaternions: Float[Tensor, "rotation 4"]) -> Float[Tensor, "rotation 3 3"]:
    """Rotation matrices of quaternions `(w, x, y, z)` of any length but 0; differentiable.

    Example:
        >>> rotations_of(torch.tensor([[2.0, 0.0, 0.0, 0.0]]))[0]
        tensor([[1., 0., 0.],
                [0., 1., 0.],
                [0., 0., 1.]])
    """
    w, x, y, z = torch.nn.functional.normalize(quaternions, dim=-1).unbind(-1)
    row0 = [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]
    row1 = [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]
    row2 = [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]
    return torch.stack([*row0, *row1, *row2], -1).view(-1, 3, 3)


def quaternion_of(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """Unit quaternion `(w, x, y, z)` of a rotation, in float64, of either sign.

    The eigenvector of the largest eigenvalue of Bar-Itzhack's matrix (2000), which is stable at any angle; a matrix
    that is not quite orthonormal gives the nearest rotation's.
    """
    r = rotation.double()
    trace = r.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None]
    matrix = r.new_zeros(*r.shape[:-2], 4, 4)
    matrix[..., 1:, 1:] = r + r.mT - torch.eye(3).to(r) * trace[..., None]
    skew = r - r.mT
    axis = torch.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], -1)
    matrix[..., :1, 0], matrix[..., 0, 1:], matrix[..., 1:, 0] = trace, axis, axis
    return torch.linalg.eigh(matrix).eigenvectors[..., -1]


def quaternion_product(a: Float[Tensor, "... 4"], b: Float[Tensor, "rotation 4"]) -> Float[Tensor, "rotation 4"]:
    """Hamilton product `a b` of quaternions `(w, x, y, z)`: the rotation b, then a. Differentiable.

    Args:
        a: one quaternion, or as many as b.
        b: quaternions, a row each.

    Example:
        >>> half_turn = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
        >>> quaternion_product(half_turn, half_turn)  # a full turn
        tensor([[-1.,  0.,  0.,  0.]])
    """
    (w, x, y, z), (bw, bx, by, bz) = a.to(b).unbind(-1), b.unbind(-1)
    parts = [
        w * bw - x * bx - y * by - z * bz,
        w * bx + x * bw + y * bz - z * by,
        w * by - x * bz + y * bw + z * bx,
        w * bz + x * by - y * bx + z * bw,
    ]
    return torch.stack(parts, -1)
