"""Colliders of engines: a few closed, convex solids."""

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
# Wei et al. 2022, section 6, allow a concavity of 0.05 and search 150 times, 3 cuts ahead: 100 s for a chair of 8000
# faces. With these values as many hulls take 21 s, and are 0.0098 of the diagonal off the surface, instead of 0.0095.
MAX_SEARCHED_FACES, CONCAVITY, SEARCH_COUNT, SEARCH_DEPTH = 3_000, 0.08, 20, 2
CONVEX_SHARE = 0.98  # of its hull's volume, from which a surface counts as convex
MIN_THICKNESS = 1e-3  # of the diagonal, to which flat colliders are thickened
MAX_UPRIGHT_VOLUME = 1.1  # of the smallest box's, up to which an axis-aligned one is preferred


def build_colliders(surface: Triangles, shape: ColliderShape, seed: int = 0) -> tuple[Triangles, ...]:
    """Colliders of a surface: one convex hull, at most 32 hulls (CoACD, Wei et al. 2022), or the smallest box.

    A single hull has at most 128 vertices, one of several at most 64; all are in the surface's frame, faces outward.
    ValueError for a surface without faces.
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
        coacd.Mesh(solid.vertices.double().numpy(), solid.faces.numpy()),
        threshold=CONCAVITY,
        max_convex_hull=MAX_PIECES,
        decimate=True,
        max_ch_vertex=MAX_PIECE_VERTICES,
        seed=seed,
        mcts_iterations=SEARCH_COUNT,
        mcts_max_depth=SEARCH_DEPTH,
    )
    return tuple(_hull(torch.from_numpy(np.asarray(points)).float(), MAX_PIECE_VERTICES) for points, _ in parts)


def _hull(points: Float[Tensor, "point 3"], max_vertices: int) -> Triangles:
    """The convex hull of points, with at most `max_vertices` of its vertices, chosen farthest first."""
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
    """The chosen points and the farthest ones from their line or plane, until they span a volume."""
    middle = places[chosen].mean(0)
    for _ in range(4 - np.linalg.matrix_rank(places[chosen] - middle, tol=1e-6 * np.ptp(places))):
        _, _, axes = np.linalg.svd(places[chosen] - middle)
        across = np.abs((places - middle) @ axes[-1])
        chosen = list(dict.fromkeys([*chosen, int(across.argmax())]))
    return chosen


def _thicken(points: Float[Tensor, "point 3"]) -> tuple[np.ndarray, np.ndarray | None]:
    """Points in float64, and for those in one plane the offset by which they are thickened to both sides."""
    places = points.double().numpy()
    _, spread, axes = np.linalg.svd(places - places.mean(0), full_matrices=False)
    diagonal = float(np.linalg.norm(np.ptp(places, axis=0)))
    flat = spread[-1] / len(places) ** 0.5 < 0.1 * MIN_THICKNESS * diagonal
    return places, 0.5 * MIN_THICKNESS * diagonal * axes[-1] if flat else None


def _box(surface: Triangles) -> Triangles:
    """The smallest box of any rotation, or the axis-aligned one where that is hardly larger."""
    import trimesh

    points = surface.vertices[surface.faces.unique()].double()
    hull = _hull(points.float(), MAX_VERTICES).vertices.double()  # for the rotation alone
    rotation = torch.from_numpy(trimesh.bounds.oriented_bounds(hull.numpy())[0])[:3, :3]
    low, high = points.amin(0), points.amax(0)
    rotated = points @ rotation.T
    smallest = rotated.amax(0) - rotated.amin(0)
    if float((high - low).prod()) <= MAX_UPRIGHT_VOLUME * float(smallest.prod()):
        rotation, rotated = torch.eye(3, dtype=torch.float64), points
    low, high = rotated.amin(0), rotated.amax(0)
    bits = torch.tensor([[i & 1, i >> 1 & 1, i >> 2] for i in range(8)]) - 0.5
    return _hull(((0.5 * (low + high) + bits * (high - low)) @ rotation).float(), 8)
