"""What every scene representation carries, whatever it is made of."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, replace
from itertools import chain
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import nn

from volkit.geometry import Cameras, Domain, Frame, Similarity, turn
from volkit.ops.param_group import ParamGroup
from volkit.typing import Tensor

__all__ = ["Capture", "Representation", "RepresentationConfig"]


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


class RepresentationConfig(Protocol):
    """A frozen dataclass of sizes and choices; it builds an untrained representation."""

    kind: ClassVar[str]

    def build(self, domain: Domain, generator: torch.Generator) -> "Representation":
        """An untrained representation on `domain`, initialised from `generator`."""
        ...


class Representation(nn.Module, ABC):
    """Parameters and answers in a local frame; `world_from_local` places them. Not a renderer, file or trainer."""

    config: Any
    domain: Domain
    world_from_local: Similarity
    frame: Frame = "zup"  # of the world; another where it is a file's own
    capture: Capture | None
    provenance: Mapping[str, Any] = MappingProxyType({})  # where it comes from, as plain JSON values

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
        """What a file must hold: parameters and buffers by name, in the published layout."""
        return self.state_dict()

    def check(self) -> None:
        """Raise ValueError where tensors contradict each other, as those of a damaged file may."""
        return

    def placed_like(self, other: "Representation") -> Self:
        """Take over frame and capture of another representation of the same scene; returns itself."""
        self.world_from_local, self.frame, self.capture = other.world_from_local, other.frame, other.capture
        return self

    def turned(self, frame: Frame) -> Self:
        """The same scene and tensors in another frame; `world` in its provenance is the one that it had."""
        change, other = turn(frame, self.frame), copy(self)
        if change.is_identity:
            return other
        other.world_from_local, other.frame = change @ self.world_from_local, frame
        other.capture = None if self.capture is None else self.capture.moved(change)
        other.provenance = {"world": self.frame} | dict(self.provenance)
        return other
