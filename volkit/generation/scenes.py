"""Untrained scenes for a prior: of a kind or a config, as fine as the prior's pictures, initialised as fog."""

import math
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import torch

from volkit.choices import ParameterError
from volkit.distillation.splat_start import initialise_splats
from volkit.distillation.strategies import MCMCStrategy, Strategy
from volkit.generation.camera_sampler import CameraSampler
from volkit.generation.field_particle import UNKNOWN_OCCUPANCY, FieldParticle
from volkit.generation.particle import Particle
from volkit.generation.penalties import Penalties
from volkit.generation.splat_particle import SplatParticle
from volkit.geometry import Domain
from volkit.guidance.ramps import Ramp, value
from volkit.ops.param_group import ParamGroup
from volkit.representations import REPRESENTATIONS, Field, Representation, RepresentationConfig, Splats, SplatsConfig
from volkit.representations.voxels import Voxels
from volkit.training.loop import Budget, ParameterChange, StepInfo, StepLosses, TrainingLoop
from volkit.typing import Float, Tensor

__all__ = [
    "LEARNABLE",
    "build_particle",
    "build_scene",
    "coarse_first",
    "initial_density",
    "initialise",
    "particle_of",
    "pixels_across",
]


FOG_THICKNESS = 2.0  # optical, of a ray through the centre: visible, but not opaque
FOG_WIDTH = 0.2  # standard deviation in longest edges: at a face 4 % of the central density are left
FOG_STEPS, FOG_POINTS = 200, 1 << 13  # of the training of a network to be fog
MIN_RELATIVE_DENSITY = 1e-2  # of the central density: an offset of the logarithm

LEARNABLE = tuple(kind for kind, config in REPRESENTATIONS.items() if config.trainable)
MAX_SPLATS = 20_000
LARGE_PICTURE = 64  # pixels a side


def initial_density(scene: Field, positions: Float[Tensor, "point 3"]) -> Float[Tensor, " point"]:
    """Density of the fog that a scene starts from: `FOG_THICKNESS / (√(2π) s) exp(-|x - centre|² / 2 s²)`.

    Its integral along a line through the centre is `FOG_THICKNESS`.
    """
    width = FOG_WIDTH * max(scene.domain.extent)
    away = (positions - positions.new_tensor(scene.domain.centre)).norm(dim=-1) / width
    return FOG_THICKNESS / (math.sqrt(2.0 * math.pi) * width) * (-0.5 * away.square()).exp()


@singledispatch
def initialise(scene: Representation, generator: torch.Generator) -> None:
    """Initialise an untrained scene as fog: splats are drawn from it, voxels set to it, other fields trained on it."""
    raise TypeError(f"a {type(scene).__name__} cannot learn from a prior: fields, splats and meshes can")


@initialise.register
def _initialise_splats(scene: Splats, generator: torch.Generator) -> None:
    offsets = torch.randn(scene.config.count, 3, generator=generator, device=generator.device)
    middle, width = offsets.new_tensor(scene.domain.centre), FOG_WIDTH * max(scene.domain.extent)
    initialise_splats(scene, middle + width * offsets, torch.full_like(offsets, 0.5), generator)


@initialise.register
@torch.no_grad()
def _initialise_voxels(scene: Voxels, generator: torch.Generator) -> None:
    scene.density_data.copy_(initial_density(scene, scene.centres)[:, None])


@initialise.register
def _initialise_field(scene: Field, generator: torch.Generator) -> None:
    TrainingLoop(_FogTrainee(scene, generator), Budget(steps=FOG_STEPS)).run()


@dataclass
class _FogTrainee:
    """A trainee: log densities at random points of the domain."""

    scene: Field
    generator: torch.Generator

    def losses(self, info: StepInfo) -> StepLosses:
        unit = torch.rand(FOG_POINTS, 3, generator=self.generator, device=self.generator.device)
        positions = self.scene.domain.local_from_unit(unit)
        least_density = MIN_RELATIVE_DENSITY * FOG_THICKNESS / max(self.scene.domain.extent)
        target = (initial_density(self.scene, positions) + least_density).log()
        return StepLosses({"fog": ((self.scene.density(positions) + least_density).log() - target).square().mean()})

    def groups(self) -> list[ParamGroup]:
        return self.scene.param_groups()

    def after_step(self, info: StepInfo, record: None = None) -> list[ParameterChange]:
        return []

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: dict[str, Any]) -> None: ...


def pixels_across(sampler: CameraSampler, domain: Domain) -> float:
    """Width in pixels of the domain's longest edge in the final pictures, at the mean of the camera ranges."""
    size = value(sampler.size, 1.0)
    half_view = math.radians(0.25 * sum(sampler.field_of_view))
    return max(domain.extent) * 0.5 * size / math.tan(half_view) / (0.5 * sum(sampler.distance))


def coarse_first(sampler: CameraSampler) -> CameraSampler:
    """The sampler with half the picture size while matter may appear anywhere: rays then march through every cell."""
    first = value(sampler.size, 0.0)
    if first < LARGE_PICTURE:
        return sampler
    rest = sampler.size.corners if isinstance(sampler.size, Ramp) else ()
    corners = (
        (UNKNOWN_OCCUPANCY, first // 2),
        (UNKNOWN_OCCUPANCY, value(sampler.size, UNKNOWN_OCCUPANCY)),
        *(c for c in rest if c[0] > UNKNOWN_OCCUPANCY),
    )
    return replace(sampler, size=Ramp(corners))


def build_scene(
    to: str | RepresentationConfig,
    sampler: CameraSampler,
    half: float,
    generator: torch.Generator,
    max_splats: int = MAX_SPLATS,
) -> Representation:
    """An untrained scene of a kind or a config, on the CPU, in the cube of that half edge, of at most `max_splats`.

    ValueError for a kind that a prior cannot train.
    """
    domain = Domain.cube(half)
    if isinstance(to, str) and to not in LEARNABLE:
        raise ParameterError(f"{to}: there is no such kind to generate; choose one of {', '.join(LEARNABLE)}, mesh")
    config = REPRESENTATIONS[to].for_prior(pixels_across(sampler, domain)) if isinstance(to, str) else to
    if isinstance(config, SplatsConfig):
        config = replace(config, count=min(config.count, max_splats))
    return config.build(domain, generator)


def build_particle(
    scene: Representation, penalties: Penalties, generator: torch.Generator, max_splats: int = MAX_SPLATS
) -> Particle:
    """A particle of an untrained scene, initialised in place as grey fog; splats grow to `max_splats`."""
    initialise(scene, generator)
    return particle_of(scene, penalties, generator, MCMCStrategy(max_splats))


@singledispatch
def particle_of(
    scene: Representation, penalties: Penalties, generator: torch.Generator, strategy: Strategy, samples: float = 1.5
) -> Particle:
    """A scene as a particle: splats with a `strategy`, a field with `samples` on a ray for a pixel's width."""
    raise TypeError(f"a {type(scene).__name__} cannot learn from a prior: fields, splats and meshes can")


@particle_of.register
def _splat_particle(
    scene: Splats, penalties: Penalties, generator: torch.Generator, strategy: Strategy, samples: float = 1.5
) -> Particle:
    return SplatParticle(scene, penalties, strategy)


@particle_of.register
def _field_particle(
    scene: Field, penalties: Penalties, generator: torch.Generator, strategy: Strategy, samples: float = 1.5
) -> Particle:
    return FieldParticle(scene, penalties, generator, samples)
