"""Simplification of surfaces by quadric errors (Garland and Heckbert 1997), and smoothing."""

import numpy as np
import torch

from volkit.choices import ParameterError
from volkit.geometry.triangles import Triangles

__all__ = ["check_levels", "denoise", "make_levels", "median_bend", "simplify", "smooth"]


MIN_FACES = 4  # of a closed surface
LEVEL_RATIO = 4  # of the faces of successive levels of detail: half as fine along each side
SMOOTHING_ROUNDS, TAUBIN_SHRINK, TAUBIN_GROW = (
    3,
    0.5,
    -0.53,
)  # Taubin 1995: the second half undoes the shrinkage of the first

NOISY_DEGREES, SMOOTH_DEGREES = 30.0, 10.0  # median angles between neighbours, of noisy and of smooth surfaces
MIN_NOISY_FACES = 500  # of a noisy surface: one of fewer faces may be a solid with sharp edges everywhere
ROUNDS_PER_CHECK, MAX_ROUNDS = 2, 20  # of smoothing between two checks, and in all


def make_levels(dense: Triangles, faces: int, count: int) -> tuple[Triangles, ...]:
    """Levels of detail of a surface: at most `faces` faces, and a quarter as many for each further level."""
    check_levels(faces, count)
    return tuple(simplify(dense, faces // LEVEL_RATIO**level) for level in range(count))


def check_levels(faces: int, count: int) -> None:
    """ParameterError where the last level of detail would be no solid."""
    if count < 1 or faces < MIN_FACES * LEVEL_RATIO ** (count - 1):
        raise ParameterError(f"faces {faces}, lods {count}: the last level would have fewer than {MIN_FACES} faces")


def simplify(surface: Triangles, faces: int) -> Triangles:
    """A surface of at most `faces` faces, by fast-simplification; ValueError where that is not possible."""
    import fast_simplification

    # It may stop early, and continue from its own result: findings/fast_simplification_stops_short.sh.
    while len(surface) > faces:
        found = fast_simplification.simplify(surface.vertices.numpy(), surface.faces.int().numpy(), target_count=faces)
        points, faces_left = found[0], found[1]
        fewer = Triangles(torch.from_numpy(points).float(), torch.from_numpy(faces_left).long())
        fewer = fewer.keep(fewer.areas > 0)
        if not 0 < len(fewer) < len(surface):
            raise ValueError(f"faces {faces}: the surface cannot be simplified below {len(surface)} faces")
        surface = fewer
    return surface


def smooth(surface: Triangles, rounds: int = SMOOTHING_ROUNDS) -> Triangles:
    """A surface without the steps of its lattice, by Taubin smoothing, which keeps its size."""
    vertices, many = surface.vertices, len(surface.vertices)
    start, end = surface.faces.flatten(), surface.faces.roll(-1, 1).flatten()
    edges = torch.cat([start * many + end, end * many + start]).unique()  # unique rows take ten times as long
    one, other = edges.div(many, rounding_mode="floor"), edges % many
    count = torch.bincount(one, minlength=many).clamp_min(1)[:, None]
    for step in [TAUBIN_SHRINK, TAUBIN_GROW] * rounds:
        mean = torch.zeros_like(vertices).index_add_(0, one, vertices[other]) / count
        vertices = vertices + step * (mean - vertices)
    return Triangles(vertices, surface.faces)


def median_bend(surface: Triangles) -> float:
    """Degrees, the median over edges of the angle between the normals of both faces."""
    import trimesh

    mesh = trimesh.Trimesh(surface.vertices.numpy(), surface.faces.numpy(), process=False)
    angles = mesh.face_adjacency_angles
    return float(np.degrees(np.median(angles))) if len(angles) else 0.0


def denoise(surface: Triangles) -> tuple[Triangles, int]:
    """A surface that is noisy at the scale of its faces, smoothed until it is not; and the number of rounds.

    Surfaces of few faces, and those whose median angle between neighbours is small, as of solids and good scans, stay.
    """
    rounds = 0
    if len(surface) < MIN_NOISY_FACES or median_bend(surface) <= NOISY_DEGREES:
        return surface, rounds
    while rounds < MAX_ROUNDS and median_bend(surface) > SMOOTH_DEGREES:
        surface, rounds = smooth(surface, ROUNDS_PER_CHECK), rounds + ROUNDS_PER_CHECK
    return surface, rounds
