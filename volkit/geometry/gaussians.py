"""Gaussians as columns before activation, moved from one frame to another."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from volkit.geometry.quaternions import quaternion_of_rows, quaternion_product
from volkit.geometry.spherical_harmonics import rotate_sh

if TYPE_CHECKING:  # files of splats are moved without torch
    from volkit.geometry.frames import Similarity
    from volkit.typing import Tensor

__all__ = ["move_gaussians"]

Values = TypeVar("Values", "Tensor", np.ndarray)


def move_gaussians(columns: Mapping[str, Values], place: "Similarity") -> dict[str, Values]:
    """Columns of Gaussians, tensors or arrays, moved, turned and scaled, harmonics and all.

    `means` [splat, 3], `quaternions` [splat, 4] of w, x, y, z, `log_scales` [splat, axis] and `sh_rest`
    [splat, basis, 3], from degree 1, change; what else there is stays. An identity changes no bit.
    """
    if place.is_identity:
        return dict(columns)
    return dict(columns) | {
        "means": place.points(columns["means"]),
        "quaternions": quaternion_product(quaternion_of_rows(place.rotation), columns["quaternions"]),
        "log_scales": columns["log_scales"] + math.log(place.scale),
        "sh_rest": rotate_sh(columns["sh_rest"], np.array(place.rotation), constant=False),
    }
