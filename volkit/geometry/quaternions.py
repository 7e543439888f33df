"""Rotations as quaternions (w, x, y, z), the order of splat files."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from volkit.typing import Float

if TYPE_CHECKING:  # files of splats are turned without torch
    from volkit.typing import Tensor

__all__ = [
    "HALF_TURN_ORDER",
    "HALF_TURN_SIGNS",
    "quaternion_of",
    "quaternion_of_rows",
    "quaternion_product",
    "rotations_of",
]

Values = TypeVar("Values", "Tensor", np.ndarray)
# q times 1, i, j and k, as components of q and their signs: the same ellipsoid after half a turn about its own x, y or
# z; w is then w, x, y or z of q, up to its sign.
HALF_TURN_ORDER = np.array([[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]])
HALF_TURN_SIGNS = np.array([[1, 1, 1, 1], [-1, 1, 1, -1], [-1, -1, 1, 1], [-1, 1, -1, 1]], np.float32)


def rotations_of(quaternions: "Float[Tensor, 'rotation 4']") -> "Float[Tensor, 'rotation 3 3']":
    """Rotation matrices of quaternions `(w, x, y, z)` of any length but 0; differentiable.

    Example:
        >>> import torch
        >>> rotations_of(torch.tensor([[2.0, 0.0, 0.0, 0.0]]))[0]
        tensor([[1., 0., 0.],
                [0., 1., 0.],
                [0., 0., 1.]])
    """
    import torch

    w, x, y, z = torch.nn.functional.normalize(quaternions, dim=-1).unbind(-1)
    row0 = [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]
    row1 = [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]
    row2 = [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]
    return torch.stack([*row0, *row1, *row2], -1).view(-1, 3, 3)


def quaternion_of(rotation: "Float[Tensor, '*batch 3 3']") -> "Float[Tensor, '*batch 4']":
    """Unit quaternion `(w, x, y, z)` of a rotation, in float64, of either sign.

    The eigenvector of the largest eigenvalue of Bar-Itzhack's matrix (2000), which is stable at any angle; a matrix
    that is not quite orthonormal gives the nearest rotation's.

    Example:
        >>> import torch
        >>> quaternion_of(torch.eye(3)).abs()
        tensor([1., 0., 0., 0.], dtype=torch.float64)
    """
    import torch

    r = rotation.double()
    trace = r.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None]
    matrix = r.new_zeros(*r.shape[:-2], 4, 4)
    matrix[..., 1:, 1:] = r + r.mT - torch.eye(3).to(r) * trace[..., None]
    skew = r - r.mT
    axis = torch.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], -1)
    matrix[..., :1, 0], matrix[..., 0, 1:], matrix[..., 1:, 0] = trace, axis, axis
    return torch.linalg.eigh(matrix).eigenvectors[..., -1]


def quaternion_of_rows(rotation: Sequence[Sequence[float]]) -> Float[np.ndarray, "4"]:
    """As `quaternion_of`, of one rotation in plain numbers."""
    r = np.array(rotation, np.float64)
    matrix = np.zeros((4, 4))
    matrix[0, 0] = trace = np.trace(r)
    matrix[1:, 1:] = r + r.T - trace * np.eye(3)
    matrix[0, 1:] = matrix[1:, 0] = r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]
    return np.linalg.eigh(matrix).eigenvectors[:, -1]


def quaternion_product(a: "Tensor | np.ndarray", b: Values) -> Values:
    """Hamilton product `a b` of quaternions `(w, x, y, z)`: the rotation b, then a. Differentiable.

    Args:
        a: one quaternion, or as many as b; a tensor or an array.
        b: quaternions, a row each; a tensor or an array, as the result.

    Example:
        >>> half_turn = np.array([[0.0, 0.0, 0.0, 1.0]])
        >>> quaternion_product(half_turn, half_turn).tolist()  # a full turn
        [[-1.0, 0.0, 0.0, 0.0]]
    """
    factor: Any
    stack: Any
    if isinstance(b, np.ndarray):
        factor, stack = np.asarray(a, b.dtype), np.stack
    else:
        import torch

        factor, stack = torch.as_tensor(a).to(b), torch.stack
    (w, x, y, z), (bw, bx, by, bz) = ([values[..., k] for k in range(4)] for values in (factor, b))
    parts = [
        w * bw - x * bx - y * by - z * bz,
        w * bx + x * bw + y * bz - z * by,
        w * by - x * bz + y * bw + z * bx,
        w * bz + x * by - y * bx + z * bw,
    ]
    return stack(parts, -1)
