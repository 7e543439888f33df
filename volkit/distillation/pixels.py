"""Supervision by pixels: of photographs, or of pictures that a teacher renders, drawn in proportion to the error."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn

from volkit.geometry import Cameras, Rays
from volkit.rendering.renderer import renderer_for
from volkit.rendering.volume import render_rays
from volkit.representations.field import Field
from volkit.representations.representation import Representation
from volkit.sampling.sampler import Sampler
from volkit.training.loop import StepInfo
from volkit.typing import Float, Int, Tensor, UInt8

__all__ = [
    "DrawnPixels",
    "Gains",
    "PixelObjective",
    "PixelSampler",
    "PixelSource",
    "PixelTable",
    "TargetRays",
    "TeacherPixels",
]

TILES = 16  # per side of a picture: fine enough to find a chair's leg, coarse enough to be visited often
ERROR_DECAY = 0.9  # share of a tile's former error that remains after a visit
FIRST_WINDOWS = 32  # that a teacher renders before the first step
WINDOW_INTERVAL = 4  # draws between further ones
MIN_RAYS, MAX_RAYS = 64, 1 << 16  # in a step


class PixelSampler:
    """Draws pixels of many cameras at once, cameras and tiles in proportion to their recent error.

    `p = uniform / N + (1 - uniform) e_tile / sum e`, importance `1 / (N p)`, so that the importance-weighted mean over
    drawn pixels is an unbiased estimate of the mean over all pixels, whatever the errors are (importance sampling;
    Soft Mining, Kheradmand et al. 2024, corrects for it partly).

    Args:
        cameras: world frame.
        uniform: share of the pixels that is drawn uniformly.
    """

    def __init__(self, cameras: Cameras, uniform: float = 0.5) -> None:
        self.cameras, self.uniform = cameras, uniform
        self.errors = torch.zeros(len(cameras) * TILES * TILES, device=cameras.size.device)

    def extend(self, cameras: Cameras) -> None:
        """Draw from these cameras, which begin with the present ones; the errors of further ones are unknown."""
        unknown = self.errors.new_zeros((len(cameras) - len(self.cameras)) * TILES * TILES)
        self.cameras, self.errors = cameras, torch.cat([self.errors, unknown])

    def draw(
        self, count: int, generator: torch.Generator
    ) -> tuple[Int[Tensor, " ray"], Float[Tensor, "ray 2"], Float[Tensor, " ray"]]:
        """Cameras, pixel centres (x, y) and importances of `count` pixels."""
        tiles, device = len(self.errors), self.errors.device
        known = float(self.errors.sum()) > 0.0
        if known and self.uniform < 1.0:
            probability = self.uniform / tiles + (1.0 - self.uniform) * self.errors / self.errors.sum()
            # torch.multinomial takes 2^24 categories at most; a cumulative sum and a search have no such limit.
            edges = probability.cumsum(0)
            position = torch.rand(count, generator=generator, device=device) * edges[-1]
            tile = torch.searchsorted(edges, position).clamp_max(tiles - 1)
            importance = 1.0 / (tiles * probability[tile])
        else:
            tile = torch.randint(tiles, (count,), generator=generator, device=device)
            importance = torch.ones(count, device=device)
        camera = tile // (TILES * TILES)
        row, column = tile % (TILES * TILES) // TILES, tile % TILES
        inside = torch.rand(count, 2, generator=generator, device=device)
        size = self.cameras.size[camera]
        pixels = (torch.stack([column, row], -1) + inside) / TILES * size
        return camera, pixels.floor() + 0.5, importance

    def update(
        self, camera: Int[Tensor, " ray"], pixels: Float[Tensor, "ray 2"], errors: Float[Tensor, " ray"]
    ) -> None:
        """Record the squared errors of pixels; tiles keep a decaying mean of the root mean square."""
        place = (pixels / self.cameras.size[camera] * TILES).long().clamp(0, TILES - 1)
        tile = (camera * TILES + place[:, 1]) * TILES + place[:, 0]
        total = torch.zeros_like(self.errors).index_add_(0, tile, errors)
        visits = torch.zeros_like(self.errors).index_add_(0, tile, torch.ones_like(errors))
        visited = visits > 0
        mean = (total[visited] / visits[visited]).sqrt()
        former = self.errors[visited]
        self.errors[visited] = torch.where(former > 0, ERROR_DECAY * former + (1.0 - ERROR_DECAY) * mean, mean)

    def state(self) -> dict[str, Any]:
        """The errors of the tiles."""
        return {"errors": self.errors}

    def load_state(self, state: dict[str, Any]) -> None:
        self.errors = state["errors"]


class DrawnPixels(NamedTuple):
    """The pixels that rays belong to.

    Attributes:
        camera: index of the camera.
        pixels: centre (x, y).
        importance: weight of the ray in a mean.
        seed: of the jitter of the ray's samples.
    """

    camera: Int[Tensor, " ray"]
    pixels: Float[Tensor, "ray 2"]
    importance: Float[Tensor, " ray"]
    seed: int


@dataclass(frozen=True)
class TargetRays:
    """Rays and the targets of a rendering along them.

    Attributes:
        rays: world frame.
        colour: target, premultiplied by opacity.
        opacity: target.
        drawn: the pixels of the rays.
    """

    rays: Rays
    colour: Float[Tensor, "ray 3"]
    opacity: Float[Tensor, " ray"]
    drawn: DrawnPixels


class PixelSource(Protocol):
    """A source of target rays."""

    def draw(self, count: int, generator: torch.Generator) -> TargetRays:
        """`count` rays with their targets."""
        ...

    def update(self, targets: TargetRays, errors: Float[Tensor, " ray"]) -> None:
        """Record the squared errors along rays that were drawn."""
        ...

    def state(self) -> dict[str, Any]: ...

    def load_state(self, state: dict[str, Any]) -> None: ...


class PixelTable:
    """All pixels of posed photographs in one table, 8 bits a channel, on the device of the cameras.

    Args:
        cameras: world frame.
        images: of any sizes, all with 3 channels, or all with 4, the last one straight alpha.
        masks: 0 where a pixel is ignored; empty: all pixels count.
        uniform: as of `PixelSampler`.
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
        self.pixels = PixelSampler(cameras, uniform)

    def draw(self, count: int, generator: torch.Generator) -> TargetRays:
        """Rays through drawn pixels of all photographs; masked ones have importance 0."""
        camera, pixels, importance = self.pixels.draw(count, generator)
        column, row = pixels.long().unbind(-1)
        place = self.starts[camera] + row * self.cameras.size[camera, 0] + column
        value = self.table[place].float() / 255.0
        opacity = value[:, 3] if value.shape[1] == 4 else value.new_ones(count)
        if self.mask is not None:
            importance = importance * self.mask[place]
        rays = self.cameras.rays(camera, pixels)
        return TargetRays(rays, value[:, :3] * opacity[:, None], opacity, DrawnPixels(camera, pixels, importance, 0))

    def update(self, targets: TargetRays, errors: Float[Tensor, " ray"]) -> None:
        """Record squared errors; those of masked pixels count as 0."""
        drawn = targets.drawn
        self.pixels.update(drawn.camera, drawn.pixels, errors * (drawn.importance > 0))

    def state(self) -> dict[str, Any]:
        """The errors of the tiles."""
        return self.pixels.state()

    def load_state(self, state: dict[str, Any]) -> None:
        self.pixels.load_state(state)


