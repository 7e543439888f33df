"""Rung 2 from a teacher that answers with pictures: pieces of them, asked for while the student learns."""

from typing import Any

import torch

from volkit.distillation.rungs.active import PixelDraw
from volkit.distillation.rungs.answers import Origin
from volkit.distillation.rungs.pixels import TargetRays
from volkit.geometry import Cameras
from volkit.rendering.renderer import renderer_for
from volkit.representations.representation import Representation
from volkit.typing import Float, Tensor

__all__ = ["TeacherPixels"]

FIRST_PIECES = 32  # pieces that are asked for before anything else
PERIOD = 4  # draws between further ones


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
