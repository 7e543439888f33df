"""Exact pictures of thousands of small analytic scenes at once, one camera each: where a ray first meets a solid.

Spheres, boxes, cylinders, cones and capsules by closed forms, tori by walking the distance. For scenes of upright
solids without shadows, in solid colours or stripes, which is what the captions mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from toy.solids import MEETINGS
from volkit.geometry import Cameras
from volkit.representations.analytic import AnalyticConfig, Light, Primitive
from volkit.representations.analytic.appearance import Surface, albedo, shaded
from volkit.representations.analytic.shapes import reach
from volkit.typing import Float, Int, Tensor

__all__ = ["Pictures", "render"]

RAYS = 1 << 19  # of a part: what lies in memory at once


@dataclass(frozen=True)
class Pictures:
    """Colours premultiplied by opacity, as a renderer gives them."""

    rgb: Float[Tensor, "picture height width 3"]
    opacity: Float[Tensor, "picture height width"]

    def over(
        self, background: Float[Tensor, "3"] | Float[Tensor, "picture 3"]
    ) -> Float[Tensor, "picture height width 3"]:
        """Over a ground, or one each."""
        ground = background.expand(len(self.rgb), 3)[:, None, None]
        return self.rgb + (1.0 - self.opacity)[..., None] * ground


def render(scenes: Sequence[AnalyticConfig], cameras: Cameras, per_edge: int = 2) -> Pictures:
    """A square picture of each scene by its own pinhole camera, from `per_edge²` rays a pixel."""
    side = int(cameras.size[0, 0])
    together = max(1, RAYS // (side * per_edge) ** 2)
    parts = [
        _part(scenes[i : i + together], cameras[slice(i, i + together)], side, per_edge)
        for i in range(0, len(scenes), together)
    ]
    return Pictures(torch.cat([part.rgb for part in parts]), torch.cat([part.opacity for part in parts]))


@torch.no_grad()
def _part(scenes: Sequence[AnalyticConfig], cameras: Cameras, side: int, per_edge: int) -> Pictures:
    edge = side * per_edge
    directions = _directions(cameras, edge, per_edge)
    origins = cameras.centres
    first = torch.full((len(scenes), edge * edge), torch.inf)
    owner = torch.zeros_like(first, dtype=torch.long)
    normal = torch.zeros(3, len(scenes), edge * edge)
    solids = [(scene, solid) for scene, config in enumerate(scenes) for solid in config.primitives]
    for shape in sorted({solid.shape for _, solid in solids}):
        mine = [i for i, (_, solid) in enumerate(solids) if solid.shape == shape]
        _meet(shape, solids, mine, (origins, directions), (first, owner, normal))
    hit = torch.isfinite(first)
    ray = hit.flatten().nonzero()[:, 0]
    d = torch.stack([axis.flatten()[ray] for axis in directions], -1)
    n = torch.stack([axis.flatten()[ray] for axis in normal], -1)
    at = origins[ray // (edge * edge)] + first.flatten()[ray, None] * d
    colour = torch.zeros(hit.numel(), 3)
    colour[ray] = _shaded(solids, scenes[0].light, owner.flatten()[ray], (at, n, d))
    rgb = colour.view(len(scenes), side, per_edge, side, per_edge, 3).mean((2, 4))
    return Pictures(rgb, hit.float().view(len(scenes), side, per_edge, side, per_edge).mean((2, 4)))


def _directions(cameras: Cameras, edge: int, per_edge: int) -> tuple[Tensor, Tensor, Tensor]:
    """Unit directions, planar: three of [picture, ray]."""
    focal, centre = cameras.intrinsics[:, :2, None], cameras.intrinsics[:, 2:, None]
    steps = (torch.arange(edge) + 0.5) / per_edge
    x, y = (steps - centre[:, 0]) / focal[:, 0], (steps - centre[:, 1]) / focal[:, 1]
    length = (1.0 + x[:, None, :] ** 2 + y[:, :, None] ** 2).sqrt()
    turned = cameras.world_from_camera[:, :, :3]
    planes = (
        (
            turned[:, i, 0, None, None] * x[:, None]
            + turned[:, i, 1, None, None] * y[..., None]
            + turned[:, i, 2, None, None]
        )
        for i in range(3)
    )
    a, b, c = ((plane / length).flatten(1) for plane in planes)
    return a, b, c


def _meet(
    shape: str,
    solids: list[tuple[int, Primitive]],
    mine: list[int],
    rays: tuple[Tensor, tuple[Tensor, ...]],
    nearest: tuple[Tensor, Tensor, Tensor],
) -> None:
    """Let all solids of one shape be met; what is nearer than what was met before takes its place."""
    origins, directions = rays
    first, owner, normal = nearest
    scene = torch.tensor([solids[i][0] for i in mine])
    place = torch.tensor([solids[i][1].placed.translation for i in mine])
    size = torch.tensor([solids[i][1].size for i in mine])
    far = torch.tensor([reach(shape, solids[i][1].size) for i in mine])
    o = origins[scene] - place
    d = [axis[scene] for axis in directions]
    along = -sum(o[:, i, None] * d[i] for i in range(3))
    close = (o * o).sum(-1, keepdim=True) - along * along < (far * far)[:, None]
    row, ray = close.nonzero(as_tuple=True)
    local_d = tuple(axis[row, ray] for axis in d)
    # From the point closest to the middle on, so that rounding is that of the solid's size and not of the way to it.
    start = along[row, ray]
    local_o = tuple(o[row, i] + start * local_d[i] for i in range(3))
    t, n = MEETINGS[shape](local_o, local_d, size[row].unbind(-1))
    index = scene[row] * first.shape[1] + ray
    met = start + t
    # Scenes may have several solids of one shape: one after the other, as each ray may be written once.
    for turn in _turns(scene):
        here = turn[row] & (met < first.view(-1)[index])
        where = index[here]
        first.view(-1)[where] = met[here]
        owner.view(-1)[where] = torch.tensor(mine)[row[here]]
        for i in range(3):
            normal[i].view(-1)[where] = n[i][here]


def _turns(scene: Int[Tensor, " solid"]) -> list[Tensor]:
    """Masks over solids, each with at most one solid of a scene."""
    seen: dict[int, int] = {}
    order = []
    for s in scene.tolist():
        seen[s] = seen.get(s, -1) + 1
        order.append(seen[s])
    return [torch.tensor([o == k for o in order]) for k in range(max(order) + 1)]


def _shaded(
    solids: list[tuple[int, Primitive]], light: Light, owner: Int[Tensor, " point"], hits: tuple[Tensor, ...]
) -> Float[Tensor, "point 3"]:
    at, normal, direction = hits
    flat = torch.cat([albedo(solid.texture, at.new_zeros(1, 3)) for _, solid in solids])
    colour = flat[owner]
    textures = [solid.texture for _, solid in solids]
    for index, (_, solid) in enumerate(solids):
        if solid.texture.pattern != "solid":
            mine = (owner == index).nonzero()[:, 0]
            colour[mine] = albedo(solid.texture, at[mine] - at.new_tensor(solid.placed.translation))
    gloss = at.new_tensor([texture.gloss for texture in textures])[owner]
    shininess = at.new_tensor([texture.shininess for texture in textures])[owner]
    full = torch.ones_like(gloss)
    return shaded(Surface(colour, normal, direction, full, full, gloss, shininess), light)
