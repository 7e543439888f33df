"""Analytic scenes as cameras see them: each primitive is met where it is, and shaded once where a ray sees it.

The picture of marching in fine steps: a ray comes to each primitive by its distance (Hart 1996, sphere tracing), the
density is added up across the soft surface, and the primitives' matter is laid over each other along the ray. Colours,
whose light costs ten times what a distance costs, are asked once for each stretch of matter.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.nn import functional

from volkit.geometry import Cameras, Rays
from volkit.ops.composite import composite, median_depth
from volkit.rendering.picture import Picture, one_size
from volkit.rendering.volume import STOP, VolumeRenderer
from volkit.representations.analytic import AnalyticField, Primitive
from volkit.representations.analytic.shapes import hull_span, reach, signed_distance
from volkit.typing import Float, Int, Tensor

__all__ = ["AnalyticRenderer"]

STEPS_ACROSS = 6  # of a soft surface: the sum across is exact to 1e-3 of its optical depth
SLOWEST = 0.2  # change of distance along a ray that steps count on: grazing rays see a surface bend away
STRETCH = 4.0  # softnesses that are shaded at once: matter as dense as a solid's is opaque in half of it
MAX_STEPS = 1000  # of a ray along one primitive, which takes some 20, and 200 where it grazes
OPAQUE = 9.3  # optical depth at which nothing more is seen: -ln(1e-4)
LEAST_SHADED = 1e-3  # of a pixel: what makes less of it has the colour of the rest


class Matter(NamedTuple):
    """Intervals of rays in one primitive's matter; `stretch` numbers those that are shaded together."""

    ray: Int[Tensor, " sample"]
    t0: Float[Tensor, " sample"]
    t1: Float[Tensor, " sample"]
    density: Float[Tensor, " sample"]
    stretch: Int[Tensor, " sample"]
    owner: Int[Tensor, " sample"]


@dataclass(frozen=True)
class AnalyticRenderer:
    """Renders analytic scenes, in world frame and unit; the scene has no parameters to be differentiated in.

    Where cameras require gradients, or the domain is contracted, the scene is marched as any field is. `step_scale` is
    for that; `near` is in world units, by default that of the field's capture.
    """

    step_scale: float = 1.0
    near: float | None = None
    normals: bool = False
    chunk: int = 1 << 16  # rays at once: bounds memory

    def __call__(self, subject: AnalyticField, cameras: Cameras) -> Picture:
        """Pictures `[camera, height, width]` of cameras that share one size."""
        learning = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in cameras.tensors)
        if learning or subject.domain.contracted:
            return VolumeRenderer(self.step_scale, self.near, self.normals)(subject, cameras)
        width, height = one_size(cameras)
        views = Rays.cat([cameras.picture_rays(index) for index in range(len(cameras))])
        picture = self.rays(subject, views)
        return picture.mapped(lambda t: t.reshape(len(cameras), height, width, *t.shape[1:]))

    @torch.no_grad()
    def rays(self, subject: AnalyticField, rays: Rays) -> Picture:
        """A flat picture of any rays of the world frame."""
        rays = rays.to(subject.device)
        return Picture.cat([self._part(subject, rays[at : at + self.chunk]) for at in range(0, len(rays), self.chunk)])

    def _part(self, field: AnalyticField, rays: Rays) -> Picture:
        world = field.world_from_local
        local = world.inverse().rays(rays)
        near = self.near if self.near is not None else (field.capture.near if field.capture else 0.0)
        enter, leave = field.domain.span(local.origins, local.directions, near / world.scale)
        matter = _matter(field, local, enter, leave)
        offsets = functional.pad(torch.bincount(matter.ray, minlength=len(rays)).cumsum(0), (1, 0))
        middle = 0.5 * (matter.t0 + matter.t1)
        seen = composite(matter.density, middle[:, None], matter.t0, matter.t1, offsets, stop=STOP)
        rgb, normal = self._shaded(field, local, matter, seen.weights, middle, seen.opacity)
        depth = seen.channels[:, 0] / seen.opacity.clamp_min(torch.finfo(middle.dtype).tiny)
        median = median_depth(seen.weights, matter.t0, matter.t1, offsets)
        normal = None if normal is None else world.vectors(normal)
        return Picture({"rgb": rgb}, seen.opacity, depth * world.scale, median * world.scale, normal)

    def _shaded(
        self, field: AnalyticField, rays: Rays, matter: Matter, weights: Tensor, middle: Tensor, opacity: Tensor
    ) -> tuple[Float[Tensor, "ray 3"], Float[Tensor, "ray 3"] | None]:
        """Premultiplied colour, and the normal where it is wanted: of each stretch where its weight lies."""
        stretches, own = matter.stretch.unique(return_inverse=True)
        weight = weights.new_zeros(len(stretches)).index_add_(0, own, weights)
        place = weights.new_zeros(len(stretches)).index_add_(0, own, weights * middle) / weight.clamp_min(1e-12)
        first = own.new_zeros(len(stretches)).scatter_(0, own, torch.arange(len(own), device=own.device))
        kept = (weight > LEAST_SHADED).nonzero()[:, 0]
        ray, owner, weight = matter.ray[first[kept]], matter.owner[first[kept]], weight[kept, None]
        directions = rays.directions[ray]
        at = rays.origins[ray] + place[kept, None] * directions
        blank = weights.new_zeros(len(rays), 3)
        colour = blank.index_add(0, ray, weight * field.surface_colours(at, directions, owner))
        shaded = weights.new_zeros(len(rays)).index_add_(0, ray, weight[:, 0])
        colour = colour * (opacity / shaded.clamp_min(LEAST_SHADED))[:, None]
        if not self.normals:
            return colour, None
        total = blank.index_add(0, ray, weight * field.surface(at, owner)[1])
        away = blank.index_copy(0, ray, directions)
        return colour, functional.normalize(
            torch.where((total * away).sum(-1, keepdim=True) > 0, -total, total), dim=-1
        )


