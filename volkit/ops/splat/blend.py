"""Projected splats to a picture: sorted by depth once, listed by tile, blended near to far."""

import importlib
from typing import NamedTuple

import torch

from volkit.ops import backend
from volkit.ops.library import torch_op
from volkit.ops.splat import reference
from volkit.ops.splat.project import ELLIPSE, SURFEL
from volkit.typing import Float, Int, Tensor

__all__ = ["TILE", "Blended", "blend", "blend_with_gsplat"]

TILE = 16  # pixels a side: gsplat's default and ours
CHUNK_COUNT = (
    8  # runs of splats that are listed at once; their lists are joined in order, so that any number gives the same
)
HEADER_FLOATS = {ELLIPSE: 8, SURFEL: 16}  # floats of a record before its channels
PAIR_SUMS = {ELLIPSE: 6, SURFEL: 11}  # what a pair of splat and tile gathers on the way back, before its channels


class Blended(NamedTuple):
    """A picture of splats; channels are premultiplied by opacity."""

    channels: Float[Tensor, "height width channel"]
    opacity: Float[Tensor, "height width"]
    # depth of the splat at which transmittance falls to one half, inf where it does not; None without depth
    median: Float[Tensor, "height width"] | None


def blend(
    means: Float[Tensor, "splat 2"],
    shapes: Float[Tensor, "splat column"],
    opacities: Float[Tensor, " splat"],
    depths: Float[Tensor, " splat"],
    channels: Float[Tensor, "splat channel"],
    extents: Float[Tensor, "splat 2"],
    size: tuple[int, int],
    *,
    depth: bool = False,
) -> Blended:
    """Blend splats over each other; `size` is (width, height), pixel centres lie at integer + 0.5.

    With d from mean to pixel, alpha_i = min(0.99, opacity_i G_i), 0 where below 1/255; T_i = prod_{j<i} (1 - alpha_j)
    in the order of depth (of equal depths the first one first); channels = sum T_i alpha_i c_i, opacity =
    1 - prod (1 - alpha_i). A pixel is done before the splat that would leave T <= 1e-4. Kerbl et al. 2023, section 6,
    whose constants these are.

    An ellipse (three columns of shape) has G = exp(-d^T conic d / 2). A surfel (six columns: P, k) is met by each
    pixel's ray at (u, v) = h / (1 - k . h), h = P^-1 d, which is the intersection of 2DGS (Huang et al. 2024, equations
    8 to 10) for planes through the projected centre, and G = max(exp(-(u^2 + v^2) / 2), exp(-|d|^2)): the object-space
    low-pass filter of equation 11, its variance 1/2 pixel^2 as published. Where the ray meets the plane behind the
    camera, or the surfel is edge-on and thinner than a thousandth of a pixel, only the filter draws.

    `depth` appends depth as the last channel: that of an ellipse's centre, and that of where the ray meets a surfel
    (of its centre where the filter draws); the median is of the same depths.

    Differentiable in means, shapes, opacities and channels, through channels and opacity, and in depths where they are
    a channel. Splats with extent 0 are not drawn. The same result at any number of threads. float64 takes the
    reference. Where the backend `gsplat` was chosen that library blends ellipses without depth, on CUDA; it has no
    median for them.
    """
    _check(means, shapes, opacities, depths, channels, extents)
    if depth:
        channels = torch.cat([channels, depths[:, None]], 1)
    inputs = (means, shapes, opacities, depths, channels, extents)
    if backend.choose("splat", *inputs) == "reference":
        channels, opacity, median = reference.blend(*inputs, size, depth)
    elif backend.splats_by_gsplat() and shapes.shape[1] == ELLIPSE and not depth:
        return Blended(*blend_with_gsplat(*inputs, size), None)
    else:
        planar, opacity, median, *_ = _blend(*inputs, [*size, int(depth)])
        channels = planar.permute(1, 2, 0)
    return Blended(channels, opacity, median if depth else None)


class Lists(NamedTuple):
    """Which splats cover which tile, near to far."""

    order: Int[Tensor, " drawn"]  # numbers of the drawn splats, near to far
    records: Float[Tensor, "splat word"]  # what blending reads of a splat
    slots: Int[Tensor, " ends"]  # in that order, a splat's pairs with tiles are numbered from here
    ends: Int[Tensor, " ends"]  # a tile's list begins here
    list: Int[Tensor, "pair 2"]  # number of the splat, number of the pair


