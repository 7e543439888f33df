"""Scenes of splats from the columns of a file, and back: the only step of these files that needs torch."""

import numpy as np
import torch

from volkit.geometry import Domain
from volkit.io.splats.columns import COLUMNS, SplatColumns
from volkit.representations.representation import Placement
from volkit.representations.splat_extent import core_box
from volkit.representations.splats import Splats, SplatsConfig
from volkit.typing import Tensor

__all__ = ["columns_from_splats", "splats_from_columns"]


def splats_from_columns(columns: SplatColumns) -> Splats:
    """A scene that takes over the memory of the columns; its domain is the box around all but outliers."""
    config = SplatsConfig(0, columns.degree, columns.mip, extras=tuple(columns.extras))
    splats = Splats(config, Domain.cube(1.0), torch.Generator())
    splats.replace_columns({name: _tensor(column) for name, column in columns.columns.items()}, copied=False)
    for name, values in columns.extras.items():
        splats.register_buffer(f"extra_{name}", _tensor(values))
    placement = Placement(columns.world_from_local, columns.frame)
    return splats.view(domain=core_box(splats), placement=placement, provenance=columns.provenance)


def columns_from_splats(splats: Splats) -> SplatColumns:
    """The columns of a scene; on the CPU they share its memory, so do not modify them."""
    columns = {name: getattr(splats, name).detach().float().cpu().numpy() for name in COLUMNS}
    extras = {name: getattr(splats, f"extra_{name}").cpu().numpy() for name in splats.config.extras}
    return SplatColumns(
        **columns,
        mip=splats.config.mip,
        extras=extras,
        world_from_local=splats.world_from_local,
        frame=splats.frame,
        provenance=splats.provenance,
    )


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values if values.flags.writeable and values.flags.c_contiguous else values.copy())
