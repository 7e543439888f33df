"""Rasterisation in plain torch: the reference of the kernels, in float64 for gradcheck."""

import torch

from volkit.typing import Float, Tensor

__all__ = ["ending_edges", "rasterise"]

SLACK_PIXELS = 1e-4  # pixels by which a face is wider than it is
MAX_WALKED_FACES = 16  # faces on the way from one pixel to the next
RECORD = 16
PAIRS_AT_ONCE = 1 << 22  # pixels times faces at once


def rasterise(
    corners: Float[Tensor, "face 3 3"], size: tuple[int, int], near: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See `volkit.ops.raster.rasterise`."""
    width, height = size
    rows, whole = _rows(corners.detach())
    slack = -SLACK_PIXELS * rows[:, :, :2].abs().sum(-1)
    pixels = _centres(width, height, corners)
    found = []
    for some in pixels.split(max(1, PAIRS_AT_ONCE // max(1, 3 * len(corners)))):
        over = torch.einsum("fik,pk->pfi", rows, some)
        nearness = over.sum(-1)
        inside = whole & (over >= slack).all(-1) & (nearness > 0) & (nearness <= 1.0 / near)
        nearness = torch.cat([nearness.new_zeros(len(some), 1), torch.where(inside, nearness, 0.0)], 1)
        found.append(nearness.argmax(1) - 1)  # the first of equals
    face = torch.cat(found)
    hit = (face >= 0).nonzero()[:, 0]
    over = torch.linalg.solve(corners[face[hit]].transpose(1, 2), pixels[hit])
    depth = 1.0 / over.sum(-1)
    barycentric = corners.new_zeros(len(pixels), 3).index_copy(0, hit, over * depth[:, None])
    far = corners.new_full((len(pixels),), torch.inf).index_copy(0, hit, depth)
    records = corners.new_zeros(len(corners), RECORD)
    return face.view(height, width).int(), barycentric.view(height, width, 3), far.view(height, width), records


def ending_edges(face: Tensor, depth: Tensor, corners: Tensor, opposite: Tensor) -> Tensor:
    """Edges `3 face + corner` at which the nearer of two neighbours ends, to the right and down; -1: none."""
    height, width = face.shape
    centres = _centres(width, height, corners).view(height, width, 3)
    rows, whole = _rows(corners)
    edges = torch.full((2, height, width), -1, dtype=torch.int32, device=face.device)
    for axis in range(2):
        end_half = (slice(None), slice(1, None)) if axis == 0 else (slice(1, None), slice(None))
        start_half = (slice(None), slice(None, -1)) if axis == 0 else (slice(None, -1), slice(None))
        ahead = depth[start_half] <= depth[end_half]
        nearer = torch.where(ahead, face[start_half], face[end_half])
        start = torch.where(ahead[..., None], centres[start_half], centres[end_half])
        step = torch.where(ahead, 1.0, -1.0)
        differs = (face[start_half] != face[end_half]).nonzero(as_tuple=True)
        walk = _walk(
            nearer[differs].long(), start[differs], step[differs].to(rows), axis, (rows, whole, corners), opposite
        )
        edges[(axis, *start_half)][differs] = walk
    return edges


def _walk(face: Tensor, start: Tensor, step: Tensor, axis: int, triangles: tuple, opposite: Tensor) -> Tensor:
    rows, whole, corners = triangles
    found = torch.full_like(face, -1)
    active = torch.arange(len(face), device=face.device)
    for _ in range(MAX_WALKED_FACES):
        at = face[active]
        over = (rows[at] * start[active, None]).sum(-1)
        slope = -step[active, None] * rows[at][:, :, axis]
        crossing = torch.where((slope > 0) & (over < slope), over / slope, torch.inf)
        first, leaves = crossing.min(1)
        edge = 3 * at + leaves
        beyond = opposite.flatten()[edge].long()
        side = (rows[at, leaves] * corners.reshape(-1, 3)[beyond.clamp_min(0)]).sum(-1)
        leaving = torch.isfinite(first) & whole[at]
        ends = leaving & ((beyond < 0) | (side > 0))
        found[active[ends]] = edge[ends]
        face = face.index_copy(0, active, beyond.clamp_min(0).div(3, rounding_mode="floor"))
        active = active[leaving & ~ends]
    return found.int()


def _rows(corners: Tensor) -> tuple[Float[Tensor, "face 3 3"], Tensor]:
    """Rows of [h0 h1 h2]^-1, and whether there are any."""
    a, b, c = corners.unbind(1)
    cross = torch.linalg.cross
    rows = torch.stack([cross(b, c), cross(c, a), cross(a, b)], 1)
    rows = rows / (a * rows[:, 0]).sum(-1)[:, None, None]
    whole = torch.isfinite(rows).flatten(1).all(1)
    return torch.where(whole[:, None, None], rows, 0.0), whole


def _centres(width: int, height: int, like: Tensor) -> Float[Tensor, "pixel 3"]:
    """Pixel centres (x, y, 1), row by row."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)], -1).view(-1, 3).to(like)
