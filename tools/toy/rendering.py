"""Exact pictures of thousands of small analytic scenes at once, one camera each: where a ray first meets a solid.

For scenes of upright solids with sharp edges under one light without shadows, which is what captions mean. Colours are
those of the analytic room: `shade` and `albedo` of its `appearance`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch.nn.functional import avg_pool2d

from toy.solids import MEETINGS
from volkit.geometry import Cameras
from volkit.representations.analytic import AnalyticConfig, Finish, Light, Primitive
from volkit.representations.analytic.appearance import ShadingInputs, albedo, shade
from volkit.representations.analytic.shapes import reach
from volkit.typing import Bool, Float, Int, Tensor

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
        """Over one ground, or over one each."""
        ground = background.expand(len(self.rgb), 3)[:, None, None]
        return self.rgb + (1.0 - self.opacity)[..., None] * ground


@dataclass(frozen=True)
class Met:
    """What is nearest on every ray so far, planar: how far it is, which solid, its normal."""

    way: Float[Tensor, " ray"]
    owner: Int[Tensor, " ray"]
    normal: Float[Tensor, "3 ray"]


@dataclass(frozen=True)
class Solids:
    """The primitives of all scenes one after the other, and whose they are."""

    primitives: list[Primitive]
    scene: Int[Tensor, " solid"]

    def of(self, shape: str) -> list[Int[Tensor, " chosen"]]:
        """Indices of those of one shape, in lists with at most one of each scene."""
        mine = torch.tensor([i for i, solid in enumerate(self.primitives) if solid.shape == shape])
        again = torch.zeros_like(mine, dtype=torch.bool)
        again[1:] = self.scene[mine[1:]] == self.scene[mine[:-1]]
        return [mine[~again], mine[again]] if again.any() else [mine]


@torch.no_grad()
def render(scenes: Sequence[AnalyticConfig], cameras: Cameras, per_edge: int = 2) -> Pictures:
    """A square picture of each scene by its own pinhole camera, `per_edge²` rays a pixel; at most two solids each."""
    side = int(cameras.size[0, 0])
    together = max(1, RAYS // (side * per_edge) ** 2)
    parts = [
        _part(scenes[i : i + together], cameras[slice(i, i + together)], side * per_edge)
        for i in range(0, len(scenes), together)
    ]
    rgb, opacity = avg_pool2d(torch.cat(parts), per_edge).split([3, 1], 1)
    return Pictures(rgb.movedim(1, -1), opacity[:, 0])


def _part(scenes: Sequence[AnalyticConfig], cameras: Cameras, edge: int) -> Float[Tensor, "picture 4 edge edge"]:
    """Colour and opacity, a ray a pixel."""
    directions, origins, rays = _directions(cameras, edge), cameras.centres, len(scenes) * edge * edge
    counts = torch.tensor([len(scene.primitives) for scene in scenes])
    solids = Solids(
        [s for scene in scenes for s in scene.primitives], torch.arange(len(scenes)).repeat_interleave(counts)
    )
    met = Met(torch.full((rays,), torch.inf), torch.zeros(rays, dtype=torch.long), torch.zeros(3, rays))
    for shape in sorted({solid.shape for solid in solids.primitives}):
        for chosen in solids.of(shape):
            _meet(shape, chosen, solids, (origins, directions), met)
    ray = torch.isfinite(met.way).nonzero()[:, 0]
    d = directions.flatten(1)[:, ray].t()
    at = origins[ray // (edge * edge)] + met.way[ray, None] * d
    picture = torch.zeros(len(scenes), edge * edge, 4)
    colour = _shaded(solids, scenes[0].light, met.owner[ray], (at, met.normal[:, ray].t(), d))
    picture.view(-1, 4)[ray] = torch.cat([colour, torch.ones(len(ray), 1)], -1)
    return picture.view(len(scenes), edge, edge, 4).movedim(-1, 1)


def _directions(cameras: Cameras, edge: int) -> Float[Tensor, "3 picture ray"]:
    """Unit directions of an even lattice of rays over square pictures."""
    focal, centre = cameras.intrinsics[:, None, :2], cameras.intrinsics[:, None, 2:]
    steps = (torch.arange(edge) + 0.5) * (cameras.size[0, 0] / edge)
    x, y = ((steps[:, None] - centre) / focal).unbind(-1)
    length = (1.0 + x[:, None, :] ** 2 + y[:, :, None] ** 2).sqrt()
    right, down, ahead = cameras.world_from_camera[:, :, :3].permute(2, 1, 0)[..., None, None]
    return ((right * x[:, None, :] + down * y[:, :, None] + ahead) / length).flatten(2)


def _meet(shape: str, chosen: Int[Tensor, " solid"], solids: Solids, rays: tuple[Tensor, Tensor], met: Met) -> None:
    """Let rays meet solids of one shape; what is nearer than what was met before takes its place."""
    origins, directions = rays
    mine, scene = [solids.primitives[i] for i in chosen.tolist()], solids.scene[chosen]
    o = origins[scene] - torch.tensor([solid.placed.translation for solid in mine])
    row, ray, start = _close(o, directions[:, scene], torch.tensor([reach(shape, solid.size) for solid in mine]))
    d = directions[:, scene[row], ray]
    # From the point closest to the middle on, so that rounding is that of the solid's size and not of the way to it.
    local = o[row].t() + start * d
    way, normal = MEETINGS[shape](local.unbind(0), d.unbind(0), torch.tensor([s.size for s in mine])[row].unbind(-1))
    index, way = scene[row] * directions.shape[2] + ray, start + way
    nearer = way < met.way[index]
    index = index[nearer]
    met.way[index], met.owner[index] = way[nearer], chosen[row[nearer]]
    met.normal[:, index] = torch.stack(normal)[:, nearer]


def _close(o: Tensor, d: Float[Tensor, "3 solid ray"], far: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of solids and rays that come closer than `far` to their middles, and how far along that is."""
    along = -(o[:, 0, None] * d[0] + o[:, 1, None] * d[1] + o[:, 2, None] * d[2])
    row, ray = (along * along > (o * o).sum(-1, keepdim=True) - (far * far)[:, None]).nonzero(as_tuple=True)
    return row, ray, along[row, ray]


def _shaded(
    solids: Solids, light: Light, owner: Int[Tensor, " point"], hits: tuple[Tensor, Tensor, Tensor]
) -> Float[Tensor, "point 3"]:
    at, normal, direction = hits
    textures = [solid.texture for solid in solids.primitives]
    colour = torch.cat([_plain(texture) for texture in textures])[owner]
    patterned = torch.tensor([texture.pattern != "solid" for texture in textures])
    _paint(colour, at, solids, owner, patterned)
    gloss = at.new_tensor([texture.gloss for texture in textures])[owner]
    shininess = at.new_tensor([texture.shininess for texture in textures])[owner]
    full = torch.ones_like(gloss)
    return shade(ShadingInputs(colour, normal, direction, full, full, gloss, shininess), light)


def _paint(colour: Tensor, at: Tensor, solids: Solids, owner: Tensor, patterned: Bool[Tensor, " solid"]) -> None:
    """Put the patterns of solids that have one into their points' colours."""
    some = patterned[owner].nonzero()[:, 0]
    theirs = owner[some]
    for index in patterned.nonzero()[:, 0].tolist():
        solid, here = solids.primitives[index], some[theirs == index]
        colour[here] = albedo(solid.texture, at[here] - at.new_tensor(solid.placed.translation))


@lru_cache(maxsize=64)
def _plain(texture: Finish) -> Float[Tensor, "1 3"]:
    return albedo(texture, torch.zeros(1, 3))
