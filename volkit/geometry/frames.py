"""Similarities between frames, read as `a_from_b`, and the three frames that scene files have."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np

from volkit.choices import Frame
from volkit.typing import Float

if TYPE_CHECKING:  # files of splats are turned without torch
    from volkit.geometry.rays import Rays
    from volkit.typing import Tensor

__all__ = ["UP_AXIS", "Frame", "Similarity", "frame_of_up", "turn"]

UP_AXIS: dict[Frame, str] = {"zup": "z", "yup": "y", "ydown": "-y"}  # in the words of nerfstudio
UPWARD: dict[Frame, tuple[float, float, float]] = {
    "ydown": (0.0, -1.0, 0.0),
    "yup": (0.0, 1.0, 0.0),
    "zup": (0.0, 0.0, 1.0),
}  # the usual frame of splats first, which is taken of several that are equally near

Values = TypeVar("Values", "Tensor", np.ndarray)

IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True)
class Similarity:
    """`x_a = scale * rotation @ x_b + translation`, kept as plain numbers so that files and hashes are exact.

    Named `a_from_b`; products read like a chain: `a_from_b @ b_from_c` is `a_from_c`.

    Attributes:
        rotation: rows of an orthonormal matrix.
        translation: of the origin of b, in units of a.
        scale: units of a in one unit of b, positive.

    Raises:
        ValueError: the rotation is not orthonormal within 1e-4, or the scale is not positive.

    Example:
        >>> import torch
        >>> world_from_local = Similarity(translation=(0.0, 0.0, 1.0), scale=2.0)
        >>> world_from_local.points(torch.ones(1, 3))
        tensor([[2., 2., 3.]])
        >>> (world_from_local.inverse() @ world_from_local).is_identity
        True
    """

    rotation: tuple[tuple[float, ...], ...] = IDENTITY
    translation: tuple[float, ...] = (0.0, 0.0, 0.0)
    scale: float = 1.0

    def __post_init__(self) -> None:
        rotation = np.array(self.rotation, np.float64)
        # 1e-4: poses stored as float32 text lose about 1e-6 per entry
        if rotation.shape != (3, 3) or not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-4):
            raise ValueError(f"similarity: rotation is not orthonormal: {self.rotation}")
        if not self.scale > 0:
            raise ValueError(f"similarity: scale must be positive, got {self.scale}")

    @classmethod
    def from_matrix(cls, matrix: "Float[Tensor, '4 4'] | Float[np.ndarray, '3 4']") -> Self:
        """Split a homogeneous matrix, `[4, 4]` or `[3, 4]`, into its parts; ValueError where it is no similarity."""
        numbers = np.array(matrix.tolist(), np.float64)
        scale = float(abs(np.linalg.det(numbers[:3, :3])) ** (1 / 3))
        rotation = tuple(map(tuple, (numbers[:3, :3] / scale).tolist()))
        return cls(rotation, tuple(numbers[:3, 3].tolist()), scale)

    @property
    def is_identity(self) -> bool:
        """Whether this is the identity, exactly."""
        return (self.rotation, self.translation, self.scale) == (IDENTITY, (0.0, 0.0, 0.0), 1.0)

    def matrix(self) -> "Float[Tensor, '4 4']":
        """Homogeneous matrix, float64."""
        import torch

        return torch.from_numpy(self._numbers())

    def _numbers(self) -> Float[np.ndarray, "4 4"]:
        out = np.eye(4)
        out[:3, :3] = self.scale * np.array(self.rotation, np.float64)
        out[:3, 3] = self.translation
        return out

    def inverse(self) -> "Similarity":
        """`b_from_a`."""
        rotation = np.array(self.rotation, np.float64).T
        translation = -(rotation @ np.array(self.translation, np.float64)) / self.scale
        return Similarity(tuple(map(tuple, rotation.tolist())), tuple(translation.tolist()), 1.0 / self.scale)

    def __matmul__(self, other: "Similarity") -> "Similarity":
        return Similarity.from_matrix(self._numbers() @ other._numbers())

    def points(self, positions: Values) -> Values:
        """Transform positions `[..., 3]`, a tensor or an array; differentiable, in their dtype and on their device."""
        return self.scale * self.vectors(positions) + _like(positions, self.translation)

    def vectors(self, vectors: Values) -> Values:
        """Rotate directions `[..., 3]`, a tensor or an array, which keep their lengths; differentiable."""
        return vectors @ _like(vectors, self.rotation).T

    def rays(self, rays: "Rays") -> "Rays":
        """Transform rays; directions stay unit, so distances along them scale by `scale`."""
        from volkit.geometry.rays import Rays

        if self.is_identity:
            return rays
        return Rays(self.points(rays.origins), self.vectors(rays.directions), rays.time, rays.appearance)


def _like(values: Values, numbers: tuple) -> Values:
    """Numbers in the dtype of values, and on their device."""
    return np.asarray(numbers, values.dtype) if isinstance(values, np.ndarray) else values.new_tensor(numbers)


# A quarter turn about x brings glTF's +Y to +Z; frames with -Y up differ from it by a further half turn about z, as LUF
# and RDF do in SPZ's letters.
ZUP_FROM: dict[Frame, Similarity] = {
    "zup": Similarity(),
    "yup": Similarity(((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))),
    "ydown": Similarity(((-1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, -1.0, 0.0))),
}


def turn(to: Frame, source: Frame) -> Similarity:
    """The rotation `to_from_source` between two frames, of ones and zeros alone: exact.

    Args:
        to: frame of the result: `zup`, `yup` or `ydown` say which axis points up.
        source: frame of what is turned.

    Example:
        >>> import torch
        >>> turn("zup", "yup").points(torch.tensor([[0.0, 1.0, 0.0]]))
        tensor([[0., 0., 1.]])
    """
    return ZUP_FROM[to].inverse() @ ZUP_FROM[source]


def frame_of_up(up: Sequence[float]) -> tuple[Frame, Similarity]:
    """The frame whose upward axis is nearest to a direction, and the smallest rotation that brings it there.

    The rotation is `frame_from_file` where `up` is a direction of the file, of any length. An axis that is one of the
    frames' needs no rotation. ValueError where the direction has no length.

    Example:
        >>> frame_of_up((0.0, -2.0, 0.0))[0]
        'ydown'
    """
    direction = np.array(up, np.float64)
    length = float(np.linalg.norm(direction))
    if not 0 < length < math.inf:
        raise ValueError(f"up: {tuple(up)} is no direction")
    direction = direction / length
    frame = max(UPWARD, key=lambda name: float(direction @ UPWARD[name]))
    # Rodrigues: R = I + [axis]x + [axis]x^2 / (1 + cos); the cosine is at least 0, for a frame is no more than 90
    # degrees off.
    x, y, z = np.cross(direction, UPWARD[frame]).tolist()
    if (x, y, z) == (0.0, 0.0, 0.0):
        return frame, Similarity()
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    rotation = np.eye(3) + cross + cross @ cross / (1.0 + float(direction @ UPWARD[frame]))
    return frame, Similarity(tuple(map(tuple, rotation.tolist())))