def _matter(field: AnalyticField, rays: Rays, enter: Tensor, leave: Tensor) -> Matter:
    """Intervals of all rays in all primitives, by ray and along it, as far as anything is seen."""
    primitives, parts = field.config.primitives, []
    # Small things stand before and upon large ones, of which so much less is met.
    for index in sorted(range(len(primitives)), key=lambda i: reach(primitives[i].shape, primitives[i].size)):
        part, leave = _met(field, index, rays, enter, leave)
        parts.append(part)
    return _sorted(parts)


def _met(
    field: AnalyticField, index: int, rays: Rays, enter: Tensor, leave: Tensor
) -> tuple[Matter, Float[Tensor, " ray"]]:
    """Intervals of every ray in the matter of one primitive, front to back, until the ray is opaque.

    And where each ray leaves what is seen: where it became opaque, else as before.
    """
    primitive, softness = field.config.primitives[index], field.config.softness
    full = field.config.density if primitive.density is None else primitive.density
    own = primitive.placed.inverse().rays(rays)
    at = torch.cat([own.origins.T, own.directions.T])
    near, far = hull_span(primitive.shape, primitive.size, 0.5 * softness, own.origins.T, own.directions.T)
    start, end = torch.maximum(enter, near), torch.minimum(leave, far)
    ray = (start < end).nonzero()[:, 0]
    at, t0, end = at[:, ray], start[ray], end[ray]
    begun, thickness, rate = t0, torch.zeros_like(t0), torch.ones_like(t0)
    gap = _distance(primitive, at, t0)
    before = _density(gap, softness, full)
    found = []
    for _ in range(MAX_STEPS):
        if not len(ray):
            break
        # Farther from the surface than half its softness nothing changes; across it steps are as long in depth.
        step = torch.maximum(gap.abs() - 0.5 * softness, softness / STEPS_ACROSS / rate)
        step = torch.where(gap < 0.5 * softness, step.clamp_max(STRETCH * softness), step)
        t1 = torch.minimum(t0 + step, end)
        then = _distance(primitive, at, t1)
        after = _density(then, softness, full)
        density = 0.5 * (before + after)
        thickness = thickness + density * (t1 - t0)
        some = (density > 0).nonzero()[:, 0]
        found.append((ray[some], t0[some], t1[some], density[some], begun[some]))
        rate = ((then - gap).abs() / (t1 - t0).clamp_min(1e-3 * softness)).clamp(SLOWEST, 1.0)
        begun = torch.where(density > 0, begun, t1)
        t0, gap, before = t1, then, after
        alive = ((t1 < end) & (thickness < OPAQUE)).nonzero()[:, 0]
        if len(alive) < len(ray):
            opaque = (thickness >= OPAQUE).nonzero()[:, 0]
            leave = leave.index_put((ray[opaque],), t1[opaque])
            rows = torch.stack([t0, end, gap, before, begun, thickness, rate])[:, alive]
            t0, end, gap, before, begun, thickness, rate = rows.unbind()
            at, ray = at[:, alive], ray[alive]
    if not found:
        empty, none = enter.new_zeros(0), torch.zeros(0, dtype=torch.long, device=enter.device)
        return Matter(none, empty, empty, empty, none, none), leave
    ray, t0, t1, density, begun = (torch.cat(parts) for parts in zip(*found, strict=True))
    owner = torch.full_like(ray, index)
    # A ray may meet a ring twice: what is shaded together began at one place, to a softness.
    crossing = (begun / softness).long().clamp(0, (1 << 20) - 1)
    stretch = ((t0 - begun) / (STRETCH * softness)).long().clamp_max(255)
    number = ((ray * len(field.config.primitives) + owner) << 28) + (crossing << 8) + stretch
    return Matter(ray, t0, t1, density, number, owner), leave


def _sorted(parts: list[Matter]) -> Matter:
    """The matter of all primitives, by ray and along it."""
    whole = Matter(*(torch.cat(columns) for columns in zip(*parts, strict=True)))
    longest = float(whole.t1.max()) if len(whole.ray) else 1.0
    order = ((whole.ray << 24) + (whole.t0 * ((1 << 24) / longest)).long()).argsort()  # float32 tells no more apart
    return Matter(*(column[order] for column in whole))


def _distance(primitive: Primitive, at: Float[Tensor, "6 ray"], t: Tensor) -> Float[Tensor, " ray"]:
    """From a primitive's surface, of rays in its own frame, origins above directions."""
    x, y, z = at[:3] + t * at[3:]
    return signed_distance(primitive.shape, primitive.size, (x, y, z))


def _density(distance: Tensor, softness: float, full: float) -> Tensor:
    ramp = (0.5 - distance / softness).clamp(0.0, 1.0)
    return full * ramp * ramp * (3.0 - 2.0 * ramp)
