"""Volume rendering of fields (Max 1995, equation 5, by quadrature)."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from volkit.geometry import Cameras, Points, Rays, RaySamples
from volkit.ops.composite import composite, median_depth
from volkit.ops.march import march
from volkit.rendering.picture import Picture, one_size
from volkit.representations.field import Field, FieldSample
from volkit.sampling.occupancy import march_grid, stride_for
from volkit.typing import Float, Tensor

__all__ = ["Integral", "VolumeRenderer", "density_normals", "integrate", "render_rays"]

MIN_TRANSMITTANCE = 1e-4  # below it rays end: instant-ngp's bound
MIN_GRADIENT_WEIGHT = 1e-4  # weight below which a sample's normal is not worth its gradient
POINTS_AT_ONCE = 1 << 16  # of one query, without gradients


class Integral(NamedTuple):
    """A picture with the weights of its samples and the field's values there.

    Attributes:
        picture: flat, a row a ray, in the field's local frame and unit.
        weights: `T_i alpha_i` of each sample.
        sample: density and channels at the samples.
    """

    picture: Picture
    weights: Float[Tensor, " sample"]
    sample: FieldSample


def render_rays(field: Field, rays: Rays, samples: RaySamples, *, normals: bool = False) -> Picture:
    """Render any batch of rays in the field's local frame; the picture alone of `integrate`.

    Args:
        field: the scene.
        rays: in its local frame, unit directions.
        samples: intervals as cut by samplers of `volkit.sampling`.
        normals: whether to add unit normals, at the cost of a gradient of the density.

    Returns:
        A flat picture, a row a ray, in local units; differentiable in whatever density and channels depend on, but for
        normals.

    Example:
        >>> samples = UniformSampler(field.domain, 64)(rays)  # doctest: +SKIP
        >>> render_rays(field, rays, samples).rgb.mean().backward()  # doctest: +SKIP
    """
    return integrate(field, rays, samples, normals=normals).picture


def integrate(
    field: Field, rays: Rays, samples: RaySamples, *, normals: bool = False, median: bool = False
) -> Integral:
    """Evaluate a field at samples and composite the result along the rays.

    `alpha_i = 1 - exp(-density_i (t1_i - t0_i))`, `w_i = T_i alpha_i`, channels `sum w_i c_i`, depth
    `sum w_i t_i / opacity`; local frame and unit. Normals and the median of depth are not differentiable.

    Args:
        field: the scene.
        rays: in its local frame, unit directions.
        samples: intervals along the rays.
        normals: whether to add unit normals.
        median: whether to add the median of depth.
    """
    points = samples.points(rays)
    integral = _composite(samples, field.query(points))
    return integral._replace(picture=_surface(field, points, samples, integral, normals, median))


def _composite(samples: RaySamples, sample: FieldSample) -> Integral:
    stacked = torch.cat([channel.t() for channel in sample.channels.values()]).t()
    composited = composite(sample.density, stacked, samples.t0, samples.t1, samples.offsets, stop=MIN_TRANSMITTANCE)
    widths = [channel.shape[1] for channel in sample.channels.values()]
    channels = dict(zip(sample.channels, composited.channels.split(widths, -1), strict=True))
    depth = composited.depth / composited.opacity.clamp_min(torch.finfo(composited.opacity.dtype).tiny)
    return Integral(Picture(channels, composited.opacity, depth), composited.weights, sample)


def _surface(
    field: Field, points: Points, samples: RaySamples, integral: Integral, normals: bool, median: bool
) -> Picture:
    """The picture with normals and median depth, where requested."""
    middle = median_depth(integral.weights, samples.t0, samples.t1, samples.offsets) if median else None
    normal = _normals(field, points, samples, integral.weights) if normals else None
    return replace(integral.picture, median=middle, normal=normal)


def _normals(field: Field, points: Points, samples: RaySamples, weights: Tensor) -> Float[Tensor, "ray 3"]:
    weights = weights.detach()
    visible = (weights > MIN_GRADIENT_WEIGHT).nonzero()[:, 0]
    normal = density_normals(field, points.positions[visible])
    ray = samples.ray[visible].long()
    total = normal.new_zeros(len(samples.offsets) - 1, 3).index_add_(0, ray, normal * weights[visible, None])
    direction = total.new_zeros(total.shape).index_copy_(0, ray, points.directions[visible].detach())
    total = torch.where((total * direction).sum(-1, keepdim=True) > 0, -total, total)
    return functional.normalize(total, dim=-1)


def density_normals(field: Field, positions: Float[Tensor, "point 3"]) -> Float[Tensor, "point 3"]:
    """Unit normals `-grad density / |grad density|`, local frame; zero where density is constant.

    Not differentiable. Works with gradients disabled, too, and adds none to the field's parameters.
    """
    with torch.enable_grad(), _frozen_parameters(field):
        positions = positions.detach().requires_grad_()
        density = field.density(positions)
        if not density.requires_grad:
            return torch.zeros_like(positions)
        (gradient,) = torch.autograd.grad(density.sum(), positions)
    return -functional.normalize(gradient, dim=-1)


@contextmanager
def _frozen_parameters(field: Field) -> Iterator[None]:
    """Let gradients reach positions only, as parameters may accumulate theirs in place."""
    trainable = [parameter for parameter in field.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


@dataclass(frozen=True)
class VolumeRenderer:
    """Renders fields, in world frame and unit.

    Rays advance together, `reach` samples at a time, and end when nothing more is visible, so that the field is never
    evaluated behind a surface.

    Colour, opacity and depth are differentiable in whatever the field's density and channels depend on, and in the
    cameras' poses and intrinsics through positions and directions; normals and the median of depth are not. With
    gradients, a picture is rendered in pieces of `graph_chunk` rays, and each again in the backward pass, so that
    memory is that of one piece.

    Attributes:
        step_scale: factor of the steps (`stride_for`).
        near: distance in world units at which rays begin; None: that of the field's capture.
        normals: whether pictures have normals.
        chunk: rays at once without gradients, which bounds memory.
        graph_chunk: rays at once with gradients, which take some hundred times the memory.
        reach: samples of the first round, doubled up to 64: most rays end at the first surface.
    """

    step_scale: float = 1.0
    near: float | None = None
    normals: bool = False
    chunk: int = 1 << 16
    graph_chunk: int = 1 << 13
    reach: int = 8

    def __call__(self, scene: Field, cameras: Cameras) -> Picture:
        """Pictures `[camera, height, width]` of cameras that share one size."""
        width, height = one_size(cameras)
        parts = [self.rays(scene, cameras.picture_rays(index)) for index in range(len(cameras))]
        return Picture.cat([p.map(lambda t: t.reshape(1, height, width, *t.shape[1:])) for p in parts])

    def rays(self, scene: Field, rays: Rays) -> Picture:
        """A flat picture of world-frame rays."""
        rays = rays.to(scene.device)
        if not _wants_graph(scene, rays):
            with torch.no_grad():
                return Picture.cat([self._part(scene, part)[0] for part in _pieces(rays, self.chunk)])
        parts = []
        for part in _pieces(rays, self.graph_chunk):
            with torch.no_grad():
                plain, samples = self._part(scene, part)
            # Samples are found once; the field is evaluated at them again here, and again in the backward pass.
            drawn = checkpoint(self._integrate, scene, part, samples, use_reentrant=False)
            parts.append(replace(drawn, median=plain.median, normal=plain.normal))
        return Picture.cat(parts)

    def _part(self, field: Field, rays: Rays) -> tuple[Picture, RaySamples]:
        local = field.world_from_local.inverse().rays(rays)
        near = self.near if self.near is not None else (field.capture.near if field.capture else 0.0)
        samples, answers = _walk(field, local, near / field.world_from_local.scale, self.step_scale, self.reach)
        points, integral = samples.points(local), _composite(samples, answers)
        return _to_world(field, _surface(field, points, samples, integral, self.normals, True)), samples

    def _integrate(self, field: Field, rays: Rays, samples: RaySamples) -> Picture:
        return _to_world(field, integrate(field, field.world_from_local.inverse().rays(rays), samples).picture)


def _to_world(field: Field, picture: Picture) -> Picture:
    world = field.world_from_local
    normal = None if picture.normal is None else world.vectors(picture.normal)
    median = None if picture.median is None else picture.median * world.scale
    return replace(picture, depth=picture.depth * world.scale, median=median, normal=normal)


def _pieces(rays: Rays, size: int) -> list[Rays]:
    return [rays[start : start + size] for start in range(0, len(rays), size)]


def _wants_graph(field: Field, rays: Rays) -> bool:
    """Whether gradients are enabled and required, by rays or by the field's values, whatever these depend on."""
    if not torch.is_grad_enabled():
        return False
    if rays.origins.requires_grad or rays.directions.requires_grad:
        return True
    middle = rays.origins.new_tensor([field.domain.centre])
    time = None if rays.time is None else rays.time[:1]
    appearance = None if rays.appearance is None else rays.appearance[:1]
    answer = field.query(
        Points(middle, torch.nn.functional.normalize(torch.ones_like(middle), dim=-1), time, appearance)
    )
    return any(value.requires_grad for value in (answer.density, *answer.channels.values()))


