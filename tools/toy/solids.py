"""Where rays first meet upright solids around the origin, with the outward normal there; all planar, inf for a miss."""

from collections.abc import Callable

import torch

from volkit.typing import Tensor

__all__ = ["MEETINGS"]

Planes = tuple[Tensor, Tensor, Tensor]
Met = tuple[Tensor, Planes]
MISS = torch.inf
ARRIVED = 1e-3  # of a torus: a fiftieth of a pixel
WALK = 128  # steps at most: who grazes a torus is closer than 2 ARRIVED over a twentieth, 50 steps of ARRIVED


def _roots(a: Tensor, half_b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Both roots of `a t² + 2 b t + c`, nan where there are none."""
    root = (half_b * half_b - a * c).sqrt()
    return (-half_b - root) / a, (-half_b + root) / a


def _first(candidates: list[tuple[Tensor, Tensor, Planes]]) -> Met:
    """The nearest of the candidates (way, whether it counts, normal)."""
    best = torch.full_like(candidates[0][0], MISS)
    normal: list[Tensor] = [torch.zeros_like(best)] * 3
    for t, counts, n in candidates:
        nearer = counts & (t < best)
        best = torch.where(nearer, t, best)
        normal = [torch.where(nearer, new, old) for new, old in zip(n, normal, strict=True)]
    return best, (normal[0], normal[1], normal[2])


def _ball(o: Planes, d: Planes, radius: Tensor, height: Tensor | float) -> tuple[Tensor, Planes]:
    z = o[2] - height
    half_b = o[0] * d[0] + o[1] * d[1] + z * d[2]
    t, _ = _roots(torch.ones_like(z), half_b, o[0] ** 2 + o[1] ** 2 + z * z - radius**2)
    return t, ((o[0] + t * d[0]) / radius, (o[1] + t * d[1]) / radius, (z + t * d[2]) / radius)


def _cap(o: Planes, d: Planes, radius: Tensor, height: Tensor, up: float) -> tuple[Tensor, Tensor, Planes]:
    """A disc that looks up or down."""
    t = (height - o[2]) / d[2]
    within = (o[0] + t * d[0]) ** 2 + (o[1] + t * d[1]) ** 2 <= radius**2
    zero = torch.zeros_like(t)
    return t, within, (zero, zero, torch.full_like(t, up))


def _wall(o: Planes, d: Planes, radius: Tensor, half_height: Tensor) -> tuple[Tensor, Tensor, Planes]:
    a, half_b = d[0] ** 2 + d[1] ** 2, o[0] * d[0] + o[1] * d[1]
    t, _ = _roots(a, half_b, o[0] ** 2 + o[1] ** 2 - radius**2)
    n = (o[0] + t * d[0]) / radius, (o[1] + t * d[1]) / radius, torch.zeros_like(t)
    return t, (o[2] + t * d[2]).abs() <= half_height, n


def sphere(o: Planes, d: Planes, size: tuple[Tensor, ...]) -> Met:
    """A quadratic."""
    t, n = _ball(o, d, size[0], 0.0)
    return _first([(t, torch.isfinite(t), n)])


def box(o: Planes, d: Planes, size: tuple[Tensor, ...]) -> Met:
    """Three slabs (Kay and Kajiya 1986), of sharp edges."""
    enter = [-torch.copysign(half, w) for half, w in zip(size[:3], d, strict=True)]
    near = [(e - p) / w for e, p, w in zip(enter, o, d, strict=True)]
    far = [(-e - p) / w for e, p, w in zip(enter, o, d, strict=True)]
    t, through = torch.stack(near).max(0)
    n = tuple(torch.where(through == i, -torch.sign(w), torch.zeros_like(w)) for i, w in enumerate(d))
    return _first([(t, t <= torch.stack(far).amin(0), (n[0], n[1], n[2]))])


def cylinder(o: Planes, d: Planes, size: tuple[Tensor, ...]) -> Met:
    """A wall and two discs, of sharp edges."""
    radius, half = size[:2]
    return _first([_wall(o, d, radius, half), _cap(o, d, radius, half, 1.0), _cap(o, d, radius, -half, -1.0)])


def capsule(o: Planes, d: Planes, size: tuple[Tensor, ...]) -> Met:
    """A wall and two balls: balls count where they are ends."""
    radius, half = size
    ends = []
    for up in (1.0, -1.0):
        t, n = _ball(o, d, radius, up * half)
        ends.append((t, (o[2] + t * d[2]) * up >= half, n))
    return _first([_wall(o, d, radius, half), *ends])


def cone(o: Planes, d: Planes, size: tuple[Tensor, ...]) -> Met:
    """A flank `x² + y² = (r (h - z) / 2h)²` and a base."""
    radius, half = size
    slope = 0.5 * radius / half
    below, dz = (half - o[2]) * slope, -d[2] * slope
    a = d[0] ** 2 + d[1] ** 2 - dz * dz
    half_b = o[0] * d[0] + o[1] * d[1] - below * dz
    c = o[0] ** 2 + o[1] ** 2 - below * below
    steep = torch.hypot(torch.ones_like(slope), slope)
    flanks = []
    for t in _roots(torch.where(a.abs() < 1e-9, torch.full_like(a, 1e-9), a), half_b, c):
        away = below + t * dz
        n = (o[0] + t * d[0]) / (away * steep), (o[1] + t * d[1]) / (away * steep), slope / steep
        flanks.append((t, (away > 0) & ((o[2] + t * d[2]).abs() <= half), n))
    return _first([*flanks, _cap(o, d, radius, -half, -1.0)])


def torus(o: Planes, d: Planes, size: tuple[Tensor, ...]) -> Met:
    """Walk by the distance (Hart 1996) through a slice of a ball; a quartic's roots are not safe in float32."""
    ring, tube = size
    reach = ring + tube
    half_b = o[0] * d[0] + o[1] * d[1] + o[2] * d[2]
    t, far = _roots(torch.ones_like(half_b), half_b, o[0] ** 2 + o[1] ** 2 + o[2] ** 2 - reach**2)
    slab = tube / d[2].abs()
    t, far = torch.maximum(t, -o[2] / d[2] - slab), torch.minimum(far, -o[2] / d[2] + slab)
    walking = (t <= far).nonzero()[:, 0]
    for _ in range(WALK):
        x, y, z = (p[walking] + t[walking] * w[walking] for p, w in zip(o, d, strict=True))
        gap = torch.hypot(torch.hypot(x, y) - ring[walking], z) - tube[walking]
        t[walking] += gap
        walking = walking[(gap >= ARRIVED) & (t[walking] <= far[walking])]
    x, y, z = (p + t * w for p, w in zip(o, d, strict=True))
    across = torch.hypot(x, y)
    lean = (across - ring) / across.clamp_min(1e-6)
    there = torch.hypot(across - ring, z) - tube < ARRIVED
    return _first([(t, there & (t <= far), (x * lean / tube, y * lean / tube, z / tube))])


MEETINGS: dict[str, Callable[[Planes, Planes, tuple[Tensor, ...]], Met]] = {
    "sphere": sphere,
    "box": box,
    "cylinder": cylinder,
    "cone": cone,
    "torus": torus,
    "capsule": capsule,
}
