"""Polygons cut into triangles: fans where they are convex, by manifold3d where they are not."""

import numpy as np

__all__ = ["concave_polygons", "triangulate"]

FLAT_TURN = 1e-6  # of the polygon's area: a corner that turns the other way by less lies on a straight edge


def triangulate(counts: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Triangles `[triangle, 3]` of polygons, as rows of the list of their corners, turned as the polygons are.

    Args:
        counts: corners of each polygon.
        corners: `[corner, 3]`, the positions of all of them, polygon by polygon; each lies nearly in a plane.
    """
    starts, sizes = (np.cumsum(counts) - counts).astype(np.int64), np.maximum(counts - 2, 0)
    start, first = starts.repeat(sizes), (np.cumsum(sizes) - sizes).repeat(sizes)
    step = np.arange(len(start)) - first
    fans = np.stack([start, start + step + 1, start + step + 2], 1)
    if not (counts > 3).any() or not (concave := concave_polygons(counts, corners)).any():
        return fans
    cut = [starts[k] + _cut(corners[starts[k] : starts[k] + counts[k]]) for k in np.flatnonzero(concave)]
    return np.concatenate([fans[~concave.repeat(sizes)], *cut])


def concave_polygons(counts: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Which polygons have a corner that turns against the others, `[polygon]`."""
    counts = counts.astype(np.int64)
    ends = np.cumsum(counts)
    owner, at = np.arange(len(counts)).repeat(counts), np.arange(len(corners))
    following = np.where(at + 1 == ends[owner], ends[owner] - counts[owner], at + 1)
    edge = corners[following] - corners
    before = np.zeros_like(edge)
    before[following] = edge
    away = corners - corners[(ends - counts).clip(0, max(len(corners) - 1, 0))][owner]
    normal = np.zeros((len(counts), 3))
    np.add.at(normal, owner, np.cross(away, away[following]))
    turn = (np.cross(before, edge) * normal[owner]).sum(1)
    lowest = np.zeros(len(counts))
    np.minimum.at(lowest, owner, turn)
    return (counts > 3) & (lowest < -FLAT_TURN * (normal**2).sum(1))


def _cut(corners: np.ndarray) -> np.ndarray:
    """Triangles of one polygon; a fan where it crosses itself."""
    from manifold3d import triangulate as cut_plane

    away = corners - corners.mean(0)
    normal = np.cross(away, np.roll(away, -1, 0)).sum(0)
    across = np.cross(normal, away[np.argmax((away**2).sum(1))])
    plane = np.stack([np.cross(across, normal) / np.linalg.norm(normal), across], 1)
    found = np.asarray(cut_plane([away @ plane / np.linalg.norm(across)]), np.int64).reshape(-1, 3)
    if len(found) == len(corners) - 2:
        return found
    steps = np.arange(len(corners) - 2)
    return np.stack([0 * steps, steps + 1, steps + 2], 1)
