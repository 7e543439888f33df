"""Splats in training: rendered by camera, compared with whole views, densified by a strategy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from volkit.distillation.strategies import Strategy, ViewRecord
from volkit.geometry import Cameras
from volkit.geometry.lens import PINHOLE
from volkit.ops.param_group import ParamGroup
from volkit.rendering.renderer import renderer_for
from volkit.rendering.splatting import SplatRenderer
from volkit.rendering.through_lens import LensMap, lens_map
from volkit.representations.representation import Representation
from volkit.representations.splats import PARAMETERS, Splats
from volkit.training.loop import ParameterChange, StepInfo, StepLosses
from volkit.typing import Float, Tensor, UInt8

__all__ = [
    "PhotographViews",
    "SplatDrawing",
    "SplatTrainee",
    "TeacherViews",
    "TrainableSplats",
    "View",
    "ViewSource",
]

FIRST_VIEWS = 8  # that a teacher renders before further ones; a picture of an unbounded scene takes seconds
VIEW_INTERVAL = 20  # steps between further ones: a teacher's picture costs as much as a dozen steps

View = tuple[Float[Tensor, "height width 3"], Float[Tensor, "height width 1"], Float[Tensor, "height width 1"] | None]


class ViewSource(Protocol):
    """World-frame cameras and target pictures."""

    cameras: Cameras

    def next(self, generator: torch.Generator) -> int:
        """The index of the next view."""
        ...

    def view(self, index: int) -> View:
        """Premultiplied colour, opacity, and the weights of pixels (None: all 1)."""
        ...

    def state(self) -> dict[str, Any]: ...

    def load_state(self, state: dict[str, Any]) -> None: ...


class ShuffledViews:
    """Every view once in random order, then again in another."""

    def __init__(self) -> None:
        self.queue: list[int] = []

    def next(self, count: int, generator: torch.Generator) -> int:
        """The index of a view; a new order is of the first `count`."""
        if not self.queue:
            self.queue = torch.randperm(count, generator=generator, device=generator.device).tolist()
        return self.queue.pop()


class PhotographViews:
    """Photographs as target views.

    Args:
        cameras: world frame.
        images: 8 bits a channel, of any sizes, with 3 channels, or 4 with straight alpha.
        masks: 0 where a pixel is ignored; empty: all pixels count.
    """

    def __init__(
        self,
        cameras: Cameras,
        images: tuple[UInt8[Tensor, "height width channel"], ...],
        masks: tuple[UInt8[Tensor, "height width"] | None, ...] = (),
    ) -> None:
        self.cameras, self.images, self.masks = cameras, images, masks
        self.order = ShuffledViews()

    def next(self, generator: torch.Generator) -> int:
        """The index of the next photograph."""
        return self.order.next(len(self.images), generator)

    def view(self, index: int) -> View:
        """A photograph."""
        value = self.images[index].to(self.cameras.size.device).float() / 255.0
        opacity = value[..., 3:] if value.shape[-1] == 4 else torch.ones_like(value[..., :1])
        mask = self.masks[index] if self.masks else None
        weight = None if mask is None else (mask > 0).to(opacity)[..., None]
        return value[..., :3] * opacity, opacity, weight

    def state(self) -> dict[str, Any]:
        """The views that remain of the present order."""
        return {"queue": self.order.queue}

    def load_state(self, state: dict[str, Any]) -> None:
        self.order.queue = list(state["queue"])


class TeacherViews:
    """A teacher's pictures as target views, rendered one by one while the student is trained on the first.

    Args:
        teacher: a scene of any kind.
        cameras: world frame, in the order in which they are rendered.
    """

    def __init__(self, teacher: Representation, cameras: Cameras) -> None:
        self.teacher, self.cameras = teacher, cameras
        self.rendered: dict[int, tuple[Tensor, Tensor]] = {}
        self.order, self.available, self.turns = ShuffledViews(), min(FIRST_VIEWS, len(cameras)), 0

    def next(self, generator: torch.Generator) -> int:
        """A new view every few turns until there are all, else one of those that are available."""
        self.turns += 1
        if self.turns % VIEW_INTERVAL == 0 and self.available < len(self.cameras):
            self.available += 1
            return self.available - 1
        return self.order.next(self.available, generator)

    def view(self, index: int) -> View:
        """The teacher's picture, rendered once."""
        if index not in self.rendered:
            with torch.no_grad():
                picture = renderer_for(self.teacher)(self.teacher, self.cameras[[index]])
            self.rendered[index] = (picture.rgb[0].half(), picture.opacity[0, ..., None].half())
        colour, opacity = self.rendered[index]
        return colour.float(), opacity.float(), None

    def state(self) -> dict[str, Any]:
        """The present order, the number of available views, the turns; pictures are rendered again."""
        return {"queue": self.order.queue, "available": self.available, "turns": self.turns}

    def load_state(self, state: dict[str, Any]) -> None:
        self.order.queue, self.available, self.turns = list(state["queue"]), state["available"], state["turns"]


