"""Fewer splats: those that show least are left out, neighbours that look alike are joined."""

import math
from dataclasses import dataclass, replace

import torch

from volkit.devices import on_device
from volkit.editing.action import Action
from volkit.geometry import Cameras, morton_codes, quaternion_of
from volkit.geometry.lens import PINHOLE
from volkit.ops.splat import blend, project
from volkit.rendering.splatting import splat_view
from volkit.rendering.through_lens import lens_map
from volkit.rendering.viewpoints import distillation_cameras
from volkit.representations import Representation
from volkit.representations.splats import PARAMETERS, Splats
from volkit.typing import Float, Int, Tensor

__all__ = ["Decimate", "contributions", "thin_splats"]

CONTRIBUTION_VIEWS, CONTRIBUTION_SIZE = 24, 200  # pictures that say what each splat shows, and pixels a side
MAX_COVERED_TILES = 5e7  # of all pictures together: seconds, where each of many splats fills the pictures
TILE = 16.0  # pixels

JOINED_EXCESS = 1.25  # times as many as wanted are joined, the rest left out: up to 1.7 dB over leaving out alone
CELLS = 1 << 10  # of the curve along which neighbours are sought, a side
SHARE = 0.2  # of the splats, at most, that a round joins: later rounds see what earlier ones made
COLOUR = 8.0  # what a squared difference of colour costs beside one of place in standard deviations
MAX_MERGED_OPACITY = 0.99


@dataclass(frozen=True)
class Decimate(Action):
    """Thin splats to a share (at most 1) or a count: `thin_splats`, by what each gives to pictures (`contributions`).

    Pictures are those of the scene's own cameras, else of some around it. Further columns of a file are left out: they
    may be labels, and splats that are joined have no common one.
    """

    wanted: float
    keeps_look = True

    def __post_init__(self) -> None:
        if not self.wanted > 0.0 or (self.wanted > 1.0 and self.wanted != int(self.wanted)):
            raise ValueError("give a share above 0 and up to 1, or a whole count")

    def change(self, scene: Representation, generator: torch.Generator) -> Representation:
        """The splats, fewer."""
        assert isinstance(scene, Splats)
        most = max(1, round(self.wanted * len(scene))) if self.wanted <= 1.0 else int(self.wanted)
        if most >= len(scene):
            return scene
        scene = scene.view()
        for name in scene.config.extras:
            delattr(scene, f"extra_{name}")
        scene.config = replace(scene.config, extras=())
        cameras = distillation_cameras(scene, CONTRIBUTION_VIEWS, CONTRIBUTION_SIZE, generator)
        cameras = cameras[torch.randperm(len(cameras), generator=generator)[:CONTRIBUTION_VIEWS]].to(scene.device)
        thin_splats(scene, contributions(scene, cameras), most, on_device(generator, scene.device))
        return scene


def contributions(splats: Splats, cameras: Cameras) -> Float[Tensor, " splat"]:
    """The light that each splat gives to pictures, `sum over pixels and cameras of T alpha`.

    It is the gradient of the pictures' sum with respect to a channel that is one everywhere. What gives little can go
    first (LightGaussian, Fan et al. 2024, without its volume term). Cameras that would take too long are left out.
    """
    light, tiles = torch.zeros(len(splats), 1, device=splats.device), 0.0
    for index in range(len(cameras)):
        straight = cameras[[index]] if cameras.lens == PINHOLE else lens_map(cameras, index).camera
        view = splat_view(splats, straight, 0)
        with torch.no_grad():
            flat = project(*splats.columns, view=view)
        one = torch.ones_like(light).requires_grad_()
        seen = blend(flat.means, flat.shapes, flat.opacities, flat.depths, one, flat.extents, view.size)
        (given,) = torch.autograd.grad(seen.channels.sum(), one)
        light += given
        wide = (2.0 * flat.extents / TILE).minimum(flat.extents.new_tensor(view.size) / TILE)
        tiles += float((wide + 1.0).prod(-1)[flat.extents[:, 0] > 0].sum())
        if tiles > MAX_COVERED_TILES:
            break
    return light[:, 0]


