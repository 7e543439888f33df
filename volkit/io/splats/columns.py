"""Splats from the columns of a file, and back: values before activation, in the file's frame."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from volkit.files.errors import FormatError
from volkit.files.provenance import frame_from_record, without_frames
from volkit.geometry import Domain, Frame, Similarity, morton_codes, sh_count, turn
from volkit.representations.representation import Placement, Representation
from volkit.representations.splat_extent import core
from volkit.representations.splats import Splats, SplatsConfig
from volkit.typing import Float, Int, Tensor

__all__ = [
    "check_count",
    "columns_to_write",
    "concatenate_columns",
    "map_blocks",
    "merge_splats",
    "morton_order",
    "read_columns_in_blocks",
    "safe_log",
    "safe_logit",
    "splats_from_columns",
]


# The third log scale of a surfel where a file needs one; findings/splat_transform_flat_scales.sh says why no smaller.
FLAT_LOG_SCALE = -20.0
MIN_SCALE = 1e-30  # so that the logarithm is finite
LOGIT_MARGIN = 1e-7  # from 0 and 1, so that the logit is finite
MORTON_CELLS = (1 << 21) - 1  # per axis: 21 bits

BLOCK_SPLATS = 1 << 14  # processed at a time: their columns stay in the cache
MAX_WAITING_BLOCKS = 4  # finished blocks per thread that wait to be taken

Block = TypeVar("Block")


def splats_from_columns(
    columns: Mapping[str, Tensor],
    place: Similarity | None = None,
    *,
    mip: bool = False,
    extras: tuple[str, ...] = (),
    provenance: Mapping[str, Any],
    frame: Frame | None = None,
) -> Splats:
    """Splats of a file's columns; `sh_rest` [splat, basis, 3] gives the degree, two scales make surfels.

    `place` is world_from_file. `frame` is the world frame, by default the one that the provenance names, else -Y up, as
    in captures.
    """
    degree = math.isqrt(columns["sh_rest"].shape[1] + 1) - 1
    splats = Splats(SplatsConfig(0, degree, mip, extras=extras), Domain.cube(1.0), torch.Generator())
    splats.replaced(dict(columns), copied=False)
    placement = Placement(place or Similarity(), frame or frame_from_record(provenance, "frame", "ydown"))
    return splats.view(domain=core(splats), placement=placement, provenance=without_frames(provenance))


def merge_splats(
    parts: Sequence[tuple[Mapping[str, Tensor], Similarity]], zup_from_file: Similarity, provenance: Mapping[str, Any]
) -> Splats:
    """Splats of a file's parts, each with its transform: a single part keeps its own frame, several get the file's.

    The world frame is the one that the provenance names, else -Y up.
    """
    world = frame_from_record(provenance, "world", "ydown")
    world_from_file = turn(world, "zup") @ zup_from_file
    if len(parts) == 1:
        columns, place = parts[0]
        return splats_from_columns(columns, world_from_file @ place, provenance=provenance, frame=world)
    moved = [splats_from_columns(columns, place, provenance={}).columns_in() for columns, place in parts]
    return splats_from_columns(concatenate_columns(moved), world_from_file, provenance=provenance, frame=world)


def concatenate_columns(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Concatenate tables of columns; harmonics of lower degrees are padded with zeros."""
    basis = max(columns["sh_rest"].shape[1] for columns in parts)
    padded = [
        {**columns, "sh_rest": torch.nn.functional.pad(rest, (0, 0, 0, basis - rest.shape[1]))}
        for columns, rest in ((columns, columns["sh_rest"]) for columns in parts)
    ]
    return {name: torch.cat([columns[name] for columns in padded]) for name in padded[0]}


def safe_log(scales: Float[Tensor, "splat axis"]) -> Float[Tensor, "splat axis"]:
    """Logarithms of scales, finite also for 0."""
    return scales.clamp_min(MIN_SCALE).log()


def safe_logit(opacities: Float[Tensor, " splat"]) -> Float[Tensor, " splat"]:
    """Logits of opacities, finite also for 0 and 1."""
    return torch.logit(opacities.double().clamp(LOGIT_MARGIN, 1 - LOGIT_MARGIN)).float()


def columns_to_write(
    representation: Representation, path: Path, degree: int, file_from_world: Similarity | None = None
) -> dict[str, Tensor]:
    """The columns in the file's frame, with three scales and harmonics up to `degree`; FormatError if not finite."""
    assert isinstance(representation, Splats)
    columns = {name: column.cpu() for name, column in representation.columns_in(file_from_world).items()}
    # A sum is finite where all values are, unless it overflows; checking each value costs ten times as much.
    whole = all(math.isfinite(float(column.sum())) for column in columns.values())
    if not whole and (count := int(representation.bad.sum())):
        raise FormatError(path, f"cannot hold the values of {count} splats, which are not finite", "drop them")
    if representation.config.surfels:
        columns["log_scales"] = torch.nn.functional.pad(columns["log_scales"], (0, 1), value=FLAT_LOG_SCALE)
    columns["sh_rest"] = columns["sh_rest"][:, : sh_count(degree) - 1]
    return columns


def morton_order(positions: Float[Tensor, "splat 3"]) -> Int[Tensor, " splat"]:
    """The order along a Morton curve: neighbours in the file are neighbours in space."""
    low, high = positions.aminmax(dim=0)
    unit = (positions - low).double() / (high - low).double().clamp_min(1e-30)
    return morton_codes((unit * MORTON_CELLS).long()).argsort()


def check_count(path: Path, count: int, held: int, each: float = 1.0) -> None:
    """Raise FormatError where a header claims more splats than `held` bytes can store at `each` bytes per splat."""
    if not 0 < count <= held / each:
        raise FormatError(path, f"claims {count} splats in {held} bytes", "copy or write it again")


def map_blocks(count: int, make: Callable[[slice], Block]) -> Iterator[Block]:
    """Yield `make(rows)` for each block of rows in order; blocks run in threads."""
    threads = torch.get_num_threads()
    waiting = deque()
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, count, BLOCK_SPLATS):
            waiting.append(pool.submit(make, slice(start, min(start + BLOCK_SPLATS, count))))
            if len(waiting) > MAX_WAITING_BLOCKS * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def read_columns_in_blocks(count: int, make: Callable[[slice], Mapping[str, np.ndarray]]) -> dict[str, Tensor]:
    """All columns, read block by block: `make(rows)` returns the columns of a block."""
    few = make(slice(0, min(count, 1)))
    whole = {name: np.empty((count, *part.shape[1:]), part.dtype) for name, part in few.items()}

    def fill(rows: slice) -> None:
        for name, part in make(rows).items():
            whole[name][rows] = part

    deque(map_blocks(count, fill), maxlen=0)
    return {name: torch.from_numpy(values) for name, values in whole.items()}
