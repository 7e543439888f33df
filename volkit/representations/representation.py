"""What every scene representation carries, whatever it is made of."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import copy, deepcopy
from dataclasses import dataclass, replace
from itertools import chain
from types import EllipsisType, MappingProxyType
from typing import Any, Self, TypeVar

import torch
from torch import nn

from volkit.geometry import UP_AXIS, Cameras, Domain, Frame, Similarity, turn
from volkit.ops.param_group import ParamGroup
from volkit.typing import Tensor

__all__ = ["Capture", "Placement", "Representation"]

AnyModule = TypeVar("AnyModule", bound=nn.Module)
HERE = Similarity()


@dataclass(frozen=True)
class Placement:
    """Where a scene stands: `x_world = world_from_local x_local`, and which axis of that world points up."""

    world_from_local: Similarity = HERE
    frame: Frame = "zup"  # of the world; another where it is a file's own


WORLD = Placement()  # the local frame is the world's


@dataclass(frozen=True)
class Capture:
    """How a scene was seen: the cameras that its representation may be trusted from, world frame."""

    cameras: Cameras
    names: tuple[str, ...]
    held_out: tuple[str, ...] = ()  # names of views that were kept from training
    near: float = 0.0  # no matter closer to a camera than this, world units
    background: tuple[float, float, float] | None = None  # behind transparent pixels; None: opaque photographs

    def moved(self, change: Similarity) -> Self:
        """The capture of a scene that was moved, turned or scaled in the world."""
        return replace(self, cameras=self.cameras.moved(change), near=self.near * change.scale)


# What is given once, and which argument of `with_` gives it anew.
GIVEN = {
    "domain": "domain",
    "placement": "placement",
    "world_from_local": "placement",
    "frame": "placement",
    "capture": "capture",
    "provenance": "provenance",
}


class Representation(nn.Module, ABC):
    """Parameters and answers in a local frame, and where that frame stands. Not a renderer, file or trainer.

    What is said about the parameters, `domain`, `placement`, `capture` and `provenance`, is fixed: assigning raises
    AttributeError, `with_` makes a copy of which something else is said.

    ```python
    moved = scene.with_(placement=Similarity(translation=(0.0, 0.0, 1.0)))
    ```
    """

    config: Any

    def __init__(
        self,
        domain: Domain,
        placement: Placement = WORLD,
        capture: Capture | None = None,
        provenance: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        self._domain, self._placement, self._capture, self._provenance = domain, placement, capture, dict(provenance)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in GIVEN:
            raise AttributeError(
                f"the {name} of a scene cannot be assigned: with_({GIVEN[name]}=...) makes a copy that has another"
            )
        super().__setattr__(name, value)

    @property
    def domain(self) -> Domain:
        """The part of the local frame that it covers."""
        return self._domain

    @property
    def placement(self) -> Placement:
        """Where the local frame stands in the world."""
        return self._placement

    @property
    def world_from_local(self) -> Similarity:
        """The placement's similarity."""
        return self._placement.world_from_local

    @property
    def frame(self) -> Frame:
        """Which axis of the world points up."""
        return self._placement.frame

    @property
    def capture(self) -> Capture | None:
        """The cameras that it was made from, where they are known."""
        return self._capture

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Where it comes from, as plain JSON values; read only."""
        return MappingProxyType(self._provenance)

    @property
    def parts(self) -> tuple["Representation", ...]:
        """The scenes that a wrapper is made of; none of any other scene."""
        return ()

    @property
    def splat_count(self) -> int | None:
        """How many splats it is made of; None of what is made of other things."""
        return None

    def as_metallic_roughness(self) -> "Representation | None":
        """The same with roughness and metalness for colours, None where there are none."""
        return None

    @abstractmethod
    def bounds(self) -> Domain:
        """The box that holds everything visible, local frame."""

    @abstractmethod
    def param_groups(self) -> list[ParamGroup]:
        """Every trainable parameter once, with the learning rate that suits it."""

    @property
    def device(self) -> torch.device:
        """Where the parameters live, or the buffers of what has none."""
        return next((t.device for t in chain(self.parameters(), self.buffers())), torch.device("cpu"))

    def stored_tensors(self) -> dict[str, Tensor]:
        """What a file must hold: parameters and buffers by name, in the published layout; of parts, theirs apart."""
        parts = set(self.parts)
        inner = tuple(f"{name}." for name, module in self.named_modules(remove_duplicate=False) if module in parts)
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith(inner)}

    def check(self) -> None:
        """Raise ValueError where tensors contradict each other, as those of a damaged file may."""
        return

    def with_(
        self,
        *,
        domain: Domain | None = None,
        placement: Placement | Similarity | None = None,
        capture: Capture | EllipsisType | None = ...,
        provenance: Mapping[str, Any] | None = None,
    ) -> Self:
        """A copy of which something else is said; it shares no tensor and nothing else that can change.

        What is left out stays as it is, and so does the frame where `placement` is a similarity; `capture=None` drops
        the cameras. Gradients are not copied, nor are the graphs that tensors come from. `view` shares the tensors.
        """
        memo: dict[int, Any] = {}
        for tensor in chain(self.parameters(), self.buffers()):
            own = tensor.detach().clone()  # a deep copy refuses tensors that have a graph
            memo[id(tensor)] = nn.Parameter(own, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else own
        return deepcopy(self, memo)._say(domain, placement, deepcopy(capture), deepcopy(provenance))

    def view(
        self,
        *,
        domain: Domain | None = None,
        placement: Placement | Similarity | None = None,
        capture: Capture | EllipsisType | None = ...,
        provenance: Mapping[str, Any] | None = None,
    ) -> Self:
        """The same tensors, and parts of a wrapper, of which something else is said: as with `torch.Tensor.view`,
        values and gradients are common to both, and so is a move to another device; only tensors that one of them
        takes in place of its own are not.

        For writers, and for scenes that were only just made: it costs no memory, whatever the size.
        """
        return _shell(self, {id(part): part for part in self.parts})._say(domain, placement, capture, provenance)

    def placed_like(self, other: "Representation") -> Self:
        """A copy (`with_`) with placement and capture of another representation of the same scene."""
        return self.with_(placement=other.placement, capture=other.capture)

    def turned(self, frame: Frame) -> Self:
        """A copy (`with_`) in another frame; `world` in its provenance is the one that the scene had."""
        return self.turned_view(frame).with_()

    def turned_view(self, frame: Frame) -> Self:
        """As `turned`, with the tensors of this scene (`view`)."""
        change = turn(frame, self.frame)
        if change.is_identity:
            return self.view()
        return self.view(
            placement=Placement(change @ self.world_from_local, frame),
            capture=None if self.capture is None else self.capture.moved(change),
            provenance={"world": self.frame} | dict(self.provenance),
        )

    def _say(
        self,
        domain: Domain | None,
        placement: Placement | Similarity | None,
        capture: Capture | EllipsisType | None,
        provenance: Mapping[str, Any] | None,
    ) -> Self:
        if isinstance(placement, Similarity):
            placement = Placement(placement, self.frame)
        self._domain, self._placement = domain or self._domain, placement or self._placement
        self._capture = self._capture if capture is ... else capture
        self._provenance = dict(self._provenance if provenance is None else provenance)
        return self

    def _sizes(self) -> list[str]:
        """What a line about it begins with: how many there are of what it is made of."""
        return [f"{sum(parameter.numel() for parameter in self.parameters())} parameters"]

    def __repr__(self) -> str:
        edges = " x ".join(f"{edge * self.world_from_local.scale:.3g}" for edge in self.domain.extent)
        box = f"unbounded about {edges}" if self.domain.contracted else f"box {edges}"
        return f"{type(self).__name__}({', '.join([*self._sizes(), box, f'up {UP_AXIS[self.frame]}'])})"


def _shell(module: AnyModule, done: dict[int, nn.Module]) -> AnyModule:
    """A module with dictionaries of its own for the same tensors, its children likewise."""
    if id(module) not in done:
        done[id(module)] = twin = copy(module)
        for held in ("_parameters", "_buffers", "_modules"):
            twin.__dict__[held] = copy(module.__dict__[held])
        for name, child in module.__dict__["_modules"].items():
            twin.__dict__["_modules"][name] = None if child is None else _shell(child, done)
    return done[id(module)]  # pyright: ignore[reportReturnType]