def _lists(inputs: list[Tensor], size: list[int]) -> Lists:
    """Order and list the splats given as `blend` takes them."""
    means, shapes, opacities, depths, channels, extents = inputs
    width, height = size
    device = means.device
    frame = Frame(len(means), shapes.shape[1], channels.shape[1], width, height)
    order = torch.empty(means.shape[0], dtype=torch.int32, device=device)
    drawn = torch.zeros(1, dtype=torch.int64, device=device)
    scratch = torch.empty(4 * means.shape[0], dtype=torch.int32, device=device)
    _run("splat_order", frame, order, depths=depths, extents=extents, drawn=drawn, scratch=scratch)
    order = order[: int(drawn)]
    records = means.new_empty(len(means), _stride(shapes, channels))
    tiles = -(-width // TILE) * -(-height // TILE)
    counts = torch.zeros(CHUNK_COUNT, tiles, dtype=torch.int32, device=device)
    slots = torch.zeros(len(order) + 1, dtype=torch.int64, device=device)
    tables = {"extents": extents, "drawn": drawn, "records": records, "counts": counts, "slots": slots}
    columns_read = {"means": means, "shapes": shapes, "opacities": opacities, "channels": channels}
    _run("splat_count", frame, order, **tables, **columns_read)
    slots.cumsum_(0)
    starts = torch.nn.functional.pad(counts.t().reshape(-1).cumsum(0), (1, 0))
    ends = starts[::CHUNK_COUNT].contiguous()
    pairs = torch.empty(int(ends[-1]), 2, dtype=torch.int32, device=device)
    _run("splat_list", frame, order, **tables, starts=starts, list=pairs)
    return Lists(order, records, slots, ends, pairs)


def _stride(shapes: Tensor, channels: Tensor) -> int:
    return HEADER_FLOATS[shapes.shape[1]] + -(-channels.shape[1] // 4) * 4


@torch_op("splat_blend")
def _blend(
    means: Tensor,
    shapes: Tensor,
    opacities: Tensor,
    depths: Tensor,
    channels: Tensor,
    extents: Tensor,
    frame: list[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    inputs = [t.contiguous() for t in (means, shapes, opacities, depths, channels, extents)]
    width, height, _ = frame
    lists = _lists(inputs, frame[:2])
    picture = means.new_empty(channels.shape[1], height, width)
    opacity, median = means.new_empty(height, width), means.new_empty(height, width)
    _run(
        "splat_blend",
        Frame(len(means), shapes.shape[1], channels.shape[1], *frame),
        lists.order,
        records=lists.records,
        ends=lists.ends,
        list=lists.list,
        picture=picture,
        opacity=opacity,
        median=median,
    )
    return picture, opacity, median, *lists  # pyright: ignore[reportReturnType]


@_blend.register_fake
def _(means, shapes, opacities, depths, channels, extents, frame):
    width, height, _ = frame
    sizes = torch.library.get_ctx()
    drawn, pairs = sizes.new_dynamic_size(), sizes.new_dynamic_size()
    tiles = -(-width // TILE) * -(-height // TILE)
    flat, whole = means.new_empty(height, width), means.new_empty(0, dtype=torch.int64)
    number = means.new_empty(0, dtype=torch.int32)
    records = means.new_empty(len(means), _stride(shapes, channels))
    return (
        means.new_empty(channels.shape[1], height, width),
        flat,
        flat.clone(),
        number.new_empty(drawn),
        records,
        whole.new_empty(drawn + 1),
        whole.new_empty(tiles + 1),
        number.new_empty(pairs, 2),
    )


@torch_op("splat_blend_grad", gradient=False)
def _blend_grad(
    picture_grad: Tensor,
    opacity_grad: Tensor,
    picture: Tensor,
    opacity: Tensor,
    inputs: list[Tensor],
    lists: list[Tensor],
    varies_with_pixel: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    height, width = opacity.shape
    grads = [torch.zeros_like(inputs[k]) for k in (0, 1, 2, 4)]
    means_grad, shapes_grad, opacities_grad, channels_grad = grads
    tables = Lists(*lists)._asdict()
    columns, channels = inputs[1].shape[1], picture.shape[0]
    _run(
        "splat_blend_grad",
        Frame(len(means_grad), columns, channels, width, height, varies_with_pixel),
        **tables,
        opacities=inputs[2],
        picture=picture,
        opacity=opacity,
        picture_grad=picture_grad.contiguous(),
        opacity_grad=opacity_grad.contiguous(),
        pair_sums=picture.new_empty(len(tables["list"]), PAIR_SUMS[columns] + channels),
        means_grad=means_grad,
        shapes_grad=shapes_grad,
        opacities_grad=opacities_grad,
        channels_grad=channels_grad,
    )
    return tuple(grads)  # pyright: ignore[reportReturnType]


@_blend_grad.register_fake
def _(picture_grad, opacity_grad, picture, opacity, inputs, lists, varies_with_pixel):
    return tuple(torch.empty_like(inputs[k]) for k in (0, 1, 2, 4))


class Frame(NamedTuple):
    """The sizes that every kernel of blending takes; the last: whether its last channel is depth."""

    splats: int
    columns: int
    channel_count: int
    width: int
    height: int
    varies_with_pixel: int = 0


def _run(op: str, frame: Frame, order: Tensor, **memory: Tensor) -> None:
    """Call a kernel with the fields of SplatBlendTask."""
    pairs = len(memory["list"]) if "list" in memory else 0
    numbers = {**frame._asdict(), "drawn_count": len(order), "tile": TILE, "chunks": CHUNK_COUNT, "pairs": pairs}
    backend.run(op, order, order=order, **numbers, **memory)


def _keep(ctx, inputs, output) -> None:
    picture, opacity, median, *lists = output
    ctx.save_for_backward(*(t.contiguous() for t in inputs[:6]), picture, opacity, *lists)
    ctx.varies_with_pixel = inputs[6][2]
    ctx.mark_non_differentiable(median, *lists)


def _backward(ctx, picture_grad, opacity_grad, *_):
    inputs, (picture, opacity, *lists) = list(ctx.saved_tensors[:6]), ctx.saved_tensors[6:]
    grads = _blend_grad(picture_grad, opacity_grad, picture, opacity, inputs, lists, ctx.varies_with_pixel)
    means, shapes, opacities, channels = grads
    return means, shapes, opacities, None, channels, None, None


_blend.register_autograd(_backward, setup_context=_keep)


def _check(means: Tensor, shapes: Tensor, opacities: Tensor, depths: Tensor, channels: Tensor, extents: Tensor) -> None:
    count, columns = means.shape[0], shapes.shape[-1]
    grads = [list(t.shape) for t in (means, shapes, opacities, depths, extents)]
    expected = [[count, 2], [count, columns], [count], [count], [count, 2]]
    if grads != expected or columns not in HEADER_FLOATS or channels.shape[:-1] != (count,):
        raise ValueError(
            f"splats: blend takes means [splat, 2], shapes [splat, 3 or 6], opacities and depths [splat], channels "
            f"[splat, channel] and extents [splat, 2], got {grads} and {list(channels.shape)}"
        )


def blend_with_gsplat(
    means: Float[Tensor, "splat 2"],
    conics: Float[Tensor, "splat 3"],
    opacities: Float[Tensor, " splat"],
    depths: Float[Tensor, " splat"],
    channels: Float[Tensor, "splat channel"],
    extents: Float[Tensor, "splat 2"],
    size: tuple[int, int],
) -> tuple[Float[Tensor, "height width channel"], Float[Tensor, "height width"]]:
    """Channels and opacity as `blend` gives them for ellipses, but that alpha reaches 0.999 (gsplat 1.5).

    The library of Ye et al. 2024, against which our kernel is measured.
    """
    gsplat = importlib.import_module("gsplat")
    width, height = size
    tiles = (-(-width // TILE), -(-height // TILE))
    radii = extents.detach().ceil().int()
    _, keys, listed = gsplat.isect_tiles(means.detach()[None], radii[None], depths.detach()[None], TILE, *tiles)
    begins = gsplat.isect_offset_encode(keys, 1, *tiles)
    seen = (means[None], conics[None], channels[None], opacities[None])
    picture, opacity = gsplat.rasterize_to_pixels(*seen, width, height, TILE, begins, listed)
    return picture[0], opacity[0, ..., 0]