def _walk(field: Field, rays: Rays, near: float, step_scale: float, reach: int) -> tuple[RaySamples, FieldSample]:
    """March front to back in rounds: the visible samples, with the field's values."""
    start, leave = field.domain.span(rays.origins, rays.directions, near)
    grid, stride = march_grid(field.domain), replace(stride_for(field.domain, step_scale), limit=reach)
    alive = torch.arange(len(rays), device=start.device)
    thickness = torch.zeros_like(start)
    rounds: list[tuple[RaySamples, FieldSample]] = []
    while len(alive) or not rounds:
        active = rays[alive]
        marched = march(active.origins, active.directions, start[alive], leave[alive], field.occupancy, grid, stride)
        samples = RaySamples(*marched)
        answers = _query(field, samples.points(active))
        ray = alive[samples.ray.long()]
        rounds.append((replace(samples, ray=ray), answers))
        thickness.index_add_(0, ray, answers.density * samples.lengths)
        full = samples.offsets.diff() == reach
        start[alive[full]] = samples.t1[samples.offsets[1:][full] - 1]
        alive = alive[full & (thickness[alive] < -math.log(MIN_TRANSMITTANCE))]
        reach = min(2 * reach, 64)
        stride = replace(stride, limit=reach)
    return _merge(rounds, len(rays))


