"""A mesh made and written."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from volkit.geometry import Frame, Similarity
from volkit.io import check_target
from volkit.io.meshes.asset import Asset
from volkit.io.meshes.writer import check_style, write_asset
from volkit.meshing.options import MeshOptions
from volkit.meshing.pipeline import build_asset, move_to_ground, passthrough
from volkit.progress import Progress
from volkit.representations import Mesh, Representation

__all__ = ["extract"]


def extract(
    scene: Representation,
    sources: Sequence[Path],
    target: Path,
    options: MeshOptions,
    size: int | None,
    generator: torch.Generator,
    progress: Progress,
    frame: Frame | None = None,
) -> tuple[dict[str, Any], Asset, Similarity]:
    """What was told of the asset, the asset where its source is, and the world that it was written in from that one.

    A mesh whose surface and texture no option changes is written as it is. `size` is that of pictures asked for,
    `frame` that of the file, by default its format's.
    """
    style = replace(options.style, frame=frame)
    check_target(target, "mesh")
    check_style(target, style)
    if options.engine == "godot" and options.lods > 1:
        progress.note("Godot makes levels of detail by itself when it imports: it reads the finest alone")
    progress.seconds.clear()  # of an earlier job
    started = time.perf_counter()
    if isinstance(scene, Mesh) and not options.remakes:
        asset, found = passthrough(scene, options, progress)
    else:
        asset, found = build_asset(scene, options, size, generator, progress)
    placed = move_to_ground(asset) if options.pivot == "ground" else asset
    extras = {"source": [s.name for s in sources], "kind": scene.config.kind}
    write_asset(replace(placed, extras=extras), target, style)
    told = {"seconds": round(time.perf_counter() - started, 2), "stages": progress.seconds}
    moved = placed.levels[0].world_from_local @ asset.levels[0].world_from_local.inverse()
    return told | found, asset, moved
