"""Triangles to pixels: which face each shows, where on it, and how far."""

from typing import NamedTuple

import torch

from volkit.ops import backend
from volkit.ops.library import torch_op
from volkit.ops.raster import reference
from volkit.typing import Float, Int, Tensor

__all__ = ["RECORD", "Fragments", "check_triangles", "rasterise", "run"]

RECORD = 16  # floats that pixels read of a face


class Fragments(NamedTuple):
    """The visible face of each pixel, and where on it; `records` is input of `antialias`."""

    face: Int[Tensor, "height width"]  # -1 where there is none
    barycentric: Float[Tensor, "height width 3"]  # perspective-correct; 0 where there is no face
    depth: Float[Tensor, "height width"]  # along the viewing axis; inf where there is no face
    records: Float[Tensor, "face 16"]


def rasterise(
    points: Float[Tensor, "vertex 3"], faces: Int[Tensor, "face 3"], size: tuple[int, int], *, near: float = 1e-2
) -> Fragments:
    """Draw triangles, both sides of them; `size` is (width, height), pixel centres lie at integer + 0.5.

    Points are homogeneous pixels h = (w x, w y, w), with depth w along the viewing axis: K (R m + t) of a pinhole
    camera. A pixel p = (x, y, 1) meets the plane of a face at b' = [h0 h1 h2]^-1 p, depth = 1 / sum b'_i, barycentric
    b_i = depth b'_i, and is inside where b' >= 0 (Olano and Greer 1997), so that faces that pass beside or behind the
    camera need no clipping. What is nearer than `near` is not drawn; of equal depths the first face is. A face counts
    as 1e-4 pixels wider than it is, so that no pixel falls between neighbours. Faces without area, or with a corner
    that is not finite, are not drawn.

    Differentiable in points through barycentric and depth, for the visible faces: dL/dh_i = -b'_i
    [h0 h1 h2]^-T dL/db'. The choice of the visible face has no derivative: `antialias` adds one. The same result at any
    number of threads; on CUDA last bits of gradients depend on the order of additions. float64 takes the reference.
    """
    check_triangles(points, faces)
    corners = points.index_select(0, faces.flatten()).view(-1, 3, 3)
    if backend.choose("raster", points) == "reference":
        return Fragments(*reference.rasterise(corners, size, near))
    barycentric, depth, face, records = _raster(corners, list(size), near)
    return Fragments(face, barycentric, depth, records)


@torch_op("raster")
def _raster(corners: Tensor, size: list[int], near: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    barycentric, depth, face, records = _empty(corners, size)
    keys = depth.new_zeros(depth.shape, dtype=torch.int64) if depth.is_cuda else None
    outputs = {"barycentric": barycentric, "depth": depth, "face": face, "keys": keys}
    run("raster", records, size, near, corners=corners.contiguous(), **outputs)
    return barycentric, depth, face, records


def _empty(corners: Tensor, size: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    (width, height), new = size, corners.new_empty
    return new(height, width, 3), new(height, width), new(height, width, dtype=torch.int32), new(len(corners), RECORD)


@_raster.register_fake
def _(corners, size, near):
    return _empty(corners, size)


@torch_op("raster_grad", gradient=False)
def _raster_grad(grads: list[Tensor], forward: list[Tensor]) -> Tensor:
    barycentric, depth, face, records = forward
    corners_grad = records.new_empty(len(records), 3, 3)
    run(
        "raster_grad",
        records,
        [face.shape[1], face.shape[0]],
        barycentric=barycentric,
        depth=depth,
        face=face,
        barycentric_grad=grads[0].contiguous(),
        depth_grad=grads[1].contiguous(),
        sums=records.new_zeros(len(records), 9),
        corners_grad=corners_grad,
    )
    return corners_grad


@_raster_grad.register_fake
def _(grads, forward):
    return forward[3].new_empty(len(forward[3]), 3, 3)


def run(op: str, records: Tensor, size: list[int], near: float = 0.0, **outputs: Tensor | None) -> None:
    """Call a kernel with the fields of RasterTask; `near` is read where faces are drawn."""
    width, height = size
    backend.run(op, records, records=records, faces=len(records), width=width, height=height, near=near, **outputs)


def _keep(ctx, inputs, output) -> None:
    ctx.save_for_backward(*output)
    ctx.mark_non_differentiable(*output[2:])


def _backward(ctx, barycentric_grad, depth_grad, *_):
    return _raster_grad([barycentric_grad, depth_grad], list(ctx.saved_tensors)), None, None


_raster.register_autograd(_backward, setup_context=_keep)


def check_triangles(points: Tensor, faces: Tensor) -> None:
    """Raise ValueError where faces are not three numbers of points each."""
    if points.dim() != 2 or points.shape[1] != 3 or faces.dim() != 2 or faces.shape[1] != 3:
        raise ValueError(
            f"raster: points are [vertex, 3] and faces [face, 3], got {list(points.shape)} and {list(faces.shape)}"
        )
    if len(faces) and not (int(faces.min()) >= 0 and int(faces.max()) < len(points)):
        raise ValueError(f"raster: faces name points {int(faces.min())} to {int(faces.max())}, there are {len(points)}")
