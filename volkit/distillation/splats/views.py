"""What splats in training are compared with: whole views, one a step."""

from typing import Any, Protocol

import torch

from volkit.geometry import Cameras
from volkit.rendering.renderer import renderer_for
from volkit.representations.representation import Representation
from volkit.typing import Float, Tensor, UInt8

__all__ = ["PhotographViews", "TeacherViews", "View", "ViewSource"]

FIRST_VIEWS = 8  # views that a teacher is asked for before anything else; a picture of open space takes seconds
PERIOD = 20  # steps between further ones: a teacher's picture costs as much as a dozen steps

View = tuple[Float[Tensor, "height width 3"], Float[Tensor, "height width 1"], Float[Tensor, "height width 1"] | None]


class ViewSource(Protocol):
    """World-frame cameras and what they see."""

    cameras: Cameras

    def next(self, generator: torch.Generator) -> int:
        """The number of the view whose turn it is."""
        ...

    def view(self, index: int) -> View:
        """Premultiplied colour, opacity, and which pixels count (None: all)."""
        ...

    def state(self) -> dict[str, Any]: ...

    def load_state(self, state: dict[str, Any]) -> None: ...


class Shuffled:
    """Every view once, in random order, then again."""

    def __init__(self) -> None:
        self.queue: list[int] = []

    def next(self, count: int, generator: torch.Generator) -> int:
        """A view of the first `count`."""
        if not self.queue:
            self.queue = torch.randperm(count, generator=generator, device=generator.device).tolist()
        return self.queue.pop()


class PhotographViews:
    """Photographs: RGB or RGBA, 8 bits, of any sizes."""

    def __init__(
        self,
        cameras: Cameras,
        images: tuple[UInt8[Tensor, "height width channel"], ...],
        masks: tuple[UInt8[Tensor, "height width"] | None, ...] = (),
    ) -> None:
        self.cameras, self.images, self.masks = cameras, images, masks
        self.shuffled = Shuffled()

    def next(self, generator: torch.Generator) -> int:
        """The number of the photograph whose turn it is."""
        return self.shuffled.next(len(self.images), generator)

    def view(self, index: int) -> View:
        """One photograph."""
        value = self.images[index].to(self.cameras.size.device).float() / 255.0
        opacity = value[..., 3:] if value.shape[-1] == 4 else torch.ones_like(value[..., :1])
        mask = self.masks[index] if self.masks else None
        weight = None if mask is None else (mask > 0).to(opacity)[..., None]
        return value[..., :3] * opacity, opacity, weight

    def state(self) -> dict[str, Any]:
        """Whose turn it is."""
        return {"queue": self.shuffled.queue}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up `state()`."""
        self.shuffled.queue = list(state["queue"])


class TeacherViews:
    """A teacher's pictures, asked for one by one while the student learns from those that are there already."""

    def __init__(self, teacher: Representation, cameras: Cameras) -> None:
        self.teacher, self.cameras = teacher, cameras
        self.seen: dict[int, tuple[Tensor, Tensor]] = {}
        self.shuffled, self.known, self.turns = Shuffled(), min(FIRST_VIEWS, len(cameras)), 0

    def next(self, generator: torch.Generator) -> int:
        """A new view every few turns until all are known, else one of the known."""
        self.turns += 1
        if self.turns % PERIOD == 0 and self.known < len(self.cameras):
            self.known += 1
            return self.known - 1
        return self.shuffled.next(self.known, generator)

    def view(self, index: int) -> View:
        """The teacher's picture, kept once it was asked for."""
        if index not in self.seen:
            with torch.no_grad():
                picture = renderer_for(self.teacher)(self.teacher, self.cameras[[index]])
            self.seen[index] = (picture.rgb[0].half(), picture.opacity[0, ..., None].half())
        colour, opacity = self.seen[index]
        return colour.float(), opacity.float(), None

    def state(self) -> dict[str, Any]:
        """Whose turn it is, and how many are known; pictures are asked for again."""
        return {"queue": self.shuffled.queue, "known": self.known, "turns": self.turns}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up `state()`."""
        self.shuffled.queue, self.known, self.turns = list(state["queue"]), state["known"], state["turns"]
