"""Antialiased silhouettes, through which the outline of a shape gets a gradient."""

import torch

from volkit.ops import backend
from volkit.ops.library import torch_op
from volkit.ops.raster import reference
from volkit.ops.raster.rasterise import Fragments, check_triangles, run
from volkit.typing import Float, Int, Tensor

__all__ = ["antialias", "opposite_corners"]


def opposite_corners(faces: Int[Tensor, "face 3"]) -> Int[Tensor, "face 3"]:
    """For each corner the corner of the neighbour across the opposite edge, numbered 3 face + corner; -1: none.

    An edge of more than two faces leads each to the next of them, round.
    """
    ends = torch.stack([faces.roll(-1, 1), faces.roll(-2, 1)], -1).reshape(-1, 2).long().sort(-1).values
    _, edge, count = ends.unique(dim=0, return_inverse=True, return_counts=True)
    order = edge.argsort(stable=True)
    first = (count.cumsum(0) - count)[edge[order]]
    place = torch.arange(len(order), device=faces.device)
    next_ = first + (place - first + 1) % count[edge[order]]
    found = torch.empty_like(order)
    found[order] = torch.where(next_ == place, -1, order[next_])
    return found.view(-1, 3).int()


def antialias(
    picture: Float[Tensor, "height width channel"],
    fragments: Fragments,
    points: Float[Tensor, "vertex 3"],
    faces: Int[Tensor, "face 3"],
    opposite: Int[Tensor, "face 3"],
) -> Float[Tensor, "height width channel"]:
    """Blend neighbouring pixels where a surface ends between them (Laine et al. 2020, "Antialiasing").

    Of two pixels beside or above each other that show different faces, the nearer one's surface is followed towards the
    other, across at most 16 faces, to an edge at which it ends: a border, or one beyond which it turns back. Where that
    edge, as a line on the picture, crosses at t in [0, 1] of the way from the first centre, the pixel that the crossing
    lies in receives |t - 1/2| of the difference to the other's colour. (The paper tests one face alone, and misses
    outlines whose faces are smaller than a pixel.) Upright edges count between pixels beside each other, others between
    pixels above each other, so that an outline counts once.

    `opposite` is `opposite_corners(faces)`. Differentiable in the picture and, through t, in points. float64 takes the
    reference for what has no derivative, the edges; the rest is torch.
    """
    check_triangles(points, faces)
    corners = points.index_select(0, faces.flatten())
    if backend.choose("raster", points) == "reference":
        edges = reference.ending_edges(fragments.face, fragments.depth, corners.detach().view(-1, 3, 3), opposite)
    else:
        edges = _edges(fragments.face, fragments.depth, fragments.records, corners.detach(), opposite)
    offset, first, second = _crossings(corners, edges)
    flat = picture.flatten(0, 1)
    step = flat[first] - flat[second]
    change = torch.cat([offset.clamp(-0.5, 0.0)[:, None] * step, offset.clamp(0.0, 0.5)[:, None] * step])
    return flat.index_add(0, torch.cat([first, second]), change).view_as(picture)


def _crossings(corners: Tensor, edges: Tensor) -> tuple[Float[Tensor, " crossing"], Tensor, Tensor]:
    """t - 1/2, and the two pixels by their flat numbers."""
    axis, y, x = (edges >= 0).nonzero(as_tuple=True)
    edge, width = edges[axis, y, x].long(), edges.shape[2]
    centre = torch.stack([x + 0.5, y + 0.5, torch.zeros_like(x)], -1).to(corners)
    ends = []
    for turn in (1, 2):
        h = corners[edge - edge % 3 + (edge + turn) % 3]
        ends.append(h - centre * h[:, 2:])  # the pixel's centre is the origin: differences keep their digits
    line = torch.linalg.cross(*ends)
    upright = line[:, 0].abs() >= line[:, 1].abs()
    counted = (upright == (axis == 0)).nonzero()[:, 0]
    line, axis, first = line[counted], axis[counted], (y * width + x)[counted]
    offset = -line[:, 2] / torch.where(axis == 0, line[:, 0], line[:, 1]) - 0.5
    return offset, first, first + torch.where(axis == 0, 1, width)


@torch_op("raster_edges", gradient=False)
def _edges(face: Tensor, depth: Tensor, records: Tensor, corners: Tensor, opposite: Tensor) -> Tensor:
    height, width = face.shape
    edges = face.new_empty(2, height, width)
    run(
        "raster_edges",
        records,
        [width, height],
        corners=corners.contiguous(),
        face=face.contiguous(),
        depth=depth.contiguous(),
        opposite=opposite.int().contiguous(),
        edges=edges,
    )
    return edges


@_edges.register_fake
def _(face, depth, records, corners, opposite):
    return face.new_empty(2, *face.shape)
