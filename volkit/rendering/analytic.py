"""A renderer of analytic scenes: rays find each primitive by sphere tracing, and are shaded once at each surface.

The result equals marching in fine steps. A ray reaches each primitive by its signed distance (Hart 1996), density is
integrated across the soft surface, and the matter of all primitives is composited along the ray. Colours, whose light
costs ten times as much as a distance, are evaluated once for each stretch of matter.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.nn import functional

from volkit.geometry import Cameras, Rays
from volkit.ops.composite import composite, median_depth
from volkit.rendering.picture import Picture, one_size
from volkit.rendering.volume import MIN_TRANSMITTANCE, VolumeRenderer
from volkit.representations.analytic import AnalyticField, Primitive
from volkit.representations.analytic.shapes import hull_span, reach, signed_distance
from volkit.typing import Float, Int, Tensor

__all__ = ["AnalyticRenderer"]

STEPS_ACROSS = 6  # of a soft surface: the sum across is exact to 1e-3 of its optical depth
MIN_DISTANCE_RATE = 0.2  # change of distance along a ray that steps count on: grazing rays see a surface bend away
STRETCH_SOFTNESSES = 4.0  # softnesses shaded as one: matter as dense as a solid's is opaque within half of it
MAX_STEPS = 1000  # of a ray along one primitive, which takes some 20, and 200 where it grazes
OPAQUE_DEPTH = 9.3  # optical depth beyond which nothing is visible: -ln(1e-4)
MIN_SHADED_WEIGHT = 1e-3  # of a pixel: a stretch of less weight gets the colour of the rest


class Matter(NamedTuple):
    """Intervals of rays in the matter of primitives; `stretch` numbers those that are shaded together."""

    ray: Int[Tensor, " sample"]
    t0: Float[Tensor, " sample"]
    t1: Float[Tensor, " sample"]
    density: Float[Tensor, " sample"]
    stretch: Int[Tensor, " sample"]
    owner: Int[Tensor, " sample"]


@dataclass(frozen=True)
class AnalyticRenderer:
    """Renders analytic scenes, in world frame and unit; there are no parameters to differentiate in.

    Where cameras require gradients, or the domain is contracted, the scene is marched like any other field.

    Attributes:
        step_scale: of the steps of marching.
        near: distance in world units from which rays count; None: that of the field's capture.
        normals: whether pictures have normals.
        chunk: rays at once, which bounds memory.
    """

    step_scale: float = 1.0
    near: float | None = None
    normals: bool = False
    chunk: int = 1 << 16  # rays at once: bounds memory

    def __call__(self, scene: AnalyticField, cameras: Cameras) -> Picture:
        """Pictures `[camera, height, width]` of cameras that share one size."""
        differentiable = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in cameras.tensors)
        if differentiable or scene.domain.contracted:
            return VolumeRenderer(self.step_scale, self.near, self.normals)(scene, cameras)
        width, height = one_size(cameras)
        views = Rays.cat([cameras.picture_rays(index) for index in range(len(cameras))])
        picture = self.rays(scene, views)
        return picture.map(lambda t: t.reshape(len(cameras), height, width, *t.shape[1:]))

    @torch.no_grad()
    def rays(self, scene: AnalyticField, rays: Rays) -> Picture:
        """A flat picture of world-frame rays."""
        rays = rays.to(scene.device)
        return Picture.cat([self._part(scene, rays[at : at + self.chunk]) for at in range(0, len(rays), self.chunk)])

    def _part(self, field: AnalyticField, rays: Rays) -> Picture:
        world = field.world_from_local
        local = world.inverse().rays(rays)
        near = self.near if self.near is not None else (field.capture.near if field.capture else 0.0)
        enter, leave = field.domain.span(local.origins, local.directions, near / world.scale)
        matter = _matter(field, local, enter, leave)
        offsets = functional.pad(torch.bincount(matter.ray, minlength=len(rays)).cumsum(0), (1, 0))
        middle = 0.5 * (matter.t0 + matter.t1)
        composited = composite(matter.density, middle[:, None], matter.t0, matter.t1, offsets, stop=MIN_TRANSMITTANCE)
        rgb, normal = self._shade(field, local, matter, composited.weights, middle, composited.opacity)
        depth = composited.channels[:, 0] / composited.opacity.clamp_min(torch.finfo(middle.dtype).tiny)
        median = median_depth(composited.weights, matter.t0, matter.t1, offsets)
        normal = None if normal is None else world.vectors(normal)
        return Picture({"rgb": rgb}, composited.opacity, depth * world.scale, median * world.scale, normal)

    def _shade(
        self, field: AnalyticField, rays: Rays, matter: Matter, weights: Tensor, middle: Tensor, opacity: Tensor
    ) -> tuple[Float[Tensor, "ray 3"], Float[Tensor, "ray 3"] | None]:
        """Premultiplied colour, and normals if requested, of each stretch at the mean position of its weight."""
        stretches, own = matter.stretch.unique(return_inverse=True)
        weight = weights.new_zeros(len(stretches)).index_add_(0, own, weights)
        place = weights.new_zeros(len(stretches)).index_add_(0, own, weights * middle) / weight.clamp_min(1e-12)
        first = own.new_zeros(len(stretches)).scatter_(0, own, torch.arange(len(own), device=own.device))
        shown = (weight > MIN_SHADED_WEIGHT).nonzero()[:, 0]
        ray, owner, weight = matter.ray[first[shown]], matter.owner[first[shown]], weight[shown, None]
        directions = rays.directions[ray]
        at = rays.origins[ray] + place[shown, None] * directions
        blank = weights.new_zeros(len(rays), 3)
        colour = blank.index_add(0, ray, weight * field.surface_colours(at, directions, owner))
        shaded = weights.new_zeros(len(rays)).index_add_(0, ray, weight[:, 0])
        colour = colour * (opacity / shaded.clamp_min(MIN_SHADED_WEIGHT))[:, None]
        if not self.normals:
            return colour, None
        total = blank.index_add(0, ray, weight * field.surface(at, owner)[1])
        away = blank.index_copy(0, ray, directions)
        return colour, functional.normalize(
            torch.where((total * away).sum(-1, keepdim=True) > 0, -total, total), dim=-1
        )


def _matter(field: AnalyticField, rays: Rays, enter: Tensor, leave: Tensor) -> Matter:
    """Intervals of all rays in all primitives, by ray and along it, until nothing more is visible."""
    primitives, parts = field.config.primitives, []
    # Small primitives stand before and upon large ones, of which so much less has to be intersected.
    for index in sorted(range(len(primitives)), key=lambda i: reach(primitives[i].shape, primitives[i].size)):
        part, leave = _intersect(field, index, rays, enter, leave)
        parts.append(part)
    return _sort(parts)


def _intersect(
    field: AnalyticField, index: int, rays: Rays, enter: Tensor, leave: Tensor
) -> tuple[Matter, Float[Tensor, " ray"]]:
    """Intervals of every ray in the matter of one primitive, front to back, until the ray is opaque.

    And where each ray ends: where it became opaque, else as before.
    """
    primitive, softness = field.config.primitives[index], field.config.softness
    full = field.config.density if primitive.density is None else primitive.density
    own = primitive.placed.inverse().rays(rays)
    at = torch.cat([own.origins.T, own.directions.T])
    near, far = hull_span(primitive.shape, primitive.size, 0.5 * softness, own.origins.T, own.directions.T)
    start, end = torch.maximum(enter, near), torch.minimum(leave, far)
    ray = (start < end).nonzero()[:, 0]
    at, t0, end = at[:, ray], start[ray], end[ray]
    entered, thickness, rate = t0, torch.zeros_like(t0), torch.ones_like(t0)
    gap = _distance(primitive, at, t0)
    density0 = _density(gap, softness, full)
    pieces = []
    for _ in range(MAX_STEPS):
        if not len(ray):
            break
        # Density is constant beyond half the softness from the surface; across it steps are even in depth.
        step = torch.maximum(gap.abs() - 0.5 * softness, softness / STEPS_ACROSS / rate)
        step = torch.where(gap < 0.5 * softness, step.clamp_max(STRETCH_SOFTNESSES * softness), step)
        t1 = torch.minimum(t0 + step, end)
        next_gap = _distance(primitive, at, t1)
        density1 = _density(next_gap, softness, full)
        density = 0.5 * (density0 + density1)
        thickness = thickness + density * (t1 - t0)
        filled = (density > 0).nonzero()[:, 0]
        pieces.append((ray[filled], t0[filled], t1[filled], density[filled], entered[filled]))
        rate = ((next_gap - gap).abs() / (t1 - t0).clamp_min(1e-3 * softness)).clamp(MIN_DISTANCE_RATE, 1.0)
        entered = torch.where(density > 0, entered, t1)
        t0, gap, density0 = t1, next_gap, density1
        alive = ((t1 < end) & (thickness < OPAQUE_DEPTH)).nonzero()[:, 0]
        if len(alive) < len(ray):
            opaque = (thickness >= OPAQUE_DEPTH).nonzero()[:, 0]
            leave = leave.index_put((ray[opaque],), t1[opaque])
            rows = torch.stack([t0, end, gap, density0, entered, thickness, rate])[:, alive]
            t0, end, gap, density0, entered, thickness, rate = rows.unbind()
            at, ray = at[:, alive], ray[alive]
    if not pieces:
        empty, none = enter.new_zeros(0), torch.zeros(0, dtype=torch.long, device=enter.device)
        return Matter(none, empty, empty, empty, none, none), leave
    ray, t0, t1, density, entered = (torch.cat(parts) for parts in zip(*pieces, strict=True))
    owner = torch.full_like(ray, index)
    # A ray may enter a torus twice: intervals are shaded together where their entry agrees within a softness.
    crossing = (entered / softness).long().clamp(0, (1 << 20) - 1)
    stretch = ((t0 - entered) / (STRETCH_SOFTNESSES * softness)).long().clamp_max(255)
    number = ((ray * len(field.config.primitives) + owner) << 28) + (crossing << 8) + stretch
    return Matter(ray, t0, t1, density, number, owner), leave


def _sort(parts: list[Matter]) -> Matter:
    """The matter of all primitives, by ray and along it."""
    whole = Matter(*(torch.cat(columns) for columns in zip(*parts, strict=True)))
    longest = float(whole.t1.max()) if len(whole.ray) else 1.0
    order = ((whole.ray << 24) + (whole.t0 * ((1 << 24) / longest)).long()).argsort()  # the resolution of float32
    return Matter(*(column[order] for column in whole))


def _distance(primitive: Primitive, at: Float[Tensor, "6 ray"], t: Tensor) -> Float[Tensor, " ray"]:
    """From a primitive's surface, of rays in its own frame, origins above directions."""
    x, y, z = at[:3] + t * at[3:]
    return signed_distance(primitive.shape, primitive.size, (x, y, z))


def _density(distance: Tensor, softness: float, full: float) -> Tensor:
    ramp = (0.5 - distance / softness).clamp(0.0, 1.0)
    return full * ramp * ramp * (3.0 - 2.0 * ramp)
