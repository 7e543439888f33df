"""Similarities between frames, read as `a_from_b`, and the three frames that scene files have."""

from dataclasses import dataclass
from typing import Self

import torch

from volkit.choices import Frame
from volkit.geometry.rays import Rays
from volkit.typing import Float, Tensor

__all__ = ["UP_AXIS", "Frame", "Similarity", "turn"]

UP_AXIS: dict[Frame, str] = {"zup": "z", "yup": "y", "ydown": "-y"}  # as nerfstudio says it

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
        # Named device: a default device set by the caller must not reach plain numbers.
        rotation = torch.tensor(self.rotation, dtype=torch.float64, device="cpu")
        if rotation.shape != (3, 3) or not torch.allclose(
            rotation @ rotation.T, torch.eye(3, dtype=torch.float64, device="cpu"), atol=1e-4
        ):  # 1e-4: poses stored as float32 text lose about 1e-6 per entry
            raise ValueError(f"similarity: rotation is not orthonormal: {self.rotation}")
        if not self.scale > 0:
            raise ValueError(f"similarity: scale must be positive, got {self.scale}")

    @classmethod
    def from_matrix(cls, matrix: Float[Tensor, "4 4"] | Float[Tensor, "3 4"]) -> Self:
        """Split a homogeneous matrix into its parts; ValueError where it is no similarity."""
        matrix = matrix.double()
        scale = float(torch.linalg.det(matrix[:3, :3]).abs() ** (1 / 3))
        rotation = tuple(map(tuple, (matrix[:3, :3] / scale).tolist()))
        return cls(rotation, tuple(matrix[:3, 3].tolist()), scale)

    @property
    def is_identity(self) -> bool:
        """Whether this is the identity, exactly."""
        return (self.rotation, self.translation, self.scale) == (IDENTITY, (0.0, 0.0, 0.0), 1.0)

    def matrix(self) -> Float[Tensor, "4 4"]:
        """Homogeneous matrix, float64."""
        out = torch.eye(4, dtype=torch.float64, device="cpu")
        out[:3, :3] = self.scale * out.new_tensor(self.rotation)
        out[:3, 3] = out.new_tensor(self.translation)
        return out

    def inverse(self) -> "Similarity":
        """`b_from_a`."""
        rotation = torch.tensor(self.rotation, dtype=torch.float64, device="cpu").T
        translation = -(rotation @ rotation.new_tensor(self.translation)) / self.scale
        return Similarity(tuple(map(tuple, rotation.tolist())), tuple(translation.tolist()), 1.0 / self.scale)

    def __matmul__(self, other: "Similarity") -> "Similarity":
        return Similarity.from_matrix(self.matrix() @ other.matrix())

    def points(self, positions: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        """Transform positions; differentiable in them, in their dtype and on their device."""
        return self.scale * self.vectors(positions) + positions.new_tensor(self.translation)

    def vectors(self, vectors: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        """Rotate directions, which keep their lengths; differentiable."""
        return vectors @ vectors.new_tensor(self.rotation).T

    def rays(self, rays: Rays) -> Rays:
        """Transform rays; directions stay unit, so distances along them scale by `scale`."""
        if self.is_identity:
            return rays
        return Rays(self.points(rays.origins), self.vectors(rays.directions), rays.time, rays.appearance)


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
        >>> turn("zup", "yup").points(torch.tensor([[0.0, 1.0, 0.0]]))
        tensor([[0., 0., 1.]])
    """
    return ZUP_FROM[to].inverse() @ ZUP_FROM[source]
