"""What readers of splats end with, and writers begin with: columns before activation, in the file's frame."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from volkit.files.errors import FormatError
from volkit.files.provenance import about_scene, frame_in
from volkit.geometry import Domain, Frame, Similarity, morton_codes, sh_count, turn
from volkit.representations.representation import Placement
from volkit.representations.splat_extent import core
from volkit.representations.splats import Splats, SplatsConfig
from volkit.typing import Float, Int, Tensor

__all__ = [
    "check_count",
    "columns_for",
    "joined",
    "log_of_scales",
    "logits_of",
    "morton_order",
    "splats_in",
    "splats_of",
]

# The log of a surfel's third scale, where a file needs one; findings/splat_transform_flat_scales.sh has why no smaller.
FLAT_LOG_SCALE = -20.0
MIN_SCALE = 1e-30  # of a scale: 0 has no logarithm
LOGIT_MARGIN = 1e-7  # from 0 and 1, where an opacity has no logit
FINEST_CELLS = (1 << 21) - 1  # cells a side


def splats_of(
    columns: Mapping[str, Tensor],
    place: Similarity | None = None,
    *,
    mip: bool = False,
    extras: tuple[str, ...] = (),
    provenance: Mapping[str, Any],
    frame: Frame | None = None,
) -> Splats:
    """Splats of a file's columns; the degree is that of `sh_rest` [splat, basis, 3], two scales make surfels.

    `frame` is the world's; by default the one that the provenance names, else -Y up, as captures have it.
    """
    degree = math.isqrt(columns["sh_rest"].shape[1] + 1) - 1
    splats = Splats(SplatsConfig(0, degree, mip, extras=extras), Domain.cube(1.0), torch.Generator())
    splats.replaced(dict(columns), copied=False)
    placement = Placement(place or Similarity(), frame or frame_in(provenance, "frame", "ydown"))
    return splats.view(domain=core(splats), placement=placement, provenance=about_scene(provenance))


def splats_in(
    found: Sequence[tuple[Mapping[str, Tensor], Similarity]], zup_from_file: Similarity, provenance: Mapping[str, Any]
) -> Splats:
    """Splats of a file's parts and their places: of one part in its own frame, of several in the file's.

    The world is as it was when they were written, where the provenance says so, else -Y up.
    """
    world = frame_in(provenance, "world", "ydown")
    world_from_file = turn(world, "zup") @ zup_from_file
    if len(found) == 1:
        columns, place = found[0]
        return splats_of(columns, world_from_file @ place, provenance=provenance, frame=world)
    moved = [splats_of(columns, place, provenance={}).columns_in() for columns, place in found]
    return splats_of(joined(moved), world_from_file, provenance=provenance, frame=world)


def joined(found: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """One table of several; harmonics of lower degrees are filled up by zeros."""
    basis = max(columns["sh_rest"].shape[1] for columns in found)
    even = [
        {**columns, "sh_rest": torch.nn.functional.pad(rest, (0, 0, 0, basis - rest.shape[1]))}
        for columns, rest in ((columns, columns["sh_rest"]) for columns in found)
    ]
    return {name: torch.cat([columns[name] for columns in even]) for name in even[0]}


def log_of_scales(scales: Float[Tensor, "splat axis"]) -> Float[Tensor, "splat axis"]:
    """Finite logarithms."""
    return scales.clamp_min(MIN_SCALE).log()


def logits_of(opacities: Float[Tensor, " splat"]) -> Float[Tensor, " splat"]:
    """Finite logits."""
    return torch.logit(opacities.double().clamp(LOGIT_MARGIN, 1 - LOGIT_MARGIN)).float()


def columns_for(
    representation: Splats, path: Path, degree: int, file_from_world: Similarity | None = None
) -> dict[str, Tensor]:
    """The columns in the file's frame, with three scales and harmonics up to a degree; finite, or a FormatError."""
    columns = {name: column.cpu() for name, column in representation.columns_in(file_from_world).items()}
    # A sum is finite where all values are, but for overflow; to look at each costs ten times as much.
    whole = all(math.isfinite(float(column.sum())) for column in columns.values())
    if not whole and (count := int(representation.bad.sum())):
        raise FormatError(path, f"cannot hold values that are not finite, as {count} splats have", "drop them")
    if representation.config.surfels:
        columns["log_scales"] = torch.nn.functional.pad(columns["log_scales"], (0, 1), value=FLAT_LOG_SCALE)
    columns["sh_rest"] = columns["sh_rest"][:, : sh_count(degree) - 1]
    return columns


def morton_order(positions: Float[Tensor, "splat 3"]) -> Int[Tensor, " splat"]:
    """Splats so that neighbours in the file are neighbours in space."""
    low, high = positions.aminmax(dim=0)
    unit = (positions - low).double() / (high - low).double().clamp_min(1e-30)
    return morton_codes((unit * FINEST_CELLS).long()).argsort()


def check_count(path: Path, count: int, held: int, each: float = 1.0) -> None:
    """FormatError where a header promises more splats than so many bytes can hold at `each` bytes a splat."""
    if not 0 < count <= held / each:
        raise FormatError(path, f"promises {count} splats in {held} bytes", "copy or write it again")