class TeacherPixels:
    """Pixels of a teacher's pictures, 8 bits a channel, premultiplied; they are rendered one after the other.

    With cameras of small windows (`random_windows`) neither start nor memory depend on the size of pictures.

    Args:
        teacher: a scene of any kind.
        cameras: world frame, in the order in which they are rendered.
    """

    def __init__(self, teacher: Representation, cameras: Cameras) -> None:
        self.teacher, self.cameras = teacher, cameras
        self.renderer = renderer_for(teacher)
        counts = cameras.size.prod(-1)
        self.starts = counts.cumsum(0) - counts
        self.table = torch.empty(int(counts.sum()), 4, dtype=torch.uint8, device=cameras.size.device)
        self.pixels = PixelSampler(cameras[:0])
        self.draws = 0

    def draw(self, count: int, generator: torch.Generator) -> TargetRays:
        """Rays through drawn pixels of the rendered pictures, to which one is added every few draws."""
        self._render(min(FIRST_WINDOWS + self.draws // WINDOW_INTERVAL, len(self.cameras)))
        self.draws += 1
        camera, pixels, importance = self.pixels.draw(count, generator)
        column, row = pixels.long().unbind(-1)
        value = self.table[self.starts[camera] + row * self.cameras.size[camera, 0] + column].float() / 255.0
        rays = self.cameras.rays(camera, pixels)
        return TargetRays(rays, value[:, :3], value[:, 3], DrawnPixels(camera, pixels, importance, 0))

    def update(self, targets: TargetRays, errors: Float[Tensor, " ray"]) -> None:
        """Record squared errors."""
        self.pixels.update(targets.drawn.camera, targets.drawn.pixels, errors)

    @torch.no_grad()
    def _render(self, count: int) -> None:
        """Render until there are pictures of so many cameras."""
        for index in range(len(self.pixels.cameras), count):
            picture = self.renderer(self.teacher, self.cameras[[index]])
            value = torch.cat([picture.rgb[0], picture.opacity[0, ..., None]], -1).view(-1, 4)
            start = int(self.starts[index])
            self.table[start : start + len(value)] = (value.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
        self.pixels.extend(self.cameras[:count])

    def state(self) -> dict[str, Any]:
        """Numbers of draws and of pictures, and the errors; the pictures are rendered again."""
        return {"draws": self.draws, "known": len(self.pixels.cameras), "pixels": self.pixels.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        self.draws = state["draws"]
        self._render(state["known"])
        self.pixels.load_state(state["pixels"])


class Gains(nn.Module):
    """Exposure and white balance of photographs: `C' = C exp(g - mean g)`; the mean keeps the scene's own.

    Args:
        photographs: number of photographs.
    """

    def __init__(self, photographs: int) -> None:
        super().__init__()
        self.log_gain = nn.Parameter(torch.zeros(photographs, 3))

    def forward(self, colour: Float[Tensor, "ray 3"], photograph: Tensor) -> Float[Tensor, "ray 3"]:
        """Colours under the exposure of the photograph of each ray; differentiable in both."""
        return colour * torch.exp(self.log_gain - self.log_gain.mean(0))[photograph]


class PixelObjective:
    """`mean_r |C - C* + (A* - A) b|^2` over a random background b, on samples of the student.

    Colours C are premultiplied by opacities A; with a random background an error of opacity costs as one of colour
    does (instant-ngp). The number of rays is adapted to their number of samples, so that all steps cost the same.

    Args:
        source: of target rays.
        sampler: places samples along local-frame rays.
        local_rays: the student's local frame from the frame of the source's rays.
        samples: in a step.
        generator: of rays and backgrounds.
        gains: exposure of each photograph; None: all the same.
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
        self.rays = max(MIN_RAYS, samples // 64)

    def losses(self, student: Field, info: StepInfo) -> dict[str, Tensor]:
        """The loss `pixels` on newly drawn rays; differentiable in the student and the gains."""
        targets = self.source.draw(self.rays, self.generator)
        rays = self.local_rays(targets.rays)
        samples = self.sampler(rays)
        picture = render_rays(student, rays, samples)
        colour = picture.rgb
        if self.gains is not None:
            colour = self.gains(colour, targets.drawn.camera)
        background = torch.rand(targets.colour.shape, generator=self.generator, device=targets.colour.device)
        missing = (targets.opacity - picture.opacity)[:, None]
        error = (colour - targets.colour + missing * background).square().mean(-1)
        self.source.update(targets, error.detach())
        loss = (error * targets.drawn.importance).mean()
        per_ray = max(len(samples), 1) / max(len(targets.colour), 1)
        self.rays = int(min(max(self.samples / per_ray, MIN_RAYS), MAX_RAYS, 2 * self.rays))
        return {"pixels": loss}

    def state(self) -> dict[str, Any]:
        """The number of rays, and the source."""
        return {"rays": self.rays, "source": self.source.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        self.rays = state["rays"]
        self.source.load_state(state["source"])
