"""Scenes of primitives with exact shape and appearance: teachers whose ground truth needs no photographs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar, NamedTuple

import torch

from volkit.geometry import Domain, Points, Rays, Similarity, morton_codes
from volkit.ops.param_group import ParamGroup
from volkit.representations.analytic.appearance import Finish, Light, ShadingInputs, albedo, shade
from volkit.representations.analytic.shapes import SHAPES, reach, signed_distance
from volkit.representations.field import Field, FieldSample
from volkit.representations.kinds import RepresentationConfig
from volkit.representations.occupancy_bits import OCCUPANCY_RESOLUTION, pack_bits
from volkit.typing import Bool, Float, Int, Tensor, UInt8

__all__ = ["AnalyticConfig", "AnalyticField", "Hits", "Primitive", "trace"]

POINTS_AT_ONCE = 1 << 16  # points; the planes of one chunk stay in the second-level cache
BLOCK_CELLS = 4  # cells along an edge of the blocks of the occupancy lattice that are tested first
SHADOW_STEPS = 10
OCCLUSION_TAPS = (0.02, 0.06, 0.13)  # of a unit scene
IN_PLACE, PLAIN_TEXTURE, DAYLIGHT = Similarity(), Finish(), Light()


@dataclass(frozen=True)
class Primitive:
    """A solid of an analytic scene.

    Attributes:
        shape: a name of `shapes.SHAPES`.
        size: the sizes that the shape takes, local units.
        placed: field from primitive frame; its scale must be 1.
        texture: its colours.
        density: in 1 / local unit, in place of the scene's; a small one makes haze or glass.

    Raises:
        ValueError: an unknown shape, sizes that it does not take, or a scale.
    """

    shape: str
    size: tuple[float, ...]
    placed: Similarity = IN_PLACE  # field from primitive; its scale must be 1
    texture: Finish = PLAIN_TEXTURE
    density: float | None = None

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(f"primitive: no shape '{self.shape}': there are {', '.join(SHAPES)}")
        sizes = SHAPES[self.shape][0]
        if len(self.size) != len(sizes) or not all(edge >= 0 for edge in self.size):
            raise ValueError(f"primitive: a {self.shape} takes sizes {sizes}, at least 0, got {self.size}")
        if abs(self.placed.scale - 1.0) > 1e-9:
            raise ValueError("primitive: scale its size instead of its placement, so that distances stay distances")


@dataclass(frozen=True)
class AnalyticConfig(RepresentationConfig):
    """A union of primitives under one light, with matter of a given density behind a soft surface.

    Attributes:
        primitives: the solids, at least one.
        density: of their matter, 1 / local unit.
        softness: width, in local units, of the ramp from zero to full density across a surface.
        light: the sun and the sky.
        title: of the scene, for pages.
    """

    kind: ClassVar[str] = "analytic"
    trainable: ClassVar[bool] = False
    primitives: tuple[Primitive, ...] = (Primitive("sphere", (0.5,)),)
    density: float = 400.0
    softness: float = 0.01
    light: Light = DAYLIGHT
    title: str = ""

    def build(self, domain: Domain, generator: torch.Generator | None = None) -> "AnalyticField":
        """The field on `domain`; nothing about it is random."""
        return AnalyticField(self, domain)


class AnalyticField(Field):
    """`sigma(x) = max_i density_i smoothstep(1/2 - d_i(x) / softness)`, with the colour of the densest primitive.

    `d_i` are exact signed distances, so that density is half at the surface `d = 0`. Colours are those of the closest
    surface point under the scene's light with soft shadows, plus a view-dependent gloss lobe. A teacher only: it has no
    parameters. Differentiable in positions.
    """

    def __init__(self, config: AnalyticConfig, domain: Domain) -> None:
        super().__init__(domain)
        if not config.primitives:
            raise ValueError("analytic scene: at least one primitive is needed")
        self.config = config
        if not domain.contracted:
            with torch.no_grad():
                self.occupancy.copy_(_touched_cells(self.signed_distance, domain, 0.5 * config.softness))

    def param_groups(self) -> list[ParamGroup]:
        """None: there are no parameters."""
        return []

    def _sizes(self) -> list[str]:
        return [f"{len(self.config.primitives)} primitives"]

    def distances(self, positions: Float[Tensor, "point 3"]) -> Float[Tensor, "primitive point"]:
        """Signed distance to every primitive, local units."""
        return torch.stack([self._distance(p, _planes(positions)) for p in self.config.primitives])

    def signed_distance(self, positions: Float[Tensor, "point 3"]) -> Float[Tensor, " point"]:
        """Distance to the union's surface, negative inside; exact outside, a bound where solids overlap."""
        return _in_chunks(lambda part: self._nearest(part, self.config.primitives), positions)

    def normals(self, positions: Float[Tensor, "point 3"]) -> Float[Tensor, "point 3"]:
        """Outward unit normals: the exact gradient of the signed distance."""
        return _in_chunks(lambda part: self.surface(part, self.distances(part).argmin(0))[1], positions)

    def density(self, positions: Float[Tensor, "point 3"]) -> Float[Tensor, " point"]:
        """The densest primitive's `density smoothstep(1/2 - d / softness)`; zero outside the domain."""
        return _in_chunks(self._densest, positions)[:, 0]

    def query(self, points: Points) -> FieldSample:
        """Density, and colour where density is not zero; black elsewhere."""
        density, owner = _in_chunks(self._densest, points.positions).unbind(-1)
        rgb = torch.zeros_like(points.positions)
        alive = density.detach() > 0
        if alive.any():
            colours = self.surface_colours(points.positions[alive], points.directions[alive], owner[alive].long())
            rgb = rgb.masked_scatter(alive[:, None], colours)
        return FieldSample(density, {"rgb": rgb})

    def _distance(self, primitive: Primitive, at: tuple[Tensor, ...]) -> Tensor:
        moved = [a - t for a, t in zip(at, primitive.placed.translation, strict=True)]
        x, y, z = (_combine(moved, column) for column in zip(*primitive.placed.rotation, strict=True))
        return signed_distance(primitive.shape, primitive.size, (x, y, z))

    def _densest(self, positions: Tensor) -> Float[Tensor, "point 2"]:
        """Density, and the index of the primitive that it comes from."""
        at, softness = _planes(positions), self.config.softness
        best, owner = torch.zeros_like(at[0]), torch.zeros_like(at[0]).detach()
        for index, primitive in enumerate(self.config.primitives):
            near = _within(at, primitive, 0.5 * softness)
            if not len(near):
                continue
            ramp = (0.5 - self._distance(primitive, tuple(a[near] for a in at)) / softness).clamp(0.0, 1.0)
            full = self.config.density if primitive.density is None else primitive.density
            matter, before = full * ramp * ramp * (3.0 - 2.0 * ramp), best[near]
            owner[near[matter > before]] = index
            best = best.index_put((near,), torch.maximum(matter, before))
        return torch.stack([best * self.domain.contains(positions), owner], -1)

    def surface(
        self, positions: Float[Tensor, "point 3"], owner: Int[Tensor, " point"]
    ) -> tuple[Float[Tensor, " point"], Float[Tensor, "point 3"]]:
        """Distance of each point to the surface of the primitive that owns it, and its gradient, the unit normal."""
        if not len(positions):
            return positions[:, 0], positions
        # Distances have no closed-form gradient in one expression for all shapes; autograd's is exact.
        differentiable = torch.is_grad_enabled() and positions.requires_grad
        with torch.inference_mode(False), torch.enable_grad():
            at = positions if differentiable else positions.clone().requires_grad_(True)
            mine = torch.zeros_like(at[:, 0])
            for index in owner.unique().tolist():
                own = torch.nonzero(owner == index)[:, 0]
                distance = self._distance(self.config.primitives[index], _planes(at[own]))
                mine = mine.index_put((own,), distance)
            (gradient,) = torch.autograd.grad(mine.sum(), at, create_graph=differentiable)
        return mine if differentiable else mine.detach(), torch.nn.functional.normalize(gradient, dim=-1)

    def surface_colours(
        self,
        positions: Float[Tensor, "point 3"],
        directions: Float[Tensor, "point 3"],
        owner: Int[Tensor, " point"],
    ) -> Float[Tensor, "point 3"]:
        """Display-referred colour, under the scene's light, of the owners' surfaces where they are closest."""
        if len(positions) > POINTS_AT_ONCE:
            parts = zip(*(values.split(POINTS_AT_ONCE) for values in (positions, directions, owner)), strict=True)
            return torch.cat([self.surface_colours(*part) for part in parts])
        distance, normal = self.surface(positions, owner)
        surface = positions - distance[:, None] * normal
        colour = torch.zeros_like(surface)
        for index in owner.unique().tolist():
            primitive, mine = self.config.primitives[index], owner == index
            local = primitive.placed.inverse().points(surface[mine])
            colour = colour.masked_scatter(mine[:, None], albedo(primitive.texture, local))
        textures = [p.texture for p in self.config.primitives]
        gloss = surface.new_tensor([t.gloss for t in textures])[owner]
        shininess = surface.new_tensor([t.shininess for t in textures])[owner]
        sunlit, open_sky = self._visibility(surface, normal)
        return shade(ShadingInputs(colour, normal, directions, sunlit, open_sky, gloss, shininess), self.config.light)

    def _visibility(self, surface: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
        """Soft shadow and ambient occlusion from distances along the ray (Quilez 2010; Evans 2006)."""
        light, size = self.config.light, self.domain.diagonal / 4.0
        lit = torch.zeros_like(surface[:, 0])
        towards = torch.nn.functional.normalize(surface.new_tensor(light.direction), dim=0)
        facing = (normal.detach() @ towards > 0).nonzero()[:, 0]  # the others have no sun, whatever stands before it
        if light.shadow > 0 and len(facing):
            lit = lit.index_put((facing,), self._sunlit((surface + 0.005 * size * normal)[facing], towards, size))
        blocked = torch.zeros_like(lit)
        for tap in OCCLUSION_TAPS if light.occlusion > 0 else ():
            gap = self._opaque_distance(surface + tap * size * normal, tap * size)
            blocked = blocked + (1.0 - gap / (tap * size)).clamp(0.0, 1.0) / len(OCCLUSION_TAPS)
        smooth = lit * lit * (3.0 - 2.0 * lit)
        return 1.0 - light.shadow * (1.0 - smooth), 1.0 - light.occlusion * blocked

    def _sunlit(
        self, start: Float[Tensor, "point 3"], towards: Float[Tensor, "3"], size: float
    ) -> Float[Tensor, " point"]:
        """How much of the sun reaches points just above a surface, 0 to 1."""
        # Matter farther than a tenth of the longest path neither shades nor shortens a step.
        limit = 0.1 * SHADOW_STEPS * 0.25 * size
        places = start.new_tensor([primitive.placed.translation for primitive in self.config.primitives])
        reaches = start.new_tensor([reach(primitive.shape, primitive.size) for primitive in self.config.primitives])
        last = (places @ towards + reaches).max() + limit  # along the path to the sun: beyond it nothing stands
        lit = torch.ones_like(start[:, 0])
        going = torch.arange(len(start), device=start.device)
        travelled = torch.full_like(lit, 0.02 * size)
        for _ in range(SHADOW_STEPS):
            at = start[going] + travelled[:, None] * towards
            gap = self._opaque_distance(at, limit)
            shade = torch.minimum(lit[going], (0.5 + 5.0 * gap / travelled).clamp(0.0, 1.0))
            lit = lit.index_put((going,), shade)
            alive = ((shade > 0) & (at @ towards < last)).nonzero()[:, 0]
            if not len(alive):
                break
            going, travelled = going[alive], (travelled + gap.clamp(0.02 * size, 0.25 * size))[alive]
        return lit

    def _opaque_distance(self, positions: Tensor, limit: float) -> Tensor:
        """Distance to the primitives that cast shadows, at most `limit`."""
        at = _planes(positions)
        best = torch.full_like(at[0], limit)
        solids = [p for p in self.config.primitives if p.density is None] or self.config.primitives
        for primitive in sorted(solids, key=lambda solid: solid.shape == "ellipsoid"):  # whose distance costs most
            near = _within(at, primitive, best.detach())
            if len(near):
                distance = self._distance(primitive, tuple(a[near] for a in at))
                best = best.index_put((near,), torch.minimum(best[near], distance))
        return best

    def _nearest(self, positions: Tensor, primitives: tuple[Primitive, ...]) -> Tensor:
        at = _planes(positions)
        return reduce(torch.minimum, (self._distance(p, at) for p in primitives))


def _planes(positions: Tensor) -> tuple[Tensor, ...]:
    return positions.t().contiguous().unbind(0)


def _within(at: tuple[Tensor, ...], primitive: Primitive, margin: float | Tensor) -> Tensor:
    """Points within a bounding ball of a primitive: the test costs a tenth of a distance, and most points fail it."""
    far = reach(primitive.shape, primitive.size) + margin
    x, y, z = (a.detach() - t for a, t in zip(at, primitive.placed.translation, strict=True))
    return torch.nonzero(x * x + y * y + z * z < far * far)[:, 0]


def _combine(parts: list[Tensor], row: tuple[float, ...]) -> Tensor:
    """`sum_i row_i part_i` without zero terms: most primitives are not rotated."""
    terms = [part if weight == 1.0 else part * weight for part, weight in zip(parts, row, strict=True) if weight != 0.0]
    return sum(terms[1:], start=terms[0])


def _in_chunks(function: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    if len(points) <= POINTS_AT_ONCE:
        return function(points)
    return torch.cat([function(part) for part in points.split(POINTS_AT_ONCE)])


class Hits(NamedTuple):
    """First surface points of rays, local frame: distance along the unit ray, outward normal; inf and 0 for a miss."""

    distance: Float[Tensor, " ray"]
    normal: Float[Tensor, "ray 3"]
    hit: Bool[Tensor, " ray"]


@torch.no_grad()
def trace(field: AnalyticField, rays: Rays, *, tolerance: float = 1e-5, steps: int = 256) -> Hits:
    """The first surface points of rays, by sphere tracing (Hart 1996).

    Args:
        field: the scene.
        rays: in its local frame, unit directions.
        tolerance: largest distance from the surface, along its normal, at which a ray stops.
        steps: after which a ray, which then grazes the surface, counts as a miss.
    """
    near, far = field.domain.span(rays.origins, rays.directions)
    distance = near.clone()
    hit = torch.zeros_like(near, dtype=torch.bool)
    walking = torch.nonzero(near < far)[:, 0]
    for _ in range(steps):
        if not len(walking):
            break
        at = rays.origins[walking] + distance[walking, None] * rays.directions[walking]
        gap = field.signed_distance(at)
        arrived = gap < tolerance
        hit[walking[arrived]] = True
        distance[walking] += torch.where(arrived, torch.zeros_like(gap), gap)
        walking = walking[~arrived & (distance[walking] < far[walking])]
    normal = torch.zeros_like(rays.origins)
    if hit.any():
        normal[hit] = field.normals(rays.origins[hit] + distance[hit, None] * rays.directions[hit])
    return Hits(torch.where(hit, distance, torch.full_like(distance, torch.inf)), normal, hit)


def _touched_cells(distance: Callable[[Tensor], Tensor], domain: Domain, margin: float) -> UInt8[Tensor, " byte"]:
    """Bits of the cells whose centre is at most half their diagonal and `margin` from the inside, Morton order.

    No cell with matter is missed, as signed distances change by at most the distance moved. Box domains only.
    """
    blocks = OCCUPANCY_RESOLUTION // BLOCK_CELLS
    near = _near_cells(distance, domain, _lattice(blocks), blocks, margin)
    cells = (near[:, None] * BLOCK_CELLS + _lattice(BLOCK_CELLS)).reshape(-1, 3)
    cells = _near_cells(distance, domain, cells, OCCUPANCY_RESOLUTION, margin)
    occupied = torch.zeros(OCCUPANCY_RESOLUTION**3, dtype=torch.bool)
    occupied[morton_codes(cells)] = True
    return pack_bits(occupied)


def _lattice(count: int) -> Int[Tensor, "cell 3"]:
    axis = torch.arange(count)
    return torch.cartesian_prod(axis, axis, axis)


def _near_cells(
    distance: Callable, domain: Domain, cells: Tensor, resolution: int, margin: float
) -> Int[Tensor, "cell 3"]:
    centres = domain.local_from_unit((cells + 0.5) / resolution)
    return cells[distance(centres) <= 0.5 * domain.diagonal / resolution + margin]
