"""Real spherical harmonics with Condon-Shortley signs, order l then m: the convention of 3DGS, svox2, TensoRF, tcnn."""

import torch

from volkit.typing import Float, Tensor

__all__ = ["sh_basis", "sh_count"]

C0 = 0.28209479177387814
C1 = 0.4886025119029199
C2 = (1.0925484305920792, 0.31539156525252005, 0.5462742152960396)
C3 = (0.5900435899266435, 2.890611442640554, 0.4570457994644658, 0.3731763325901154, 1.445305721320277)


def sh_count(degree: int) -> int:
    """Number of basis functions, `(degree + 1)^2`."""
    return (degree + 1) ** 2


def sh_basis(directions: Float[Tensor, "point 3"], degree: int) -> Float[Tensor, "point basis"]:
    """Evaluate `Y_lm(direction)` for l = 0 .. degree (at most 3), unit directions.

    Colours are `0.5 + coefficients . basis` in 3DGS and svox2; instant-ngp feeds degree 3 (16 values) to its network.
    """
    if not 0 <= degree <= 3:
        raise ValueError(f"spherical harmonics: degree must be 0 to 3, got {degree}")
    x, y, z = directions.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    values = [torch.full_like(x, C0)]
    if degree >= 1:
        values += [-C1 * y, C1 * z, -C1 * x]
    if degree >= 2:
        xx, yy, zz = x * x, y * y, z * z
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
    return torch.stack(values).t()  # one row per function: feature-major, as the fused network reads it
