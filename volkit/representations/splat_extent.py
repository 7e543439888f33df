"""Boxes and spheres about scenes of splats, robust to splats far away."""

from dataclasses import replace

import torch

from volkit.geometry import Domain
from volkit.representations.splats import Splats
from volkit.typing import Bool, Float, Tensor

__all__ = ["core_box", "core_sphere", "whole_box"]

FENCE_RATIO = 1.4  # times the distance within which three quarters of the opacity lie: balls and rods end before it
TRIMMED_LIGHT = 0.005  # of the light, at each face of the box: faint tails would make it twice as wide
EXTENT_DEVIATIONS = 2.0  # standard deviations
FAR_LIGHT_SHARE = 0.1  # share of the light beyond the fence that makes a scene unbounded
WHOLE_FENCE_RATIO = 2.0  # times the core's radius: the head of a guitar lies beyond the core, a floater beyond this
STRAY_SHARE = 0.001  # of the opacity within that fence, at each face of the box
MAX_QUANTILE_SPLATS = 1 << 15  # evenly spaced splats, from which quantiles are estimated


@torch.no_grad()
def core_sphere(splats: Splats) -> tuple[Float[Tensor, "3"], float]:
    """Centre and radius, local frame, of a sphere about the means of all splats but those far away.

    The centre is the median weighted by opacity.
    """
    return _sphere(_valid(splats))


def _sphere(splats: Splats) -> tuple[Float[Tensor, "3"], float]:
    if not len(splats):
        return torch.tensor(splats.domain.centre, device=splats.device), 0.5 * splats.domain.diagonal
    means, opacity = splats.means, splats.opacities.double()
    centre = torch.stack([_quantile(axis, opacity, 0.5) for axis in means.unbind(-1)])
    distance = (means - centre).norm(dim=-1)
    radius = min(float(distance.max()), FENCE_RATIO * float(_quantile(distance, opacity, 0.75)))
    return centre, radius or EXTENT_DEVIATIONS * float(splats.scales.max())


@torch.no_grad()
def core_box(splats: Splats) -> Domain:
    """The box about the splats of the core's sphere, contracted where much of the light comes from beyond it.

    Light is opacity times area.
    """
    splats = _valid(splats)
    if not len(splats):
        return Domain.cube(1.0)
    (centre, radius), means = _sphere(splats), splats.means
    near = (means - centre).norm(dim=-1) <= radius
    light = splats.opacities.double() * splats.scales.double().sort(-1).values[:, -2:].prod(-1)
    reach = splats.axes.norm(dim=-1) * EXTENT_DEVIATIONS
    lower, upper = (
        torch.stack([_quantile(axis, light[near], share) for axis in ends[near].unbind(-1)])
        for ends, share in ((means - reach, TRIMMED_LIGHT), (means + reach, 1.0 - TRIMMED_LIGHT))
    )
    # The box of flat splats is not empty, and that of splats far from the origin is one in float32.
    margin = 1e-3 * float((upper - lower).max()) + 1e-6 * float(torch.cat([lower, upper]).abs().max())
    margin = margin if margin > 1e-30 else 1e-6  # a point without extent at the origin
    if not bool(torch.isfinite(torch.cat([lower - margin, upper + margin])).all()):
        return Domain.cube(1.0)  # numbers too large for differences in float32
    far = bool(light[~near].sum() > FAR_LIGHT_SHARE * light.sum())
    return Domain(tuple((lower - margin).tolist()), tuple((upper + margin).tolist()), far)


@torch.no_grad()
def whole_box(splats: Splats) -> Domain:
    """The box about the whole object: nearly all the opacity within twice the core's radius, local frame.

    Wider than `core_box`, which leaves out thin ends; the core's box where much of the light comes from far away.
    """
    inner = core_box(splats)
    valid = _valid(splats)
    if inner.contracted or not len(valid):
        return Domain(inner.lower, inner.upper)
    centre, radius = _sphere(valid)
    near = (valid.means - centre).norm(dim=-1) <= WHOLE_FENCE_RATIO * radius
    means, opacity = valid.means[near], valid.opacities.double()[near]
    lower, upper = (
        torch.stack([_quantile(axis, opacity, share) for axis in means.unbind(-1)])
        for share in (STRAY_SHARE, 1.0 - STRAY_SHARE)
    )
    # The box of a flat or tiny cloud is not empty: splats are about as thick as their smaller axes.
    margin = valid.scales.double().amax(-1)[near].median().to(lower) + 1e-6 * float(
        torch.cat([lower, upper]).abs().max()
    )
    return Domain(tuple((lower - margin).tolist()), tuple((upper + margin).tolist()))


def _valid(splats: Splats) -> Splats:
    """At most `MAX_QUANTILE_SPLATS` splats, evenly spaced in their order, without invalid ones."""
    if (step := len(splats) // MAX_QUANTILE_SPLATS) > 1:
        splats = _rows(splats, slice(None, None, step))
    invalid = splats.invalid if len(splats) else torch.zeros(0, dtype=torch.bool)
    return _rows(splats, ~invalid) if bool(invalid.any()) else splats


def _rows(splats: Splats, rows: slice | Bool[Tensor, " splat"]) -> Splats:
    some = Splats(replace(splats.config, count=0, extras=()), splats.domain, torch.Generator())
    some.replace_columns({name: column[rows] for name, column in splats.named_parameters()})
    return some


def _quantile(values: Float[Tensor, " value"], weights: Float[Tensor, " value"], share: float) -> Float[Tensor, ""]:
    """The value below which this share of the weight lies."""
    order = values.argsort()
    sums = weights[order].cumsum(0)
    return values[order[int(torch.searchsorted(sums, share * sums[-1]).clamp_max(len(order) - 1))]]