def _query(field: Field, points: Points) -> FieldSample:
    """The field at any number of points, in chunks whose intermediate results stay in the cache."""
    parts = [field.query(points[at : at + POINTS_AT_ONCE]) for at in range(0, max(len(points), 1), POINTS_AT_ONCE)]
    if len(parts) == 1:
        return parts[0]
    channels = {name: torch.cat([part.channels[name] for part in parts]) for name in parts[0].channels}
    return FieldSample(torch.cat([part.density for part in parts]), channels)


def _merge(rounds: list[tuple[RaySamples, FieldSample]], rays: int) -> tuple[RaySamples, FieldSample]:
    """The samples of all rounds, sorted by ray; each round is sorted, and lies behind the one before it."""
    ray = torch.cat([samples.ray for samples, _ in rounds])
    order = torch.argsort(ray, stable=True)
    offsets = functional.pad(torch.bincount(ray, minlength=rays).cumsum(0), (1, 0))
    joined = lambda parts: torch.cat(list(parts))[order]  # noqa: E731
    t0, t1 = joined(s.t0 for s, _ in rounds), joined(s.t1 for s, _ in rounds)
    channels = {name: joined(a.channels[name] for _, a in rounds) for name in rounds[0][1].channels}
    return RaySamples(t0, t1, ray[order], offsets), FieldSample(joined(a.density for _, a in rounds), channels)
