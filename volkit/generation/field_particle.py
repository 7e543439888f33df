"""Fields trained by a prior: all rays of a step's pictures at once, on samples less than a pixel apart."""

from typing import Any

import torch

from volkit.distillation.field_training import Schedule, TrainableField
from volkit.generation.particle import Drawing
from volkit.generation.penalties import (
    Penalties,
    distortion,
    entropy,
    field_normals,
    orientation,
    roughness,
    visible_samples,
)
from volkit.geometry import Cameras, Rays, RaySamples
from volkit.guidance.ramps import value
from volkit.ops.march import Stride
from volkit.ops.param_group import ParamGroup
from volkit.rendering.volume import Integral, integrate
from volkit.representations.field import Field
from volkit.sampling.occupancy import OccupancySampler, pixel_width
from volkit.sampling.occupancy_grid import OccupancyGrid
from volkit.training.loop import ParameterChange, StepInfo
from volkit.typing import Tensor

__all__ = ["UNKNOWN_OCCUPANCY", "FieldParticle"]

MIN_SAMPLES = 24  # samples along the domain's longest edge
OCCUPANCY_INTERVAL = 64  # steps between updates of the occupancy
UNKNOWN_OCCUPANCY = 0.3  # of the run, during which matter may appear anywhere; afterwards in occupied cells alone


class FieldParticle:
    """A field with its occupancy and regularisers, trained by a prior.

    Args:
        scene: the field.
        penalties: weights of the regularisers.
        generator: of samples and penalties, on the field's device.
        samples: samples of a ray for each pixel's width.
    """

    def __init__(self, scene: Field, penalties: Penalties, generator: torch.Generator, samples: float = 1.5) -> None:
        self.penalties, self.generator, self.samples = penalties, generator, samples
        self.grid = OccupancyGrid(scene, Stride(max(scene.domain.extent) / MIN_SAMPLES))
        self.trainee = TrainableField(scene, self.grid, Schedule(own_penalties=False, refreshes=_settled))

    @property
    def scene(self) -> Field:
        """The field as it is now."""
        return self.trainee.scene

    def draw(self, cameras: Cameras, info: StepInfo) -> Drawing:
        """Pictures in one pass over the rays of all cameras."""
        width, height = cameras.size[0].tolist()
        rays = Rays.cat([cameras.picture_rays(index) for index in range(len(cameras))])
        local = self.scene.world_from_local.inverse().rays(rays)
        self.grid.stride = self._stride(cameras)
        samples = OccupancySampler(self.scene, self.grid.stride, generator=self.generator)(local)
        integral = integrate(self.scene, local, samples)
        shape = (len(cameras), height, width)
        penalties_now = self._penalties(local, samples, integral, info.fraction)
        penalties = {name: term / len(cameras) for name, term in penalties_now.items()}
        return Drawing(integral.picture.rgb.view(*shape, 3), integral.picture.opacity.view(shape), penalties)

    def _stride(self, cameras: Cameras) -> Stride:
        wide = pixel_width(self.scene.domain, self.scene.world_from_local, cameras)
        return Stride(min(wide / self.samples, max(self.scene.domain.extent) / MIN_SAMPLES))

    def _penalties(self, rays: Rays, samples: RaySamples, integral: Integral, fraction: float) -> dict[str, Tensor]:
        """The penalties whose weight is not zero at this step, summed over rays."""
        p, length = self.penalties, max(self.scene.domain.extent)
        weights_now = {name: value(getattr(p, name), fraction) for name in p.__dataclass_fields__}
        opacity, terms = integral.picture.opacity, {}
        if weights_now["opacity"]:
            terms["opacity"] = (opacity.square() + 0.01).sqrt().sum()
        if weights_now["entropy"]:
            terms["entropy"] = entropy(opacity)
        if weights_now["distortion"]:
            terms["distortion"] = distortion(integral.weights, samples, length)
        if weights_now["orientation"] or weights_now["smoothness"]:
            chosen = visible_samples(integral.weights, self.generator)
            points, weights = samples.points(rays)[chosen], integral.weights[chosen]
            normals = field_normals(self.scene, points.positions)
            if weights_now["orientation"]:
                terms["orientation"] = orientation(weights, normals, points.directions)
            if weights_now["smoothness"]:
                noise = torch.randn(normals.shape, generator=self.generator, device=normals.device)
                terms["smoothness"] = roughness(self.scene, points, weights, normals, noise)
        return {name: weights_now[name] * term for name, term in terms.items()}

    def groups(self) -> list[ParamGroup]:
        """The field's parameters."""
        return self.trainee.groups()

    def after_step(self, info: StepInfo, generator: torch.Generator, record: None = None) -> ParameterChange | None:
        """Refine the field, then update its occupancy, once the place of the object is settled."""
        return self.trainee.after_step(info, generator)

    def state(self) -> dict[str, Any]:
        """Parameters and occupancy."""
        return self.trainee.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up `state()`."""
        self.trainee.load_state(state)


def _settled(info: StepInfo, unknown: bool) -> bool:
    """Whether it is time to look where nothing is."""
    return info.fraction >= UNKNOWN_OCCUPANCY and (info.step % OCCUPANCY_INTERVAL == 0 or unknown)
