"""What readers of splats end with, and writers begin with: columns before activation, in the file's frame."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from volkit.geometry import Domain, Similarity, morton_codes, sh_count
from volkit.io.format import FormatError
from volkit.representations.representation import Representation
from volkit.representations.splat_extent import core
from volkit.representations.splats import Splats, SplatsConfig
from volkit.typing import Float, Int, Tensor

__all__ = ["check_count", "columns_for", "morton_order", "splats_of"]

FLAT = -20.0  # log of a surfel's third scale, where a file needs one; splat-transform reads and writes no smaller ones
FINEST = (1 << 21) - 1  # cells a side


def splats_of(
    columns: Mapping[str, Tensor],
    place: Similarity | None = None,
    *,
    mip: bool = False,
    extras: tuple[str, ...] = (),
    provenance: Mapping[str, Any],
) -> Splats:
    """Splats of a file's columns; the degree is that of `sh_rest` [splat, basis, 3], two scales make surfels."""
    degree = math.isqrt(columns["sh_rest"].shape[1] + 1) - 1
    splats = Splats(SplatsConfig(0, degree, mip, extras=extras), Domain.cube(1.0), torch.Generator())
    splats.replaced(dict(columns))
    splats.world_from_local = place or Similarity()
    splats.domain = core(splats)
    splats.provenance = provenance
    return splats


def columns_for(
    representation: Representation, path: Path, degree: int, file_from_world: Similarity | None = None
) -> dict[str, Tensor]:
    """The columns in the file's frame, with three scales and harmonics up to a degree; finite, or a FormatError."""
    assert isinstance(representation, Splats)
    columns = {name: column.cpu() for name, column in representation.columns_in(file_from_world).items()}
    # A sum is finite where all values are, but for overflow; to look at each costs ten times as much.
    if not all(math.isfinite(float(column.sum(dtype=torch.float64))) for column in columns.values()):
        count = int(representation.bad.sum())
        raise FormatError(path, f"cannot hold values that are not finite, as {count} splats have", "drop them")
    if representation.config.surfels:
        columns["log_scales"] = torch.nn.functional.pad(columns["log_scales"], (0, 1), value=FLAT)
    columns["sh_rest"] = columns["sh_rest"][:, : sh_count(degree) - 1]
    return columns


def morton_order(positions: Float[Tensor, "splat 3"]) -> Int[Tensor, " splat"]:
    """Splats so that neighbours in the file are neighbours in space."""
    low, high = positions.aminmax(dim=0)
    unit = (positions - low).double() / (high - low).double().clamp_min(1e-30)
    return morton_codes((unit * FINEST).long()).argsort()


def check_count(path: Path, count: int, held: int, each: float = 1.0) -> None:
    """FormatError where a header promises more splats than so many bytes can hold at `each` bytes a splat."""
    if not 0 < count <= held / each:
        raise FormatError(path, f"promises {count} splats in {held} bytes", "copy or write it again")
