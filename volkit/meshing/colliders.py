"""Solids that engines collide with: closed, convex, few of them."""

import numpy as np
import torch

from volkit.choices import ColliderShape
from volkit.geometry.triangles import Triangles
from volkit.meshing.simplify import simplify
from volkit.typing import Float, Tensor

__all__ = ["ColliderShape", "build_colliders"]


# PhysX takes 255 vertices (PxConvexMeshDesc::vertexLimit), Unity 255 triangles (manual, Mesh Collider): 2 V - 4 of them
MAX_VERTICES = 128
MAX_PIECE_VERTICES = 64  # PhysX on a GPU (PxConvexMeshDesc, note)
MAX_PIECES = 32
# Wei et al. 2022, section 6, keep 0.05 of the unit cube and search 150 times, 3 cuts ahead: 100 s for a chair of 8000
# faces. By these as many hulls take 21 s and lie 0.0098 of the diagonal off the surface on average, instead of 0.0095.
MAX_SEARCHED_FACES, CONCAVITY, SEARCH_COUNT, SEARCH_DEPTH = 3_000, 0.08, 20, 2
CONVEX_SHARE = 0.98  # of its hull's volume, from which on a surface is its own hull
MIN_THICKNESS = 1e-3  # of the diagonal: what is flat gets as much body
MAX_UPRIGHT_VOLUME = 1.1  # volumes of the best box that one along the axes may have: it is the one that people expect


def build_colliders(surface: Triangles, shape: ColliderShape, seed: int = 0) -> tuple[Triangles, ...]:
    """One convex hull, at most 32 hulls that follow the shape (CoACD, Wei et al. 2022), or the smallest box.

    A hull has at most 128 vertices, one of several at most 64; all lie about the surface's frame, faces outward.
    """
    if not len(surface):
        raise ValueError("collider: the surface has no faces")
    if shape == "box":
        return (_box(surface),)
    if shape == "convex":
        return (_hull(surface.vertices[surface.faces.unique()], MAX_VERTICES),)
    return _pieces(surface, seed)


def _pieces(surface: Triangles, seed: int) -> tuple[Triangles, ...]:
    """Hulls of the parts of an approximate convex decomposition."""
    import coacd
    import trimesh

    whole = trimesh.Trimesh(surface.vertices.numpy(), surface.faces.numpy(), process=False)
    flat = _thicken(surface.vertices)[1] is not None
    if flat or (whole.is_watertight and whole.volume > CONVEX_SHARE * whole.convex_hull.volume):
        return (_hull(surface.vertices[surface.faces.unique()], MAX_PIECE_VERTICES),)
    solid = simplify(surface, MAX_SEARCHED_FACES)
    coacd.set_log_level("error")
    parts = coacd.run_coacd(
        coacd.Mesh(solid.vertices.double().numpy(), solid.faces.numpy()), threshold=CONCAVITY,
        max_convex_hull=MAX_PIECES, decimate=True, max_ch_vertex=MAX_PIECE_VERTICES, seed=seed,
        mcts_iterations=SEARCH_COUNT, mcts_max_depth=SEARCH_DEPTH,
    )  # fmt: skip
    return tuple(_hull(torch.from_numpy(np.asarray(points)).float(), MAX_PIECE_VERTICES) for points, _ in parts)


def _hull(points: Float[Tensor, "point 3"], max_vertices: int) -> Triangles:
    """The convex hull of points, or of those of its vertices that, farthest first, matter most to it."""
    from scipy.spatial import ConvexHull

    places, thin = _thicken(points)
    if thin is not None:
        places = np.concatenate([places + thin, places - thin])
    places = places[ConvexHull(places).vertices]
    if len(places) > max_vertices:
        axes = np.concatenate([places.argmin(0), places.argmax(0)])
        chosen = list(dict.fromkeys(axes.tolist()))
        chosen = _add_spanning(places, chosen)
        while len(chosen) < max_vertices:
            planes = ConvexHull(places[chosen]).equations
            outside = (places @ planes[:, :3].T + planes[:, 3]).max(1)
            outside[chosen] = -np.inf
            chosen.append(int(outside.argmax()))
        places = places[chosen]
    hull = ConvexHull(places)
    faces = hull.simplices.astype(np.int64)
    corners = places[faces]
    inward = (np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) * hull.equations[:, :3]).sum(1) < 0
    faces[inward] = faces[inward][:, ::-1]
    solid = Triangles(torch.from_numpy(places).float(), torch.from_numpy(faces))
    return solid.keep(torch.ones(len(faces), dtype=torch.bool))


def _add_spanning(places: np.ndarray, chosen: list[int]) -> list[int]:
    """Points farthest along and across what is chosen, until they are not all in one plane."""
    middle = places[chosen].mean(0)
    for _ in range(4 - np.linalg.matrix_rank(places[chosen] - middle, tol=1e-6 * np.ptp(places))):
        _, _, axes = np.linalg.svd(places[chosen] - middle)
        across = np.abs((places - middle) @ axes[-1])
        chosen = list(dict.fromkeys([*chosen, int(across.argmax())]))
    return chosen


def _thicken(points: Float[Tensor, "point 3"]) -> tuple[np.ndarray, np.ndarray | None]:
    """Points in double precision, and where they lie in one plane, half of the thickness that they are given."""
    places = points.double().numpy()
    _, spread, axes = np.linalg.svd(places - places.mean(0), full_matrices=False)
    diagonal = float(np.linalg.norm(np.ptp(places, axis=0)))
    flat = spread[-1] / len(places) ** 0.5 < 0.1 * MIN_THICKNESS * diagonal
    return places, 0.5 * MIN_THICKNESS * diagonal * axes[-1] if flat else None


def _box(surface: Triangles) -> Triangles:
    """The smallest box in any direction, or the one along the axes where that is hardly larger."""
    import trimesh

    points = surface.vertices[surface.faces.unique()].double()
    hull = _hull(points.float(), MAX_VERTICES).vertices.double()  # says which way; all points say how far
    rotation = torch.from_numpy(trimesh.bounds.oriented_bounds(hull.numpy())[0])[:3, :3]
    low, high = points.amin(0), points.amax(0)
    rotated = points @ rotation.T
    smallest = rotated.amax(0) - rotated.amin(0)
    if float((high - low).prod()) <= MAX_UPRIGHT_VOLUME * float(smallest.prod()):
        rotation, rotated = torch.eye(3, dtype=torch.float64), points
    low, high = rotated.amin(0), rotated.amax(0)
    bits = torch.tensor([[i & 1, i >> 1 & 1, i >> 2] for i in range(8)]) - 0.5
    return _hull(((0.5 * (low + high) + bits * (high - low)) @ rotation).float(), 8)
