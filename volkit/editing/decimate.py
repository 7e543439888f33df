"""Decimation of splats: those that contribute least are removed, similar neighbours are merged."""

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

CONTRIBUTION_VIEWS, CONTRIBUTION_SIZE = 24, 200  # pictures that measure contributions, and pixels a side
MAX_COVERED_TILES = 5e7  # of all pictures together: seconds, where each of many splats fills the pictures
TILE_PIXELS = 16.0  # pixels

JOINED_EXCESS = 1.25  # times as many as wanted are joined, the rest left out: up to 1.7 dB over leaving out alone
CURVE_CELLS = 1 << 10  # of the curve along which neighbours are sought, a side
MAX_JOINED_SHARE = 0.2  # of the splats, at most, that a round joins: later rounds see what earlier ones made
COLOUR_WEIGHT = 8.0  # what a squared difference of colour costs beside one of place in standard deviations
MAX_MERGED_OPACITY = 0.99


@dataclass(frozen=True)
class Decimate(Action):
    """Reduce splats to a share or a number of them, by their contribution to pictures (`thin_splats`).

    Pictures are taken from the scene's capture, else from cameras around it. Further columns of a file are dropped:
    they may be labels, and merged splats have no common one.

    Attributes:
        wanted: a share up to 1, or a whole number of splats.

    Raises:
        ValueError: it is neither.
    """

    wanted: float
    keeps_appearance = True

    def __post_init__(self) -> None:
        if not self.wanted > 0.0 or (self.wanted > 1.0 and self.wanted != int(self.wanted)):
            raise ValueError("give a share above 0 and up to 1, or a whole count")

    def change(self, scene: Representation, generator: torch.Generator) -> Representation:
        """Fewer splats."""
        assert isinstance(scene, Splats)
        max_splats = max(1, round(self.wanted * len(scene))) if self.wanted <= 1.0 else int(self.wanted)
        if max_splats >= len(scene):
            return scene
        scene = scene.view()
        for name in scene.config.extras:
            delattr(scene, f"extra_{name}")
        scene.config = replace(scene.config, extras=())
        cameras = distillation_cameras(scene, CONTRIBUTION_VIEWS, CONTRIBUTION_SIZE, generator)
        cameras = cameras[torch.randperm(len(cameras), generator=generator)[:CONTRIBUTION_VIEWS]].to(scene.device)
        thin_splats(scene, contributions(scene, cameras), max_splats, on_device(generator, scene.device))
        return scene


def contributions(splats: Splats, cameras: Cameras) -> Float[Tensor, " splat"]:
    """The contribution of each splat to pictures, `sum over pixels and cameras of T alpha`.

    It is the gradient of the pictures' sum with respect to a channel of ones. Splats that contribute little are removed
    first (LightGaussian, Fan et al. 2024, without its volume term). Cameras that would take too long are left out.
    """
    light, tiles = torch.zeros(len(splats), 1, device=splats.device), 0.0
    for index in range(len(cameras)):
        pinhole = cameras[[index]] if cameras.lens == PINHOLE else lens_map(cameras, index).camera
        view = splat_view(splats, pinhole, 0)
        with torch.no_grad():
            projected = project(*splats.columns, view=view)
        one = torch.ones_like(light).requires_grad_()
        blended = blend(
            projected.means, projected.shapes, projected.opacities, projected.depths, one, projected.extents, view.size
        )
        (light_gained,) = torch.autograd.grad(blended.channels.sum(), one)
        light += light_gained
        wide = (2.0 * projected.extents / TILE_PIXELS).minimum(projected.extents.new_tensor(view.size) / TILE_PIXELS)
        tiles += float((wide + 1.0).prod(-1)[projected.extents[:, 0] > 0].sum())
        if tiles > MAX_COVERED_TILES:
            break
    return light[:, 0]


