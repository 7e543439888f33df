"""What learns from a prior: a representation of the kind that was asked for, as fine as the prior can see."""

import math
from dataclasses import replace

import torch

from volkit.choices import ParameterError
from volkit.distillation.splats.mcmc import MCMCStrategy
from volkit.generation.camera_sampler import CameraSampler
from volkit.generation.field_particle import UNKNOWN_OCCUPANCY, FieldParticle
from volkit.generation.initialise import initialise
from volkit.generation.particle import Particle
from volkit.generation.penalties import Penalties
from volkit.generation.splat_particle import SplatParticle
from volkit.geometry import Domain
from volkit.guidance.ramps import Ramp, value
from volkit.representations import REPRESENTATIONS, Field, RepresentationConfig, Splats, SplatsConfig

__all__ = ["LEARNABLE", "build_particle", "coarse_first", "pixels_across", "scene_of"]

LEARNABLE = tuple(kind for kind, config in REPRESENTATIONS.items() if config.trainable)
MAX_SPLATS = 20_000
LARGE_PICTURE = 64  # pixels a side


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
        raise ParameterError(f"{to}: there is no such kind to generate; choose one of {', '.join(LEARNABLE)}, mesh")
    config = REPRESENTATIONS[to].for_prior(pixels_across(around, domain)) if isinstance(to, str) else to
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
