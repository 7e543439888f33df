"""What learns from a prior: a representation of the kind that was asked for, as fine as the prior can see."""

import math
from dataclasses import replace

import torch

from volkit.distillation.splats.mcmc import MCMCStrategy
from volkit.generation.camera_sampler import CameraSampler
from volkit.generation.field_particle import UNKNOWN_OCCUPANCY, FieldParticle
from volkit.generation.initialise import initialise
from volkit.generation.particle import Particle
from volkit.generation.penalties import Penalties
from volkit.generation.splat_particle import SplatParticle
from volkit.geometry import Domain
from volkit.guidance.ramps import Ramp, value
from volkit.representations import (
    REPRESENTATIONS,
    TEACHERS_ONLY,
    Field,
    HashGridConfig,
    MlpConfig,
    PlanesConfig,
    RepresentationConfig,
    Splats,
    SplatsConfig,
    TensorCPConfig,
    TensorVMConfig,
    VoxelsConfig,
)

__all__ = ["LEARNABLE", "build_particle", "coarse_first", "pixels_across", "scene_of"]

LEARNABLE = tuple(kind for kind in REPRESENTATIONS if kind not in TEACHERS_ONLY)
COARSEST_CELLS, GROWTH = 4, 1.7  # cells of a hash grid's first level, and from level to level
FINEST_PER_PIXEL = 2.5  # cells of its last level for a pixel
MAX_SPLATS = 20_000
LARGE_PICTURE = 64  # pixels a side
COLOUR_RATE = 3e-2  # of voxels: from grey to any colour within a hundred steps; photographs give them thousands


def pixels_across(around: CameraSampler, domain: Domain) -> float:
    """How many pixels the domain's longest edge is wide in the last pictures, in the middle of the ranges."""
    size = value(around.size, 1.0)
    half_view = math.radians(0.25 * sum(around.field_of_view))
    return max(domain.extent) * 0.5 * size / math.tan(half_view) / (0.5 * sum(around.distance))


def coarse_first(around: CameraSampler) -> CameraSampler:
    """Half of many pixels a side while matter of a field may begin anywhere: until then its rays pass every cell."""
    first = value(around.size, 0.0)
    if first < LARGE_PICTURE:
        return around
    rest = around.size.corners if isinstance(around.size, Ramp) else ()
    corners = (
        (UNKNOWN_OCCUPANCY, first // 2),
        (UNKNOWN_OCCUPANCY, value(around.size, UNKNOWN_OCCUPANCY)),
        *(c for c in rest if c[0] > UNKNOWN_OCCUPANCY),
    )
    return replace(around, size=Ramp(corners))


def _sizes(kind: str, across: float) -> RepresentationConfig:
    """Sizes for an object of so many pixels: no finer than a prior's pictures, and matte where a kind can be.

    A colour that depends on the direction would let every view have an object of its own.
    """
    cells = max(16, round(across))
    fine = cells + cells // 2
    if kind == "hash_grid":
        levels = 1 + max(2, math.ceil(math.log(FINEST_PER_PIXEL * across / COARSEST_CELLS) / math.log(GROWTH)))
        return HashGridConfig(
            levels=levels, features=4, log2_table=15, base_resolution=COARSEST_CELLS, per_level_scale=GROWTH, width=32,
            sh_degree=0, products="float32", lr=2e-2, network_lr=5e-3,
        )  # fmt: skip
    small: dict[str, RepresentationConfig] = {
        "mlp": MlpConfig(layers=3, width=64, skip=0, position_bands=5, view_directions=False),
        "voxels": VoxelsConfig(resolution=fine, start=fine, sh_degree=0, tv_density=0.0, tv_sh=0.0, lr_sh=COLOUR_RATE),
        "tensor_vm": TensorVMConfig(resolution=2 * cells, start=2 * cells, l1=0.0),
        "tensor_cp": TensorCPConfig(resolution=2 * cells, start=2 * cells, l1=0.0),
        "planes": PlanesConfig(resolution=max(16, cells // 2), scales=(1, 2), channels=16, tv=0.0),
        "splats": SplatsConfig(count=1000, degree=0),
    }
    return small[kind]


def scene_of(
    to: str | RepresentationConfig,
    around: CameraSampler,
    half: float,
    generator: torch.Generator,
    most: int = MAX_SPLATS,
) -> Field | Splats:
    """An untrained scene of a kind or a config, on the CPU, in the cube of that half edge; `most` splats.

    ValueError for a kind that cannot learn from a prior.
    """
    domain = Domain.cube(half)
    if isinstance(to, str) and to not in LEARNABLE:
        raise ValueError(f"{to}: there is no such kind to generate; choose one of {', '.join(LEARNABLE)}, mesh")
    config = _sizes(to, pixels_across(around, domain)) if isinstance(to, str) else to
    if isinstance(config, SplatsConfig):
        config = replace(config, count=min(config.count, most))
    scene = config.build(domain, generator)
    assert isinstance(scene, Field | Splats)
    return scene


def build_particle(
    scene: Field | Splats, penalties: Penalties, generator: torch.Generator, most: int = MAX_SPLATS
) -> Particle:
    """An untrained scene as a grey fog that learns, where it is; of splats there will be `most`."""
    initialise(scene, generator)
    if isinstance(scene, Splats):
        return SplatParticle(scene, penalties, MCMCStrategy(most))
    return FieldParticle(scene, penalties, generator)
