"""Kinds of scenes: their configuration classes, and the table of all kinds, to which packages may add."""

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
    """Facts about a kind of scene; this class itself is that of a user's fields.

    Attributes:
        kind: name of the kind.
        trainable: whether it can be a student; others are teachers only.
    """

    kind: ClassVar[str] = "field"
    trainable: ClassVar[bool] = False


class RepresentationConfig(SceneConfig, ABC):
    """Base of configurations: frozen dataclasses of sizes and choices that build an untrained representation.

    A new kind takes such a class, a representation that it builds, and a call of `register_representation`.

    Attributes:
        kind: name of the kind.
        trainable: whether it can be a student.
        batch_samples: samples of a training step: enough to fill two cores, few enough for many steps.
        activation_bytes: memory of one sample of a batch until the backward pass.
        regression_only: whether a sample costs so much that a student regresses single samples of its teacher instead
            of rendering whole rays.
    """

    kind: ClassVar[str]
    trainable: ClassVar[bool] = True
    batch_samples: ClassVar[int] = 1 << 16
    activation_bytes: ClassVar[int] = 2_000
    regression_only: ClassVar[bool] = False

    @abstractmethod
    def build(self, domain: Domain, generator: torch.Generator) -> Representation:
        """An untrained representation on `domain`, initialised from `generator`."""

    @classmethod
    def for_prior(cls, pixels: float) -> Self:
        """Sizes for an object that is so many pixels wide in a prior's pictures: no finer than these.

        Colour does not depend on the direction where the kind allows that, else every view could have an object of its
        own.
        """
        return cls()

    def for_pictures(self, pixels: float) -> Self:
        """The same, no finer than pictures resolve in which the domain's longest edge is so many pixels wide."""
        return self


class WrapperConfig(SceneConfig, ABC):
    """Base of configurations of wrappers, kinds that are made of other scenes: frozen dataclasses."""

    kind: ClassVar[str]

    @abstractmethod
    def wrap(self, parts: tuple[Any, ...]) -> Representation:
        """The wrapper of these scenes; ValueError where they do not suit it."""


AnyConfig = TypeVar("AnyConfig", bound=RepresentationConfig | WrapperConfig)
REPRESENTATIONS: dict[str, type[RepresentationConfig]] = {}
WRAPPERS: dict[str, type[WrapperConfig]] = {}


def register_representation(config: type[AnyConfig]) -> type[AnyConfig]:
    """Add a kind to the table; a decorator of configuration classes.

    An installed package needs no call: a kind with an entry point `my_kind = my_package:MyConfig` in the group
    `volkit.representations` is found when it is first looked up.

    Raises:
        ValueError: the name is taken.

    Example:
        >>> @register_representation  # doctest: +SKIP
        ... @dataclass(frozen=True)
        ... class ConstantConfig(RepresentationConfig):
        ...     kind: ClassVar[str] = "constant"
        ...     def build(self, domain, generator):
        ...         return Constant(self, domain)
    """
    table: dict[str, Any] = WRAPPERS if issubclass(config, WrapperConfig) else REPRESENTATIONS
    known = (REPRESENTATIONS | WRAPPERS).get(config.kind, config)
    if known is not config:
        raise ValueError(f"kind '{config.kind}' is already {known.__module__}.{known.__name__}; choose another name")
    table[config.kind] = config
    return config


def config_class(kind: str) -> type[RepresentationConfig] | type[WrapperConfig]:
    """The configuration class of a kind, of plug-ins too.

    Raises:
        ValueError: an unknown kind; the message lists the known ones.

    Example:
        >>> config_class("hash_grid")().kind  # doctest: +SKIP
        'hash_grid'
    """
    if kind not in REPRESENTATIONS | WRAPPERS:
        for plug_in, found in plug_ins(PLUG_INS, kind):
            if getattr(found, "kind", None) != kind:
                raise ValueError(f"plug-in {plug_in.value} is no configuration of the kind '{kind}' that it names")
            register_representation(found)
    known = REPRESENTATIONS | WRAPPERS
    if kind not in known:
        raise ValueError(f"there is no kind '{kind[:40]}'; known: {', '.join([*kinds(), *WRAPPERS])}")
    return known[kind]


def kinds() -> tuple[str, ...]:
    """Names of all kinds but wrappers: built in, registered, and of plug-ins, which are not imported for this."""
    named = (plug_in.name for plug_in in entry_points(group=PLUG_INS))
    return (*REPRESENTATIONS, *(name for name in named if name not in REPRESENTATIONS | WRAPPERS))


def trainable_kinds() -> tuple[str, ...]:
    """Names of all kinds that can be trained, those of plug-ins included."""
    return tuple(kind for kind in kinds() if config_class(kind).trainable)
