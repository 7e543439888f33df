"""Emission and absorption along rays: density and channels at samples composited to pixels."""

from typing import Any, NamedTuple

import torch

from volkit.ops import backend
from volkit.ops.library import torch_op
from volkit.typing import Float, Int, Tensor

__all__ = ["Composited", "composite", "median_depth"]


class Composited(NamedTuple):
    """The weighted sums of each ray's samples, and the weights `w`; see `composite`."""

    channels: Float[Tensor, "ray channel"]
    opacity: Float[Tensor, " ray"]
    depth: Float[Tensor, " ray"]
    weights: Float[Tensor, " sample"]


def composite(
    density: Float[Tensor, " sample"],
    channels: Float[Tensor, "sample channel"],
    t0: Float[Tensor, " sample"],
    t1: Float[Tensor, " sample"],
    offsets: Int[Tensor, " ends"],
    *,
    stop: float = 1e-4,
) -> Composited:
    """Composite samples front to back; those of ray r are `offsets[r]` to `offsets[r + 1]`.

    tau_i = density_i (t1_i - t0_i), T_i = exp(-sum_{j<i} tau_j), w_i = T_i (1 - exp(-tau_i)); channels =
    sum w c, opacity = sum w, depth = sum w (t0 + t1) / 2 (expected, not divided by opacity). Samples with
    T_i < `stop` have weight 0 and gradient 0, as in instant-ngp. Density is per unit of t.

    Differentiable in density and channels, through all four results; not in t0 and t1. Channels may have
    any strides: [sample, channel] stored channel by channel is read as it is.

    Args:
        density: at each sample, 1 / unit of t.
        channels: colours, features, ... at each sample.
        t0: distance at which a sample's interval begins.
        t1: distance at which it ends.
        offsets: of each ray's first sample, and the number of samples at the end.
        stop: transmittance below which nothing is added any more.

    Example:
        >>> density, colour = torch.tensor([1e9]), torch.tensor([[1.0, 0.5, 0.0]])
        >>> seen = composite(density, colour, torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([0, 1]))
        >>> seen.channels.tolist(), seen.opacity.tolist(), seen.depth.tolist()
        ([[1.0, 0.5, 0.0]], [1.0], [1.5])
    """
    _check(density, channels, t0, t1, offsets)
    if backend.choose("composite", density, channels, t0, t1, offsets) == "reference":
        return Composited(*_reference(density, channels, t0, t1, offsets, stop))
    return Composited(*_composite(density, channels, t0, t1, offsets, stop))


def median_depth(
    weights: Float[Tensor, " sample"],
    t0: Float[Tensor, " sample"],
    t1: Float[Tensor, " sample"],
    offsets: Int[Tensor, " ends"],
) -> Float[Tensor, " ray"]:
    """The distance at which a ray has gathered half of its own opacity, inf where that opacity is below 0.5.

    With W_i = sum_{j<=i} w_j and O = W_last, the first sample with W_i >= O/2 holds the median, at
    t0_i + (O/2 - W_{i-1}) / w_i (t1_i - t0_i). Not differentiable.
    """
    with torch.no_grad():
        # One running sum over all rays rises throughout, so that one search serves them all; float64 keeps it exact.
        sums = torch.nn.functional.pad(weights.double().cumsum(0), (1, 0))
        start, end = sums[offsets[:-1]], sums[offsets[1:]]
        solid = (end - start >= 0.5).nonzero()[:, 0]
        half = 0.5 * (start + end)[solid]
        sample = torch.searchsorted(sums, half) - 1
        part = ((half - sums[sample]) / (sums[sample + 1] - sums[sample])).to(t0.dtype)
        depth = torch.lerp(t0[sample], t1[sample], part)
        return t0.new_full(start.shape, torch.inf).index_put((solid,), depth)


