"""What a scene is before it has been told anything: a grey ball of fog that thins out."""

import math
from dataclasses import dataclass
from typing import Any

import torch

from volkit.distillation.splats.start import start_splats
from volkit.ops.param_group import ParamGroup
from volkit.representations.field import Field
from volkit.representations.splats import Splats
from volkit.representations.voxels import Voxels
from volkit.training.loop import Budget, ParameterChange, StepInfo, StepLosses, TrainingLoop
from volkit.typing import Float, Tensor

__all__ = ["fog", "initialise"]

THICKNESS = 2.0  # optical, of a ray through the middle: enough to be seen, not enough to hide
WIDTH = 0.2  # standard deviation in longest edges: at a face 4 % of the middle are left
STEPS, POINTS = 200, 1 << 13  # in which a network learns to be fog
MIN_RELATIVE_DENSITY = 1e-2  # of the middle: less than that is nothing


def fog(scene: Field, positions: Float[Tensor, "point 3"]) -> Float[Tensor, " point"]:
    """`THICKNESS / (√2π s) exp(-|x - centre|² / 2 s²)`: its integral along a line through the middle is THICKNESS."""
    width = WIDTH * max(scene.domain.extent)
    away = (positions - positions.new_tensor(scene.domain.centre)).norm(dim=-1) / width
    return THICKNESS / (math.sqrt(2.0 * math.pi) * width) * (-0.5 * away.square()).exp()


def initialise(scene: Field | Splats, generator: torch.Generator) -> None:
    """Make an untrained scene fog: splats lie in it, voxels are filled, all other fields learn it."""
    if isinstance(scene, Splats):
        drawn = torch.randn(scene.config.count, 3, generator=generator, device=generator.device)
        middle, width = drawn.new_tensor(scene.domain.centre), WIDTH * max(scene.domain.extent)
        start_splats(scene, middle + width * drawn, torch.full_like(drawn, 0.5), generator)
    elif isinstance(scene, Voxels):
        with torch.no_grad():
            scene.density_data.copy_(fog(scene, scene.centres)[:, None])
    else:
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
