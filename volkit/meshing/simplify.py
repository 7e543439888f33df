"""Fewer faces by quadric errors (Garland and Heckbert 1997), and how far that went from the dense surface."""

import numpy as np
import torch

from volkit.choices import ParameterError
from volkit.geometry.triangles import Triangles

__all__ = ["check_levels", "denoise", "make_levels", "median_bend", "simplify", "smooth"]


MIN_FACES = 4  # faces of anything closed
LEVEL_RATIO = 4  # times, from one level of detail to the next: half as fine along each side
SMOOTHING_ROUNDS, TAUBIN_SHRINK, TAUBIN_GROW = (
    3,
    0.5,
    -0.53,
)  # Taubin 1995: what the first half smooths in, the second brings back out

NOISY_DEGREES, SMOOTH_DEGREES = 30.0, 10.0  # degrees at which the middle one of all pairs of neighbours meets
MIN_NOISY_FACES = 500  # faces; of fewer a solid may well be made that bends everywhere
ROUNDS_PER_CHECK, MAX_ROUNDS = 2, 20  # of smoothing between two looks, and in all


def make_levels(dense: Triangles, faces: int, count: int) -> tuple[Triangles, ...]:
    """At most `faces` faces, then a quarter as many for each further level."""
    check_levels(faces, count)
    return tuple(simplify(dense, faces // LEVEL_RATIO**level) for level in range(count))


def check_levels(faces: int, count: int) -> None:
    """ParameterError where so many levels of detail leave no solid."""
    if count < 1 or faces < MIN_FACES * LEVEL_RATIO ** (count - 1):
        raise ParameterError(f"faces {faces}, lods {count}: the last level would have fewer than {MIN_FACES} faces")


def simplify(surface: Triangles, faces: int) -> Triangles:
    """At most `faces` faces, by fast-simplification; ValueError where it leaves more."""
    import fast_simplification

    # It may stop short, and go on from what it made: findings/fast_simplification_stops_short.sh.
    while len(surface) > faces:
        found = fast_simplification.simplify(surface.vertices.numpy(), surface.faces.int().numpy(), target_count=faces)
        points, faces_left = found[0], found[1]
        fewer = Triangles(torch.from_numpy(points).float(), torch.from_numpy(faces_left).long())
        fewer = fewer.keep(fewer.areas > 0)
        if not 0 < len(fewer) < len(surface):
            raise ValueError(f"faces {faces}: the surface cannot be drawn with fewer than {len(surface)} faces")
        surface = fewer
    return surface


def smooth(surface: Triangles, rounds: int = SMOOTHING_ROUNDS) -> Triangles:
    """A surface without the steps of its lattice, of the same size."""
    vertices, many = surface.vertices, len(surface.vertices)
    start, end = surface.faces.flatten(), surface.faces.roll(-1, 1).flatten()
    edges = torch.cat([start * many + end, end * many + start]).unique()  # as numbers: rows take ten times as long
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
    """A surface that is noise at the scale of its faces, smoothed until it is not; and the rounds that this took.

    No round for one of few faces, or of faces that mostly lie on with their neighbours, as in solids and good scans.
    """
    rounds = 0
    if len(surface) < MIN_NOISY_FACES or median_bend(surface) <= NOISY_DEGREES:
        return surface, rounds
    while rounds < MAX_ROUNDS and median_bend(surface) > SMOOTH_DEGREES:
        surface, rounds = smooth(surface, ROUNDS_PER_CHECK), rounds + ROUNDS_PER_CHECK
    return surface, rounds
