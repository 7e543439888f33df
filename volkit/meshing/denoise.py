"""Noise of vertices, told by the angles at which faces meet, and taken away."""

import numpy as np

from volkit.geometry.triangles import Triangles
from volkit.meshing.simplify import smooth

__all__ = ["bend", "denoise"]

NOISY, CALM = 30.0, 10.0  # degrees at which the middle one of all pairs of neighbours meets
MIN_NOISY_FACES = 500  # faces; of fewer a solid may well be made that bends everywhere
ROUNDS_PER_CHECK, MAX_ROUNDS = 2, 20  # of smoothing between two looks, and in all


def bend(surface: Triangles) -> float:
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
    if len(surface) < MIN_NOISY_FACES or bend(surface) <= NOISY:
        return surface, rounds
    while rounds < MAX_ROUNDS and bend(surface) > CALM:
        surface, rounds = smooth(surface, ROUNDS_PER_CHECK), rounds + ROUNDS_PER_CHECK
    return surface, rounds
