"""Scenes that learn from a prior, as one trainee."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from volkit.distill.score.rung import ScoreRung
from volkit.distill.score.sitter import Sitter
from volkit.fit import Moment, Regrown
from volkit.representations.representation import ParamGroup, Representation
from volkit.typing import Tensor

__all__ = ["ScoreStudent"]


class ScoreStudent:
    """A trainee (`volkit.fit`) made of the particles that sit and the rung that looks at them."""

    def __init__(self, sitters: Sequence[Sitter], rung: ScoreRung, generator: torch.Generator) -> None:
        self.sitters, self.rung, self.generator = sitters, rung, generator

    @property
    def scene(self) -> Representation:
        """The first particle."""
        return self.sitters[0].scene

    def losses(self, moment: Moment) -> dict[str, Tensor]:
        """Those of the rung."""
        return self.rung.losses(self.sitters, moment)

    def groups(self) -> list[ParamGroup]:
        """Every particle's, numbered, and what learns beside them."""
        own = [replace(group, name=_name(i, group.name)) for i, s in enumerate(self.sitters) for group in s.groups()]
        beside = [ParamGroup(one.name, tuple(one.parameters()), one.rate) for one in self.rung.learners]
        return own + beside

    def after_step(self, moment: Moment) -> list[Regrown]:
        """Whatever each particle does."""
        changes = [sitter.after_step(moment, self.generator) for sitter in self.sitters]
        return [replace(change, of=_name(i, "")) for i, change in enumerate(changes) if change is not None]

    def state(self) -> dict[str, Any]:
        """Particles, what learns beside them, randomness."""
        return {
            "sitters": [sitter.state() for sitter in self.sitters],
            "rung": self.rung.state(),
            "generator": self.generator.get_state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up `state()`."""
        for sitter, stored in zip(self.sitters, state["sitters"], strict=True):
            sitter.load_state(stored)
        self.rung.load_state(state["rung"])
        self.generator.set_state(state["generator"].cpu())


def _name(particle: int, group: str) -> str:
    return f"{particle}.{group}"