@torch.no_grad()
def thin_splats(splats: Splats, light: Float[Tensor, " splat"], max_splats: int, generator: torch.Generator) -> None:
    """Remove and merge splats, in place, until there are at most `max_splats`; `light` are their `contributions`.

    Merged pairs are neighbours on a Morton curve, which is shifted at random in each round; the cheapest go first, by
    `l_a l_b / (l_a + l_b) (|m_a - m_b|^2 / s^2 + 8 |c_a - c_b|^2)`. The merged splat has the light-weighted mean,
    covariance (with the spread of the means) and harmonics of both, and their opacity by area.
    """
    if len(splats) > max_splats:
        strongest = light.topk(min(len(splats), math.ceil(JOINED_EXCESS * max_splats))).indices
        splats.keep(strongest)
        light = light[strongest]
    while len(splats) > max_splats:
        first, second = _cheapest_pairs(
            splats, light, min(len(splats) - max_splats, int(MAX_JOINED_SHARE * len(splats)) + 1), generator
        )
        columns, total = _join(splats, light, first, second), light[first] + light[second]
        rest = torch.ones(len(splats), dtype=torch.bool, device=light.device)
        rest[first] = rest[second] = False
        splats.replace_columns({name: torch.cat([getattr(splats, name)[rest], columns[name]]) for name in PARAMETERS})
        light = torch.cat([light[rest], total])


def _cheapest_pairs(
    splats: Splats, light: Tensor, max_splats: int, generator: torch.Generator
) -> tuple[Int[Tensor, " pair"], Int[Tensor, " pair"]]:
    """The cheapest pairs that share no splat."""
    means = splats.means
    low, edge = means.amin(0), (means.amax(0) - means.amin(0)).clamp_min(1e-12)
    shift = torch.rand(3, generator=generator, device=means.device)
    cells = ((means - low) / edge * 0.5 + 0.5 * shift) * (CURVE_CELLS - 1)
    order = morton_codes(cells.long()).argsort(stable=True)
    a, b = order[:-1], order[1:]
    size = splats.scales.square().mean(-1)
    offsets = (means[a] - means[b]).square().sum(-1) / (size[a] + size[b])
    colour = (splats.sh_dc[a] - splats.sh_dc[b]).square().sum((1, 2))
    weight = light[a] * light[b] / (light[a] + light[b]).clamp_min(1e-12)
    cost = weight * (offsets + COLOUR_WEIGHT * colour)
    padded = torch.nn.functional.pad(cost, (1, 1), value=torch.inf)
    lowest = (cost < padded[:-2]) & (cost <= padded[2:])  # cheaper than the pairs that share a splat with it
    chosen = lowest.nonzero()[:, 0]
    chosen = chosen[cost[chosen].argsort(stable=True)[:max_splats]]
    return a[chosen], b[chosen]


def _join(splats: Splats, light: Tensor, first: Tensor, second: Tensor) -> dict[str, Tensor]:
    share = (light[first] / (light[first] + light[second]).clamp_min(1e-12)).clamp(0.0, 1.0)

    def mean(column: Tensor) -> Tensor:
        return torch.lerp(column[second], column[first], share.view(-1, *[1] * (column.dim() - 1)))

    covariance = mean(splats.axes @ splats.axes.mT)
    offsets = splats.means[first] - splats.means[second]
    covariance = covariance + (share * (1.0 - share))[:, None, None] * offsets[:, :, None] * offsets[:, None]
    spread, turn = (t.roll(-1, -1) for t in torch.linalg.eigh(covariance.double()))  # the shortest axis last
    turn = turn * turn.det().sign()[:, None, None]
    axes = splats.log_scales.shape[1]
    scales = spread[:, :axes].clamp_min(1e-20).sqrt()
    area = splats.scales.double().prod(-1).pow(2 / axes) * splats.opacities
    opacity = (area[first] + area[second]) / scales.prod(-1).pow(2 / axes)
    return {
        "means": mean(splats.means),
        "quaternions": quaternion_of(turn).to(light),
        "log_scales": scales.log().to(light),
        "logits": opacity.clamp(1e-4, MAX_MERGED_OPACITY).logit().to(light),
        "sh_dc": mean(splats.sh_dc),
        "sh_rest": mean(splats.sh_rest),
    }
