"""What learns from a prior: a representation of the kind that was asked for, as fine as the prior can see."""

import math
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import torch

from volkit.choices import ParameterError
from volkit.distillation.splats.mcmc import MCMCStrategy
from volkit.distillation.splats.start import start_splats
from volkit.distillation.splats.strategy import Strategy
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
    "coarse_first",
    "fog",
    "initialise",
    "particle_of",
    "pixels_across",
    "scene_of",
]


THICKNESS = 2.0  # optical, of a ray through the middle: enough to be seen, not enough to hide
WIDTH = 0.2  # standard deviation in longest edges: at a face 4 % of the middle are left
STEPS, POINTS = 200, 1 << 13  # in which a network learns to be fog
MIN_RELATIVE_DENSITY = 1e-2  # of the middle: less than that is nothing

LEARNABLE = tuple(kind for kind, config in REPRESENTATIONS.items() if config.trainable)
MAX_SPLATS = 20_000
LARGE_PICTURE = 64  # pixels a side


def fog(scene: Field, positions: Float[Tensor, "point 3"]) -> Float[Tensor, " point"]:
    """`THICKNESS / (√2π s) exp(-|x - centre|² / 2 s²)`: its integral along a line through the middle is THICKNESS."""
    width = WIDTH * max(scene.domain.extent)
    away = (positions - positions.new_tensor(scene.domain.centre)).norm(dim=-1) / width
    return THICKNESS / (math.sqrt(2.0 * math.pi) * width) * (-0.5 * away.square()).exp()


@singledispatch
def initialise(scene: Representation, generator: torch.Generator) -> None:
    """Make an untrained scene fog: splats lie in it, voxels are filled, all other fields learn it."""
    raise TypeError(f"a {type(scene).__name__} cannot learn from a prior: fields, splats and meshes can")


@initialise.register
def _lay_splats(scene: Splats, generator: torch.Generator) -> None:
    drawn = torch.randn(scene.config.count, 3, generator=generator, device=generator.device)
    middle, width = drawn.new_tensor(scene.domain.centre), WIDTH * max(scene.domain.extent)
    start_splats(scene, middle + width * drawn, torch.full_like(drawn, 0.5), generator)


@initialise.register
@torch.no_grad()
def _fill_voxels(scene: Voxels, generator: torch.Generator) -> None:
    scene.density_data.copy_(fog(scene, scene.centres)[:, None])


@initialise.register
def _learn_fog(scene: Field, generator: torch.Generator) -> None:
    TrainingLoop(_Fog(scene, generator), Budget(steps=STEPS)).run()


@dataclass
class _Fog:
    """A trainee: log densities at random points of the domain."""

    scene: Field
    generator: torch.Generator

    def losses(self, moment: StepInfo) -> StepLosses:
        unit = torch.rand(POINTS, 3, generator=self.generator, device=self.generator.device)
        positions = self.scene.domain.local_from_unit(unit)
        faint = MIN_RELATIVE_DENSITY * THICKNESS / max(self.scene.domain.extent)
        wanted = (fog(self.scene, positions) + faint).log()
        return StepLosses({"fog": ((self.scene.density(positions) + faint).log() - wanted).square().mean()})

    def groups(self) -> list[ParamGroup]:
        return self.scene.param_groups()

    def after_step(self, moment: StepInfo, record: None = None) -> list[ParameterChange]:
        return []

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: dict[str, Any]) -> None: ...


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
) -> Representation:
    """An untrained scene of a kind or a config, on the CPU, in the cube of that half edge; `most` splats.

    ValueError for a kind that cannot learn from a prior.
    """
    domain = Domain.cube(half)
    if isinstance(to, str) and to not in LEARNABLE:
        raise ParameterError(f"{to}: there is no such kind to generate; choose one of {', '.join(LEARNABLE)}, mesh")
    config = REPRESENTATIONS[to].for_prior(pixels_across(around, domain)) if isinstance(to, str) else to
    if isinstance(config, SplatsConfig):
        config = replace(config, count=min(config.count, most))
    return config.build(domain, generator)


def build_particle(
    scene: Representation, penalties: Penalties, generator: torch.Generator, most: int = MAX_SPLATS
) -> Particle:
    """An untrained scene as a grey fog that learns, where it is; of splats there will be `most`."""
    initialise(scene, generator)
    return particle_of(scene, penalties, generator, MCMCStrategy(most))


@singledispatch
def particle_of(
    scene: Representation, penalties: Penalties, generator: torch.Generator, strategy: Strategy, samples: float = 1.5
) -> Particle:
    """What learns of a scene: splats by a `strategy`, a field by `samples` on a ray for a pixel's width."""
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