@torch_op("composite")
def _composite(
    density: Tensor, channels: Tensor, t0: Tensor, t1: Tensor, offsets: Tensor, stop: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rays = offsets.shape[0] - 1
    sums = density.new_empty(rays, channels.shape[1])
    results = (sums, density.new_empty(rays), density.new_empty(rays), torch.empty_like(t0.contiguous()))
    if rays:
        fields = _fields(density, channels, t0, t1, offsets, stop)
        names = ("sums", "opacity", "depth", "weights")
        backend.run("composite", channels, **fields, **dict(zip(names, results, strict=True)), **_strides(None))
    return results


@_composite.register_fake
def _(density, channels, t0, t1, offsets, stop):
    rays = offsets.shape[0] - 1
    sums = density.new_empty(rays, channels.shape[1])
    return sums, density.new_empty(rays), density.new_empty(rays), density.new_empty(density.shape[0])


def _fields(density, channels, t0, t1, offsets, stop: float) -> dict[str, Any]:
    """The fields of the samples that both kernels read."""
    return {
        "density": density.contiguous(),
        "channels": channels,
        "t0": t0.contiguous(),
        "t1": t1.contiguous(),
        "offsets": offsets.contiguous(),
        "samples": channels.shape[0],
        "rays": offsets.shape[0] - 1,
        "channel_count": channels.shape[1],
        "sample_stride": channels.stride(0),
        "channel_stride": channels.stride(1),
        "stop": stop,
    }


def _strides(channels_grad: Tensor | None) -> dict[str, int]:
    sample, channel = (0, 0) if channels_grad is None else channels_grad.stride()
    return {"grad_sample_stride": sample, "grad_channel_stride": channel}


@torch_op("composite_grad", gradient=False)
def _composite_grad(
    grads: list[Tensor | None],
    density: Tensor,
    channels: Tensor,
    t0: Tensor,
    t1: Tensor,
    offsets: Tensor,
    weights: Tensor,
    stop: float,
) -> tuple[Tensor, Tensor]:
    grads_out = [None if grad is None else grad.contiguous() for grad in grads]
    density_grad = torch.empty_like(weights)
    channels_grad = channels.new_empty(0) if grads_out[0] is None else torch.empty_like(channels)
    if offsets.shape[0] > 1:
        needed_grad = None if grads_out[0] is None else channels_grad
        names = ("sums_grad", "opacity_grad", "depth_grad", "weights_grad")
        backend.run(
            "composite_grad",
            channels,
            **_fields(density, channels, t0, t1, offsets, stop),
            **dict(zip(names, grads_out, strict=True)),
            weights=weights,
            scratch=torch.empty_like(density_grad),
            density_grad=density_grad,
            channels_grad=needed_grad,
            **_strides(needed_grad),
        )
    return density_grad, channels_grad


@_composite_grad.register_fake
def _(grads, density, channels, t0, t1, offsets, weights, stop):
    channels_grad = channels.new_empty(0) if grads[0] is None else torch.empty_like(channels)
    return torch.empty_like(weights), channels_grad


def _keep(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs[:5], output[3])
    ctx.stop = inputs[5]
    ctx.set_materialize_grads(False)


def _backward(ctx, *grads):
    density_grad, channels_grad = _composite_grad(list(grads), *ctx.saved_tensors, ctx.stop)
    return density_grad, None if grads[0] is None else channels_grad, None, None, None, None


_composite.register_autograd(_backward, setup_context=_keep)


def _check(density: Tensor, channels: Tensor, t0: Tensor, t1: Tensor, offsets: Tensor) -> None:
    count = density.shape[0]
    if density.shape != (count,) or channels.dim() != 2 or channels.shape[0] != count:
        raise ValueError(
            f"composite takes density [sample] and channels [sample, channel], "
            f"got {tuple(density.shape)} and {tuple(channels.shape)}"
        )
    if t0.shape != (count,) or t1.shape != (count,):
        raise ValueError(f"{count} densities need as many t0 and t1, got {tuple(t0.shape)} and {tuple(t1.shape)}")
    if offsets.dim() != 1 or offsets.dtype != torch.int64 or offsets.shape[0] < 1:
        raise ValueError(f"offsets are int64 [ray + 1], got {offsets.dtype} {tuple(offsets.shape)}")


def _places(offsets: Tensor) -> tuple[Tensor, Tensor]:
    """For every sample, its ray and its place along that ray."""
    lengths = offsets.diff()
    ray = torch.repeat_interleave(torch.arange(len(lengths), device=offsets.device), lengths)
    return ray, torch.arange(len(ray), device=offsets.device) - offsets[ray]


def _reference(density, channels, t0, t1, offsets, stop: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    ray, place = _places(offsets)
    rays = len(offsets) - 1
    width = int(place.max()) + 1 if len(place) else 0
    tau = density * (t1 - t0)
    # Padded rows, not one running sum over all rays: an infinite density must not reach the neighbouring ray.
    rows = tau.new_zeros(rays, width + 1).index_put((ray, place + 1), tau).cumsum(1)
    transmittance = torch.exp(-rows[ray, place])
    weights = torch.where(transmittance < stop, 0, transmittance * -torch.expm1(-tau))
    sums = channels.new_zeros(rays, channels.shape[1]).index_add(0, ray, weights[:, None] * channels)
    opacity = weights.new_zeros(rays).index_add(0, ray, weights)
    depth = weights.new_zeros(rays).index_add(0, ray, weights * 0.5 * (t0 + t1))
    return sums, opacity, depth, weights
