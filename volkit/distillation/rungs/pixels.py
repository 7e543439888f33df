"""Rung 2: rays of photographs, or of a teacher's pictures, against what the student draws along them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from volkit.distillation.rungs.active import PixelDraw
from volkit.distillation.rungs.answers import Origin
from volkit.geometry import Cameras, Rays
from volkit.rendering.renderer import renderer_for
from volkit.rendering.volume import render_rays
from volkit.representations.field import Field
from volkit.representations.representation import Representation
from volkit.sampling.sampler import Sampler
from volkit.training.loop import StepInfo
from volkit.typing import Float, Tensor, UInt8

__all__ = ["Gains", "PixelRung", "PixelSource", "PixelTable", "TargetRays", "TeacherPixels"]


FIRST_PIECES = 32  # pieces that are asked for before anything else
PERIOD = 4  # draws between further ones


@dataclass(frozen=True)
class TargetRays:
    """World-frame rays and what should be seen along them: premultiplied colour and opacity."""

    rays: Rays
    colour: Float[Tensor, "ray 3"]
    opacity: Float[Tensor, " ray"]
    origin: Origin


class PixelSource(Protocol):
    """Where target rays come from."""

    def draw(self, count: int, generator: torch.Generator) -> TargetRays:
        """`count` rays with their targets."""
        ...

    def learn(self, drawn: TargetRays, errors: Float[Tensor, " ray"]) -> None:
        """Hear the squared errors of rays that were drawn."""
        ...

    def state(self) -> dict[str, Any]: ...

    def load_state(self, state: dict[str, Any]) -> None: ...


class PixelTable:
    """Every pixel of posed pictures of any sizes, 8 bits a channel, in one flat table; masked pixels count nothing.

    The table lies where the cameras are.
    """

    def __init__(
        self,
        cameras: Cameras,
        images: tuple[UInt8[Tensor, "height width channel"], ...],
        masks: tuple[UInt8[Tensor, "height width"] | None, ...] = (),
        uniform: float = 0.5,
    ) -> None:
        self.cameras = cameras
        device = cameras.size.device
        self.table = torch.cat([image.reshape(-1, image.shape[-1]) for image in images]).to(device)
        counts = torch.tensor([image.shape[0] * image.shape[1] for image in images], device=device)
        self.starts = counts.cumsum(0) - counts
        self.mask = None
        if any(mask is not None for mask in masks):
            whole = [
                torch.ones(int(n), dtype=torch.uint8, device=device) if m is None else m.reshape(-1).to(device)
                for m, n in zip(masks, counts, strict=True)
            ]
            self.mask = torch.cat(whole) > 0
        self.pixels = PixelDraw(cameras, uniform)

    def draw(self, count: int, generator: torch.Generator) -> TargetRays:
        """Rays through drawn pixels of all pictures."""
        camera, pixels, importance = self.pixels.draw(count, generator)
        column, row = pixels.long().unbind(-1)
        place = self.starts[camera] + row * self.cameras.size[camera, 0] + column
        value = self.table[place].float() / 255.0
        opacity = value[:, 3] if value.shape[1] == 4 else value.new_ones(count)
        if self.mask is not None:
            importance = importance * self.mask[place]
        rays = self.cameras.rays(camera, pixels)
        return TargetRays(rays, value[:, :3] * opacity[:, None], opacity, Origin(camera, pixels, importance, 0))

    def learn(self, drawn: TargetRays, errors: Float[Tensor, " ray"]) -> None:
        """Remember where the errors are."""
        self.pixels.learn(drawn.origin.camera, drawn.origin.pixels, errors * (drawn.origin.importance > 0))

    def state(self) -> dict[str, Any]:
        """The error map."""
        return self.pixels.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up `state()`."""
        self.pixels.load_state(state)


class Gains(nn.Module):
    """Exposure and white balance of each photograph: `C' = C exp(g - mean g)`, so that the scene keeps its own."""

    def __init__(self, photographs: int) -> None:
        super().__init__()
        self.log_gain = nn.Parameter(torch.zeros(photographs, 3))

    def forward(self, colour: Float[Tensor, "ray 3"], photograph: Tensor) -> Float[Tensor, "ray 3"]:
        """Colours as that photograph would have recorded them."""
        return colour * torch.exp(self.log_gain - self.log_gain.mean(0))[photograph]