@torch.no_grad()
def thin_splats(splats: Splats, light: Float[Tensor, " splat"], most: int, generator: torch.Generator) -> None:
    """Leave out and join splats until there are at most `most`; `light` is what each gives to pictures.

    Pairs that are joined are neighbours on a Morton curve that starts elsewhere in each round; those that cost least
    go first, `l_a l_b / (l_a + l_b) (|m_a - m_b|^2 / s^2 + 8 |c_a - c_b|^2)`. The joined splat has the light-weighted
    mean, covariance (with the spread of the means) and harmonics of both, and their opacity by area.
    """
    if len(splats) > most:
        kept = light.topk(min(len(splats), math.ceil(JOINED_EXCESS * most))).indices
        splats.kept(kept)
        light = light[kept]
    while len(splats) > most:
        first, second = _pairs(splats, light, min(len(splats) - most, int(SHARE * len(splats)) + 1), generator)
        columns, total = _joined(splats, light, first, second), light[first] + light[second]
        rest = torch.ones(len(splats), dtype=torch.bool, device=light.device)
        rest[first] = rest[second] = False
        splats.replaced({name: torch.cat([getattr(splats, name)[rest], columns[name]]) for name in PARAMETERS})
        light = torch.cat([light[rest], total])


def _pairs(
    splats: Splats, light: Tensor, most: int, generator: torch.Generator
) -> tuple[Int[Tensor, " pair"], Int[Tensor, " pair"]]:
    """The cheapest pairs that share no splat."""
    means = splats.means
    low, edge = means.amin(0), (means.amax(0) - means.amin(0)).clamp_min(1e-12)
    shift = torch.rand(3, generator=generator, device=means.device)
    cells = ((means - low) / edge * 0.5 + 0.5 * shift) * (CELLS - 1)
    order = morton_codes(cells.long()).argsort(stable=True)
    a, b = order[:-1], order[1:]
    size = splats.scales.square().mean(-1)
    apart = (means[a] - means[b]).square().sum(-1) / (size[a] + size[b])
    colour = (splats.sh_dc[a] - splats.sh_dc[b]).square().sum((1, 2))
    weight = light[a] * light[b] / (light[a] + light[b]).clamp_min(1e-12)
    cost = weight * (apart + COLOUR * colour)
    padded = torch.nn.functional.pad(cost, (1, 1), value=torch.inf)
    lowest = (cost < padded[:-2]) & (cost <= padded[2:])  # cheaper than the pairs that share a splat with it
    chosen = lowest.nonzero()[:, 0]
    chosen = chosen[cost[chosen].argsort(stable=True)[:most]]
    return a[chosen], b[chosen]


def _joined(splats: Splats, light: Tensor, first: Tensor, second: Tensor) -> dict[str, Tensor]:
    share = (light[first] / (light[first] + light[second]).clamp_min(1e-12)).clamp(0.0, 1.0)

    def mean(column: Tensor) -> Tensor:
        return torch.lerp(column[second], column[first], share.view(-1, *[1] * (column.dim() - 1)))

    covariance = mean(splats.axes @ splats.axes.mT)
    apart = splats.means[first] - splats.means[second]
    covariance = covariance + (share * (1.0 - share))[:, None, None] * apart[:, :, None] * apart[:, None]
    spread, turn = (t.roll(-1, -1) for t in torch.linalg.eigh(covariance.double()))  # the shortest axis last
    turn = turn * turn.det().sign()[:, None, None]
    axes = splats.log_scales.shape[1]
    scales = spread[:, :axes].clamp_min(1e-20).sqrt()
    area = splats.scales.double().prod(-1).pow(2 / axes) * splats.opacities
    opacity = (area[first] + area[second]) / scales.prod(-1).pow(2 / axes)
    return {
        "means": mean(splats.means), "quaternions": quaternion_of(turn).to(light), "log_scales": scales.log().to(light),
        "logits": opacity.clamp(1e-4, MAX_MERGED_OPACITY).logit().to(light), "sh_dc": mean(splats.sh_dc),
        "sh_rest": mean(splats.sh_rest),
    }  # fmt: skip
