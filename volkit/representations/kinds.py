"""What a kind of scene is: facts in its configuration, and the table of all kinds, which packages may add to."""

from abc import ABC, abstractmethod
from importlib.metadata import entry_points
from typing import Any, ClassVar, Self, TypeVar

import torch

from volkit.geometry import Domain
from volkit.plug_ins import plug_ins
from volkit.representations.representation import Representation

__all__ = [
    "REPRESENTATIONS",
    "WRAPPERS",
    "RepresentationConfig",
    "SceneConfig",
    "WrapperConfig",
    "config_class",
    "kinds",
    "register_representation",
    "trainable_kinds",
]

PLUG_INS = "volkit.representations"  # entry points: the name of a kind, and its configuration class


class SceneConfig:
    """Facts of a kind of scene. This one is of fields of a user's own, which nothing else is known about."""

    kind: ClassVar[str] = "field"
    trainable: ClassVar[bool] = False  # whether it can be a student; others are teachers only


class RepresentationConfig(SceneConfig, ABC):
    """A frozen dataclass of sizes and choices that builds an untrained representation; with what is known of its kind.

    A new kind is such a class, one that it builds, and `register_representation`.
    """

    kind: ClassVar[str]
    trainable: ClassVar[bool] = True
    batch_samples: ClassVar[int] = 1 << 16  # of a training step: enough to fill two cores, few enough for many steps
    activation_bytes: ClassVar[int] = 2_000  # that one sample of a batch keeps until its gradient is known

    @abstractmethod
    def build(self, domain: Domain, generator: torch.Generator) -> Representation:
        """An untrained representation on `domain`, initialised from `generator`."""

    @classmethod
    def for_prior(cls, pixels: float) -> Self:
        """Sizes for an object that a prior's pictures show so many pixels wide: no finer than these, and matte where
        the kind can be, for a colour of the direction would let every view have an object of its own.
        """
        return cls()

    def for_pictures(self, pixels: float) -> Self:
        """The same, no finer than pictures can show in which the domain's longest edge is so many pixels wide."""
        return self


class WrapperConfig(SceneConfig, ABC):
    """A frozen dataclass of what a wrapper does with the scenes that it is made of."""

    kind: ClassVar[str]

    @abstractmethod
    def wrap(self, parts: tuple[Any, ...]) -> Representation:
        """The wrapper of these scenes; ValueError where it cannot be made of them."""


AnyConfig = TypeVar("AnyConfig", bound=RepresentationConfig | WrapperConfig)
REPRESENTATIONS: dict[str, type[RepresentationConfig]] = {}
WRAPPERS: dict[str, type[WrapperConfig]] = {}


def register_representation(config: type[AnyConfig]) -> type[AnyConfig]:
    """Add a kind to the table; returns the class, so that it can decorate it. ValueError where the name is taken.

    An installed package needs no call: with the entry point `my_kind = my_package:MyConfig` in its group
    `volkit.representations` the kind is found when it is first looked up.
    """
    table: dict[str, Any] = WRAPPERS if issubclass(config, WrapperConfig) else REPRESENTATIONS
    known = (REPRESENTATIONS | WRAPPERS).get(config.kind, config)
    if known is not config:
        raise ValueError(f"kind '{config.kind}': is {known.__module__}.{known.__name__} already; choose another name")
    table[config.kind] = config
    return config


def config_class(kind: str) -> type[RepresentationConfig] | type[WrapperConfig]:
    """The configuration class of a kind, a plug-in's too; ValueError names the kinds that there are."""
    if kind not in REPRESENTATIONS | WRAPPERS:
        for plug_in, found in plug_ins(PLUG_INS, kind):
            if getattr(found, "kind", None) != kind:
                raise ValueError(f"plug-in {plug_in.value}: is no configuration of the kind '{kind}' that it names")
            register_representation(found)
    known = REPRESENTATIONS | WRAPPERS
    if kind not in known:
        raise ValueError(f"there is no kind '{kind[:40]}'; known: {', '.join([*kinds(), *WRAPPERS])}")
    return known[kind]


def kinds() -> tuple[str, ...]:
    """Names of all kinds but wrappers: built in, registered, and of plug-ins, which are not imported for it."""
    named = (plug_in.name for plug_in in entry_points(group=PLUG_INS))
    return (*REPRESENTATIONS, *(name for name in named if name not in REPRESENTATIONS | WRAPPERS))


def trainable_kinds() -> tuple[str, ...]:
    """Names of all kinds that can be students."""
    return tuple(kind for kind in kinds() if config_class(kind).trainable)
