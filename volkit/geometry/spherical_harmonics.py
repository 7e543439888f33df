"""Real spherical harmonics with Condon-Shortley signs, order l then m: the convention of 3DGS, svox2, TensoRF, tcnn."""

import math
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from volkit.typing import Float

if TYPE_CHECKING:  # files of splats are turned without torch
    from volkit.typing import Tensor

__all__ = ["rotate_sh", "sh_basis", "sh_count"]

Values = TypeVar("Values", "Tensor", np.ndarray)

C0 = 0.28209479177387814
C1 = 0.4886025119029199
C2 = (1.0925484305920792, 0.31539156525252005, 0.5462742152960396)
C3 = (0.5900435899266435, 2.890611442640554, 0.4570457994644658, 0.3731763325901154, 1.445305721320277)
C4 = (
    2.5033429417967046,
    1.7701307697799304,
    0.9461746957575601,
    0.6690465435572892,
    0.10578554691520431,
    0.47308734787878004,
    0.6258357354491761,
)


def sh_count(degree: int) -> int:
    """Number of basis functions up to a degree, `(degree + 1)^2`.

    Example:
        >>> sh_count(3)
        16
    """
    return (degree + 1) ** 2


def sh_basis(directions: "Float[Tensor, 'point 3']", degree: int) -> "Float[Tensor, 'point basis']":
    """Evaluate `Y_lm(direction)` for l = 0 .. degree (at most 4), unit directions.

    Colours are `0.5 + coefficients . basis` in 3DGS and svox2; instant-ngp feeds degree 3 (16 values) to its network.
    Differentiable in the directions.

    Args:
        directions: unit vectors from the camera into the scene.
        degree: 0 to 4.

    Returns:
        `[point, (degree + 1)^2]`, order l then m, stored function by function.

    Raises:
        ValueError: the degree is not 0 to 4.

    Example:
        >>> import torch
        >>> sh_basis(torch.tensor([[0.0, 0.0, 1.0]]), 1)
        tensor([[0.2821, -0.0000, 0.4886, -0.0000]])
    """
    import torch

    if not 0 <= degree <= 4:
        raise ValueError(f"spherical harmonics: degree must be 0 to 4, got {degree}")
    x, y, z = directions.unbind(-1)
    values = [torch.full_like(x, C0), *_beyond_constant(x, y, z, degree)]
    return torch.stack(values).t()  # one row per function: feature-major, as the fused network reads it


def _beyond_constant(x: Any, y: Any, z: Any, degree: int) -> list[Any]:
    """The functions of degree 1 and more, of tensors or arrays."""
    xx, yy, zz = x * x, y * y, z * z
    values = []
    if degree >= 1:
        values += [-C1 * y, C1 * z, -C1 * x]
    if degree >= 2:
        values += [
            C2[0] * x * y,
            -C2[0] * y * z,
            C2[1] * (2 * zz - xx - yy),
            -C2[0] * x * z,
            C2[2] * (xx - yy),
        ]
    if degree >= 3:
        values += [
            -C3[0] * y * (3 * xx - yy),
            C3[1] * x * y * z,
            -C3[2] * y * (4 * zz - xx - yy),
            C3[3] * z * (2 * zz - 3 * xx - 3 * yy),
            -C3[2] * x * (4 * zz - xx - yy),
            C3[4] * z * (xx - yy),
            -C3[0] * x * (xx - 3 * yy),
        ]
    if degree >= 4:
        values += [
            C4[0] * x * y * (xx - yy),
            -C4[1] * y * z * (3 * xx - yy),
            C4[2] * x * y * (7 * zz - 1),
            -C4[3] * y * z * (7 * zz - 3),
            C4[4] * (zz * (35 * zz - 30) + 3),
            -C4[3] * x * z * (7 * zz - 3),
            C4[5] * (xx - yy) * (7 * zz - 1),
            -C4[1] * x * z * (xx - 3 * yy),
            C4[6] * (xx * (xx - 3 * yy) - yy * (3 * xx - yy)),
        ]
    return values


def rotate_sh(coefficients: Values, rotation: "Tensor | np.ndarray", *, constant: bool = True) -> Values:
    """Coefficients after a rotation of the scene: the colour seen along `rotation @ d` is that formerly seen along `d`.

    The matrix D with `Y(rotation d) = D Y(d)` keeps each band (Wigner-D). It is solved for from more directions than
    it has rows, in float64, so that no band has a formula of its own; exact to 1e-14. Differentiable in the
    coefficients.

    Args:
        coefficients: `[point, basis, 3]`, a tensor or an array: order l then m, a colour a row.
        rotation: `[3, 3]` of the scene, `turned_from_original`.
        constant: whether the first row is that of degree 0, which a rotation leaves as it is; False: rows begin at
            degree 1.

    Returns:
        Coefficients of the same shape and dtype.
    """
    degree = math.isqrt(coefficients.shape[1] + (not constant)) - 1
    wigner = _wigner(np.array(rotation.tolist(), np.float64), degree)
    wigner = wigner if constant else wigner[1:, 1:]
    even = wigner.round(10)
    signs = even.diagonal()
    half_turn = np.array_equal(even, np.diag(signs))  # about an axis, as between frames of files: exact, and no product
    if isinstance(coefficients, np.ndarray):
        if half_turn:
            return coefficients * signs.astype(coefficients.dtype)[:, None]
        return np.einsum("ij,njc->nic", wigner.astype(coefficients.dtype), coefficients, optimize=True)
    import torch

    if half_turn:
        return coefficients * torch.from_numpy(signs.copy()).to(coefficients)[:, None]
    return torch.einsum("ij,njc->nic", torch.from_numpy(wigner).to(coefficients), coefficients)


def _wigner(rotation: Float[np.ndarray, "3 3"], degree: int) -> Float[np.ndarray, "basis basis"]:
    directions = np.random.default_rng(0).standard_normal((8 * sh_count(degree), 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    original, turned = (
        np.stack([np.full(len(d), C0), *_beyond_constant(d[:, 0], d[:, 1], d[:, 2], degree)], 1)
        for d in (directions, directions @ rotation.T)
    )
    return np.linalg.lstsq(original, turned, rcond=None)[0].T
