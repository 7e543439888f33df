"""The base of all representations: parameters, domain, placement, capture, provenance."""

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
IDENTITY = Similarity()


@dataclass(frozen=True)
class Placement:
    """The placement of a scene's local frame in the world: `x_world = world_from_local x_local`.

    Attributes:
        world_from_local: the similarity.
        frame: which axis of the world points up: `zup`, or the frame of the file that the scene was read from.

    Example:
        >>> Placement(Similarity(translation=(0.0, 0.0, 1.0))).frame
        'zup'
    """

    world_from_local: Similarity = IDENTITY
    frame: Frame = "zup"


WORLD = Placement()  # the local frame is the world's


@dataclass(frozen=True)
class Capture:
    """The cameras from which a scene was captured, and from whose surroundings it is reliable.

    Attributes:
        cameras: world frame.
        names: of the views, one for each camera.
        held_out: names of the views that were kept from training.
        near: distance from the cameras, world units, up to which there is no matter.
        background: display-referred colour behind transparent pixels; None: opaque photographs.
    """

    cameras: Cameras
    names: tuple[str, ...]
    held_out: tuple[str, ...] = ()
    near: float = 0.0
    background: tuple[float, float, float] | None = None

    def transform(self, change: Similarity) -> Self:
        """The capture after a similarity of the world."""
        return replace(self, cameras=self.cameras.transform(change), near=self.near * change.scale)


# Attributes that cannot be assigned, and the argument of `with_` that changes each in a copy.
ARGUMENT_OF = {
    "domain": "domain",
    "placement": "placement",
    "world_from_local": "placement",
    "frame": "placement",
    "capture": "capture",
    "provenance": "provenance",
}


class Representation(nn.Module, ABC):
    """A scene: parameters in a local frame, and the placement of that frame. Not a renderer, file or trainer.

    `domain`, `placement`, `capture` and `provenance` are fixed: assigning them raises AttributeError, `with_` makes a
    copy with other ones.

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
        if name in ARGUMENT_OF:
            raise AttributeError(
                f"the {name} of a scene cannot be assigned: with_({ARGUMENT_OF[name]}=...) makes a changed copy"
            )
        super().__setattr__(name, value)

    @property
    def domain(self) -> Domain:
        """The part of the local frame that the scene covers."""
        return self._domain

    @property
    def placement(self) -> Placement:
        """The placement of the local frame in the world."""
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
        """The cameras that the scene was captured with, if known."""
        return self._capture

    @property
    def provenance(self) -> Mapping[str, Any]:
        """The history of the scene, as plain JSON values; read only."""
        return MappingProxyType(self._provenance)

    @property
    def parts(self) -> tuple["Representation", ...]:
        """The scenes that a wrapper is made of; empty for other scenes."""
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
        """Every trainable parameter once, with its learning rate."""

    @property
    def device(self) -> torch.device:
        """The device of the parameters, or of the buffers where there are none."""
        return next((t.device for t in chain(self.parameters(), self.buffers())), torch.device("cpu"))

    def stored_tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers by name, in the published layout, for files; without those of the parts."""
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
        """A copy with another domain, placement, capture or provenance; it shares nothing mutable.

        Arguments that are left out keep their values, and so does the frame where `placement` is a similarity;
        `capture=None` drops the cameras. Gradients and graphs are not copied. `view` shares the tensors.
        """
        memo: dict[int, Any] = {}
        for tensor in chain(self.parameters(), self.buffers()):
            own = tensor.detach().clone()  # deepcopy refuses tensors with a graph
            memo[id(tensor)] = nn.Parameter(own, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else own
        return deepcopy(self, memo)._assign(domain, placement, deepcopy(capture), deepcopy(provenance))

    def view(
        self,
        *,
        domain: Domain | None = None,
        placement: Placement | Similarity | None = None,
        capture: Capture | EllipsisType | None = ...,
        provenance: Mapping[str, Any] | None = None,
    ) -> Self:
        """A scene with another domain, placement, capture or provenance that shares all tensors and parts.

        As with `torch.Tensor.view`, values and gradients are common to both, and so is a move to another device; a
        tensor that one of them replaces is not. It costs no memory, for writers and for scenes that were just made.
        """
        return _shell(self, {id(part): part for part in self.parts})._assign(domain, placement, capture, provenance)

    def placed_like(self, other: "Representation") -> Self:
        """A copy (`with_`) with placement and capture of another representation of the same scene."""
        return self.with_(placement=other.placement, capture=other.capture)

    def in_frame(self, frame: Frame) -> Self:
        """A copy (`with_`) in another frame; `world` in its provenance names the former one."""
        return self.view_in_frame(frame).with_()

    def view_in_frame(self, frame: Frame) -> Self:
        """As `in_frame`, but sharing the tensors (`view`)."""
        change = turn(frame, self.frame)
        if change.is_identity:
            return self.view()
        return self.view(
            placement=Placement(change @ self.world_from_local, frame),
            capture=None if self.capture is None else self.capture.transform(change),
            provenance={"world": self.frame} | dict(self.provenance),
        )

    def _assign(
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
        """The counts that `repr` begins with."""
        return [f"{sum(parameter.numel() for parameter in self.parameters())} parameters"]

    def __repr__(self) -> str:
        edges = " x ".join(f"{edge * self.world_from_local.scale:.3g}" for edge in self.domain.extent)
        box = f"unbounded about {edges}" if self.domain.contracted else f"box {edges}"
        return f"{type(self).__name__}({', '.join([*self._sizes(), box, f'up {UP_AXIS[self.frame]}'])})"


def _shell(module: AnyModule, done: dict[int, nn.Module]) -> AnyModule:
    """A module with its own dictionaries of the same tensors; its children likewise."""
    if id(module) not in done:
        done[id(module)] = twin = copy(module)
        for table in ("_parameters", "_buffers", "_modules"):
            twin.__dict__[table] = copy(module.__dict__[table])
        for name, child in module.__dict__["_modules"].items():
            twin.__dict__["_modules"][name] = None if child is None else _shell(child, done)
    return done[id(module)]  # pyright: ignore[reportReturnType]