class PixelRung:
    """`mean_r |C - C* + (A* - A) b|^2` over a random background b, on the student's own samples.

    With a random background an opacity error cannot hide (instant-ngp). The number of rays follows the number of
    samples that they cost, so that a step costs the same throughout.
    """

    def __init__(
        self,
        source: PixelSource,
        sampler: Sampler,
        local_rays: Callable[[Rays], Rays],
        samples: int,
        generator: torch.Generator,
        gains: Gains | None = None,
    ) -> None:
        self.source, self.sampler, self.local_rays = source, sampler, local_rays
        self.samples, self.generator, self.gains = samples, generator, gains
        self.rays = max(64, samples // 64)

    def losses(self, student: Field, moment: StepInfo) -> dict[str, Tensor]:
        """The picture loss on freshly drawn rays."""
        drawn = self.source.draw(self.rays, self.generator)
        rays = self.local_rays(drawn.rays)
        samples = self.sampler(rays)
        picture = render_rays(student, rays, samples)
        colour = picture.rgb
        if self.gains is not None:
            colour = self.gains(colour, drawn.origin.camera)
        background = torch.rand(drawn.colour.shape, generator=self.generator, device=drawn.colour.device)
        missing = (drawn.opacity - picture.opacity)[:, None]
        error = (colour - drawn.colour + missing * background).square().mean(-1)
        self.source.learn(drawn, error.detach())
        loss = (error * drawn.origin.importance).mean()
        per_ray = max(len(samples), 1) / max(len(drawn.colour), 1)
        self.rays = int(min(max(self.samples / per_ray, 64), 1 << 16, 2 * self.rays))
        return {"pixels": loss}

    def state(self) -> dict[str, Any]:
        """Batch size and error map."""
        return {"rays": self.rays, "source": self.source.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up `state()`."""
        self.rays = state["rays"]
        self.source.load_state(state["source"])


class TeacherPixels:
    """Pixels of a teacher's pictures, 8 bits a channel, premultiplied; one camera after the other becomes known.

    With cameras that see small pieces (`views.windows`) neither start nor memory depend on how large pictures are.
    """

    def __init__(self, teacher: Representation, cameras: Cameras) -> None:
        self.teacher, self.cameras = teacher, cameras
        self.renderer = renderer_for(teacher)
        counts = cameras.size.prod(-1)
        self.starts = counts.cumsum(0) - counts
        self.table = torch.empty(int(counts.sum()), 4, dtype=torch.uint8, device=cameras.size.device)
        self.pixels = PixelDraw(cameras[:0])
        self.draws = 0

    def draw(self, count: int, generator: torch.Generator) -> TargetRays:
        """Rays through drawn pixels of all that is known, which is one camera more every few draws."""
        self._ask(min(FIRST_PIECES + self.draws // PERIOD, len(self.cameras)))
        self.draws += 1
        camera, pixels, importance = self.pixels.draw(count, generator)
        column, row = pixels.long().unbind(-1)
        value = self.table[self.starts[camera] + row * self.cameras.size[camera, 0] + column].float() / 255.0
        rays = self.cameras.rays(camera, pixels)
        return TargetRays(rays, value[:, :3], value[:, 3], Origin(camera, pixels, importance, 0))

    def learn(self, drawn: TargetRays, errors: Float[Tensor, " ray"]) -> None:
        """Remember where the errors are."""
        self.pixels.learn(drawn.origin.camera, drawn.origin.pixels, errors)

    @torch.no_grad()
    def _ask(self, known: int) -> None:
        """Let the teacher draw until so many cameras are known."""
        for index in range(len(self.pixels.cameras), known):
            picture = self.renderer(self.teacher, self.cameras[[index]])
            value = torch.cat([picture.rgb[0], picture.opacity[0, ..., None]], -1).view(-1, 4)
            start = int(self.starts[index])
            self.table[start : start + len(value)] = (value.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
        self.pixels.watch(self.cameras[:known])

    def state(self) -> dict[str, Any]:
        """How far it came, and the error map; pictures are asked for again."""
        return {"draws": self.draws, "known": len(self.pixels.cameras), "pixels": self.pixels.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up `state()`."""
        self.draws = state["draws"]
        self._ask(state["known"])
        self.pixels.load_state(state["pixels"])
