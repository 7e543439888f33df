"""Where splats begin that learn from photographs: where the pictures allow something to be, in their colours."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from volkit.distillation.spacing import spacing
from volkit.geometry import Cameras
from volkit.geometry.spherical_harmonics import C0
from volkit.representations.splats import Splats
from volkit.typing import Bool, Float, Tensor, UInt8

__all__ = ["Evidence", "agreeing_places", "photo_evidence", "start_splats"]

MOST_VIEWS = 48  # more of them say little more about where nothing is
CANDIDATES = 12  # for each splat that is wanted
ROUNDS = 4  # of looking up, which bounds memory
SEEN_BY = 3  # views: fewer always agree
MAX_CONTRACTED_DEPTH = 0.95  # of a contracted cube's half width: 10 half boxes away, further nothing can be told apart
OPACITY = 0.1
WIDTH = 0.5  # standard deviation in distances between splats


class Evidence(NamedTuple):
    """What pictures say about points: how many see each, its mean colour, colours' deviation from it, if it may be."""

    views: Float[Tensor, " point"]
    colours: Float[Tensor, "point 3"]
    spread: Float[Tensor, " point"]
    possible: Bool[Tensor, " point"]


@torch.no_grad()
def photo_evidence(
    positions: Float[Tensor, "point 3"],
    cameras: Cameras,
    images: Sequence[UInt8[Tensor, "height width channel"]],
    near: float,
) -> Evidence:
    """Look world-frame points up in pictures, whatever may hide them; what one shows as transparent cannot be."""
    count, sums = torch.zeros_like(positions[:, 0]), torch.zeros(len(positions), 6, device=positions.device)
    possible = torch.ones_like(count, dtype=torch.bool)
    for index in range(0, len(images), max(1, len(images) // MOST_VIEWS)):
        pixels, depth = cameras.project(index, positions)
        inside = ((pixels >= 0) & (pixels < cameras.size[index])).all(-1) & (depth > near) & possible
        rows = inside.nonzero()[:, 0]
        column, row = pixels[rows].long().unbind(-1)
        value = images[index][row.cpu(), column.cpu()].to(positions)
        if value.shape[-1] == 4:
            possible[rows[value[:, 3] == 0]] = False
        colour = value[:, :3] / 255.0
        count[rows] += 1.0
        sums[rows] += torch.cat([colour, colour.square()], 1)
    mean, square = (sums / count.clamp_min(1.0)[:, None]).split(3, 1)
    variance = (square - mean.square()).clamp_min(0.0).sum(1) * count / (count - 1.0).clamp_min(1.0)
    return Evidence(count, mean, variance.sqrt(), possible & (count > 0))


@torch.no_grad()
def agreeing_places(
    splats: Splats, cameras: Cameras, images: Sequence[Tensor], near: float, generator: torch.Generator
) -> tuple[Float[Tensor, "point 3"], Float[Tensor, "point 3"]]:
    """World positions and colours of at most as many points as there are splats, in the visual hull, where views agree.

    Points are drawn all over the domain; those that a picture shows as transparent or that too few show go, and of the
    others those stay that look most alike from everywhere: a surface does, empty space does not.
    """
    found = []
    for _ in range(ROUNDS):
        unit = torch.rand(CANDIDATES * len(splats) // ROUNDS, 3, generator=generator, device=splats.device)
        if splats.domain.contracted:
            unit = 0.5 + MAX_CONTRACTED_DEPTH * (unit - 0.5)
        world = splats.world_from_local.points(splats.domain.local_from_unit(unit))
        said = photo_evidence(world, cameras, images, near)
        kept = (said.possible & (said.views >= min(SEEN_BY, len(images)))).nonzero()[:, 0]
        found.append((world[kept], said.colours[kept], said.spread[kept]))
    world, colours, spread = (torch.cat(part) for part in zip(*found, strict=True))
    best = spread.argsort()[: len(splats)]
    return world[best], colours[best]


@torch.no_grad()
def start_splats(
    splats: Splats, world: Float[Tensor, "point 3"], colours: Float[Tensor, "point 3"], generator: torch.Generator
) -> None:
    """Faint balls, or discs that look anywhere, at points, each as wide as the next are away."""
    means = splats.world_from_local.inverse().points(world)
    widths = WIDTH * spacing(means, splats.domain).clamp_min(1e-6 * splats.domain.diagonal)
    splats.replace_columns({
        "means": means,
        "quaternions": torch.randn(len(means), 4, generator=generator, device=means.device),
        "log_scales": widths.log()[:, None].repeat(1, splats.log_scales.shape[1]),
        "logits": torch.full_like(widths, OPACITY).logit(),
        "sh_dc": ((colours - 0.5) / C0)[:, None],
        "sh_rest": means.new_zeros(len(means), splats.sh_rest.shape[1], 3),
    })  # fmt: skip
