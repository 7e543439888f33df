"""Lens models: the map between the ideal image plane and the distorted one."""

from dataclasses import dataclass
from typing import Literal

import torch

from volkit.typing import Float, Tensor

__all__ = ["FISHEYE", "OPENCV", "PINHOLE", "Lens"]

NEWTON_STEPS = 12  # Newton; 3 to 5 are enough for phone lenses, strong wide angles take more


@dataclass(frozen=True)
class Lens:
    """A distortion model, named as in OpenCV.

    `pinhole`: no distortion. `opencv`: k1 k2 p1 p2 k3 k4 k5 k6 (Brown-Conrady with the rational denominator; readers
    pad shorter lists with zeros). `fisheye`: k1 k2 k3 k4 of the equidistant model,
    `theta_d = theta (1 + k1 theta^2 + k2 theta^4 + k3 theta^6 + k4 theta^8)`.
    Formulas: OpenCV, calib3d documentation.
    """

    model: Literal["pinhole", "opencv", "fisheye"] = "pinhole"

    def plane(
        self, directions: Float[Tensor, "point 3"], coefficients: Float[Tensor, "point coefficient"] | None
    ) -> Float[Tensor, "point 2"]:
        """Distorted image-plane position (focal length 1) of camera-frame directions; differentiable in both.

        Args:
            directions: camera frame, in front of it, of any length.
            coefficients: of the model, in its order, a row a point; None: no distortion.
        """
        if self.model == "fisheye":
            assert coefficients is not None
            return _fisheye(directions, coefficients)
        ideal = directions[:, :2] / directions[:, 2:]
        return ideal if coefficients is None or self.model == "pinhole" else _brown(ideal, coefficients)

    def directions(
        self, plane: Float[Tensor, "point 2"], coefficients: Float[Tensor, "point coefficient"] | None
    ) -> Float[Tensor, "point 3"]:
        """Camera-frame directions (not unit) that the lens draws at a distorted image-plane position.

        The inverse of `plane`, by Newton's method in float64; outside the range in which the model is one to one the
        result stays at the last place where it was. Not differentiable for distorted lenses.

        Args:
            plane: position at focal length 1.
            coefficients: of the model, in its order, a row a point; None: no distortion.
        """
        if self.model == "fisheye":
            assert coefficients is not None
            return _fisheye_inverse(plane, coefficients)
        if self.model == "opencv" and coefficients is not None:
            plane = _brown_inverse(plane, coefficients)
        return torch.cat([plane, torch.ones_like(plane[:, :1])], -1)


PINHOLE = Lens("pinhole")
OPENCV = Lens("opencv")
FISHEYE = Lens("fisheye")


def _brown(ideal: Tensor, coefficients: Tensor) -> Tensor:
    k1, k2, p1, p2, k3, k4, k5, k6 = coefficients.unbind(-1)
    x, y = ideal.unbind(-1)
    r2 = x * x + y * y
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    dx = 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    dy = p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return torch.stack([x * radial + dx, y * radial + dy], -1)


def _brown_inverse(distorted: Tensor, coefficients: Tensor) -> Tensor:
    """Newton in float64 with a central-difference Jacobian; the model is smooth, so a step of 1e-6 is exact enough."""
    target, coefficients = distorted.double(), coefficients.double()
    guess = target.clone()
    h = 1e-6
    step_x, step_y = target.new_tensor([h, 0.0]), target.new_tensor([0.0, h])
    for _ in range(NEWTON_STEPS):
        error = _brown(guess, coefficients) - target
        jx = (_brown(guess + step_x, coefficients) - _brown(guess - step_x, coefficients)) / (2 * h)
        jy = (_brown(guess + step_y, coefficients) - _brown(guess - step_y, coefficients)) / (2 * h)
        determinant = jx[:, 0] * jy[:, 1] - jy[:, 0] * jx[:, 1]
        delta = torch.stack(
            [
                jy[:, 1] * error[:, 0] - jy[:, 0] * error[:, 1],
                jx[:, 0] * error[:, 1] - jx[:, 1] * error[:, 0],
            ],
            -1,
        )
        # Beyond its fold the polynomial has no inverse: stay where the map is still one to one.
        guess = guess - torch.where(determinant[:, None] > 1e-3, delta / determinant[:, None], 0.0)
    return guess.to(distorted.dtype)


def _fisheye(directions: Tensor, coefficients: Tensor) -> Tensor:
    x, y, z = directions.unbind(-1)
    radius = torch.hypot(x, y)
    distorted = _theta_distorted(torch.atan2(radius, z), coefficients)
    return torch.stack([x, y], -1) * (distorted / radius.clamp_min(1e-12))[:, None]


def _theta_distorted(theta: Tensor, coefficients: Tensor) -> Tensor:
    k1, k2, k3, k4 = coefficients[:, :4].unbind(-1)
    t2 = theta * theta
    return theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))


def _fisheye_inverse(plane: Tensor, coefficients: Tensor) -> Tensor:
    radius = plane.double().norm(dim=-1)
    k1, k2, k3, k4 = coefficients.double()[:, :4].unbind(-1)
    theta = radius.clone()
    for _ in range(NEWTON_STEPS):
        t2 = theta * theta
        slope = 1 + t2 * (3 * k1 + t2 * (5 * k2 + t2 * (7 * k3 + t2 * 9 * k4)))
        error = _theta_distorted(theta, coefficients.double()) - radius
        theta = (theta - torch.where(slope > 1e-3, error / slope, 0.0)).clamp(0.0, torch.pi)
    scale = torch.sin(theta) / radius.clamp_min(1e-12)
    # At the centre sin(theta) / radius is 1; the clamp would make it 0.
    scale = torch.where(radius < 1e-9, torch.ones_like(scale), scale)
    return torch.cat([plane * scale[:, None].to(plane.dtype), torch.cos(theta)[:, None].to(plane.dtype)], -1)
