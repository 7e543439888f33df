"""The matrix's files: how volkit writes each from plain sources, in which axes, and what its bits may cost."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from truth import LEVEL, SplatTruth, coloured, splats, textured

__all__ = ["FILES", "File", "make_files"]

# Axes that a format demands of splats that came from a .ply (right, down, front); docs/formats.md states them.
AS_IS, GLTF = np.eye(3), np.diag([-1.0, -1.0, 1.0])
BYTES = {"colours": 0.01, "opacities": 0.005}  # two steps of 1/255; colours reach 8 bits past [0, 1] in some
PATIENCE = 900  # seconds


@dataclass(frozen=True)
class File:
    """One file.

    Attributes:
        name: of the column.
        file: its name in the folder.
        source: `splats`, `globe`, `coloured`: what it is made from.
        options: of `volkit convert`.
        frame: of the file, from that of the source.
        limits: largest errors of a faithful reader, by what is compared, where the format keeps less than float32.
    """

    name: str
    file: str
    source: str
    options: tuple[str, ...] = ()
    frame: np.ndarray = field(default_factory=lambda: np.eye(3))
    limits: dict[str, float] = field(default_factory=dict)


def _splats(name: str, file: str, frame: np.ndarray = AS_IS, **limits: float) -> File:
    return File(name, file, "splats", frame=frame, limits={"positions": 1e-5, **limits})


def _mesh(name: str, file: str, source: str = "globe", options: str = "", up: str = "yup", **limits: float) -> File:
    # two steps of 1/255, one of the map and one of where it is looked up
    return File(name, file, source, tuple(options.split()), LEVEL[up], {"colours": 0.012, **limits})


FILES = (
    _splats("splats.ply", "splats.ply"),
    # ten or eleven bits of a chunk, bytes for the rest; harmonics in [-4, 4] by bytes
    _splats("compressed.ply", "splats.compressed.ply", positions=1e-3, shapes=0.05, harmonics=0.02, **BYTES),
    # 1/4096 of positions, log scales in sixteenths, three bytes a turn, five or four bits of harmonics
    # the file is (x, -y, -z), which a program that shows a .ply as it is has to turn back
    _splats("spz", "splats.spz", positions=1e-4, shapes=0.15, harmonics=0.07, **BYTES),
    # tables of 256 scales and colours, a palette of harmonics
    _splats("sog", "splats.sog", positions=1e-3, shapes=0.15, harmonics=0.1, colours=0.05, opacities=0.005),
    _splats("splat", "splats.splat", shapes=0.05, **BYTES),
    _splats("ksplat", "splats.ksplat", positions=1e-4, shapes=0.01, harmonics=0.001, **BYTES),
    _splats("splats.glb", "splats.glb", GLTF),
    _splats("splats.usdc", "splats.usdc", GLTF),
    _mesh("globe.glb", "globe.glb"),
    _mesh("globe.gltf", "globe.gltf"),
    _mesh("draco", "globe_draco.glb", options="--draco", positions=1e-4),
    _mesh("quantized", "globe_quantized.glb", options="--quantize", positions=5e-5),
    _mesh("webp", "globe_webp.glb", options="--texture-format webp", colours=0.05),
    _mesh("coloured.glb", "coloured.glb", "coloured"),
    _mesh("globe.obj", "globe.obj"),
    _mesh("coloured.ply", "coloured.ply", "coloured", up="zup"),
    _mesh("globe.stl", "globe.stl", up="zup"),
    _mesh("usdz", "globe.usdz"),
    _mesh("usdc", "globe.usdc"),
    # a surface of its own: vertices between the true ones, colours baked anew
    _mesh("asset", "asset.glb", options="--lods 3 --collider hulls --maps normal --lightmap --faces 1600 --cells 24 "
          "--texture 128", positions=0.08, colours=0.15, faces=1600),
)  # fmt: skip


def make_files(folder: Path) -> dict[str, object]:
    """Write what is not there; the truths by the names of the sources."""
    folder.mkdir(parents=True, exist_ok=True)
    truths = {"splats": splats(), "globe": textured(), "coloured": coloured()}
    for name, truth in truths.items():
        source = folder / f"source_{name}.{'ply' if isinstance(truth, SplatTruth) else 'glb'}"
        (truth.write_ply if isinstance(truth, SplatTruth) else truth.write_glb)(source)
        for wanted in FILES:
            if wanted.source == name and not (folder / wanted.file).exists():
                command = [sys.executable, "-m", "volkit.cli", "convert", source, folder / wanted.file, *wanted.options,
                           "--no-measure", "--json"]  # fmt: skip
                done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=PATIENCE)
                if done.returncode:
                    raise RuntimeError(f"{wanted.file}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return truths