@dataclass(frozen=True)
class SplatDrawing:
    """Differentiable pictures of splats in training.

    Attributes:
        rgb: premultiplied by opacity.
        opacity: 0 to 1.
        errors: zeros: `(errors * e).sum()`, e the error of each pixel, adds nothing to a loss, and its gradient is each
            splat's share of e.
        record: of the last view, for the strategy; its shares of error are sums over all views.
    """

    rgb: Float[Tensor, "view height width 3"]
    opacity: Float[Tensor, "view height width"]
    errors: Float[Tensor, "view height width"]
    record: ViewRecord


class TrainableSplats:
    """Splats, their densification strategy and its state, whatever they are trained on.

    Args:
        scene: the splats.
        strategy: of densification.
    """

    def __init__(self, scene: Splats, strategy: Strategy) -> None:
        self.scene, self.strategy = scene, strategy
        self.strategy_state = strategy.initialize_state(scene)

    def draw(self, cameras: Cameras, views: Sequence[int], lens: LensMap | None = None) -> SplatDrawing:
        """Pictures of some of the cameras, world frame, which share a size; differentiable in the splats."""
        shares = torch.zeros(len(self.scene), 1, device=self.scene.device, requires_grad=True)
        drawn = [SplatRenderer().render_features(self.scene, cameras, index, shares, lens) for index in views]
        channels = torch.stack([channels for channels, *_ in drawn])
        record = ViewRecord(drawn[-1][2], shares)
        self.strategy_state = self.strategy.pre_backward(self.scene, self.strategy_state, record)
        opacity = torch.stack([opacity for _, opacity, _ in drawn])
        return SplatDrawing(channels[..., :3], opacity, channels[..., 3], record)

    def post_backward(self, record: ViewRecord, info: StepInfo, generator: torch.Generator) -> ParameterChange | None:
        """The strategy's part after a step."""
        state = self.strategy_state
        self.strategy_state, change = self.strategy.post_backward(self.scene, state, record, info, generator)
        return change

    def state(self) -> dict[str, Any]:
        """The splats' columns, and the strategy's state."""
        columns = {name: getattr(self.scene, name).detach() for name in PARAMETERS}
        return {"splats": columns, "strategy": self.strategy_state}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore `state()`, with any number of splats."""
        self.scene.replace_columns(state["splats"])
        self.strategy_state = state["strategy"]


class SplatTrainee:
    """A trainee (`volkit.training`) of splats and target views, one view a step.

    Args:
        splats: the scene.
        views: cameras and their target pictures.
        generator: of all randomness.
        strategy: of densification.
    """

    def __init__(self, splats: Splats, views: ViewSource, generator: torch.Generator, strategy: Strategy) -> None:
        self.splats, self.views, self.generator = TrainableSplats(splats, strategy), views, generator
        self.lenses: dict[int, LensMap] = {}

    @property
    def scene(self) -> Splats:
        """The current splats."""
        return self.splats.scene

    def losses(self, info: StepInfo) -> StepLosses:
        """The mean absolute error of one view over a random background, and the strategy's penalties."""
        index = self.views.next(self.generator)
        colour, opacity, weight = self.views.view(index)
        drawing = self.splats.draw(self.views.cameras, [index], self._lens(index))
        background = torch.rand(3, generator=self.generator, device=colour.device)
        error = drawing.rgb[0] - colour - (drawing.opacity[0, ..., None] - opacity) * background
        error = (error if weight is None else error * weight).abs()
        shares = (drawing.errors[0] * error.detach().mean(-1)).sum()  # 0, for its gradient
        losses = {"pixels": error.mean() + shares} | self.splats.strategy.penalties(self.scene)
        return StepLosses(losses, drawing.record)

    def _lens(self, index: int) -> LensMap | None:
        """The map of a view's lens, computed once: it takes Newton iterations for every pixel."""
        if self.views.cameras.lens == PINHOLE:
            return None
        if index not in self.lenses:
            self.lenses[index] = lens_map(self.views.cameras, index)
        return self.lenses[index]

    def groups(self) -> list[ParamGroup]:
        """The splats' parameters."""
        return self.scene.param_groups()

    def after_step(self, info: StepInfo, record: ViewRecord) -> list[ParameterChange]:
        """The strategy's part."""
        change = self.splats.post_backward(record, info, self.generator)
        return [] if change is None else [change]

    def state(self) -> dict[str, Any]:
        """The states of splats, strategy, views and generator."""
        return self.splats.state() | {"views": self.views.state(), "generator": self.generator.get_state()}

    def load_state(self, state: dict[str, Any]) -> None:
        self.splats.load_state(state)
        self.views.load_state(state["views"])
        self.generator.set_state(state["generator"].cpu())
