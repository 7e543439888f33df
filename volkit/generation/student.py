"""Scenes that learn from a prior, as one trainee."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from volkit.generation.rung import ScoreRung
from volkit.generation.subject import Subject
from volkit.ops.param_group import ParamGroup
from volkit.representations.representation import Representation
from volkit.training.loop import ParameterChange, StepInfo, StepLosses

__all__ = ["ScoreStudent"]


class ScoreStudent:
    """A trainee (`volkit.fit`) made of the particles that learn and the rung that looks at them."""

    def __init__(self, subjects: Sequence[Subject], rung: ScoreRung, generator: torch.Generator) -> None:
        self.subjects, self.rung, self.generator = subjects, rung, generator

    @property
    def scene(self) -> Representation:
        """The first particle."""
        return self.subjects[0].scene

    def losses(self, moment: StepInfo) -> StepLosses:
        """Those of the rung."""
        return self.rung.losses(self.subjects, moment)

    def groups(self) -> list[ParamGroup]:
        """Every particle's, numbered, and what learns beside them."""
        own = [replace(group, name=_name(i, group.name)) for i, s in enumerate(self.subjects) for group in s.groups()]
        beside = [ParamGroup(one.name, tuple(one.parameters()), one.rate) for one in self.rung.learners]
        return own + beside

    def after_step(self, moment: StepInfo, record: Sequence[Any]) -> list[ParameterChange]:
        """Whatever each particle does, by the record of its own drawing."""
        changes = [s.after_step(moment, self.generator, own) for s, own in zip(self.subjects, record, strict=True)]
        return [replace(change, of=_name(i, "")) for i, change in enumerate(changes) if change is not None]

    def state(self) -> dict[str, Any]:
        """Particles, what learns beside them, randomness."""
        return {
            "subjects": [subject.state() for subject in self.subjects],
            "rung": self.rung.state(),
            "generator": self.generator.get_state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up `state()`."""
        for subject, stored in zip(self.subjects, state["subjects"], strict=True):
            subject.load_state(stored)
        self.rung.load_state(state["rung"])
        self.generator.set_state(state["generator"].cpu())


def _name(particle: int, group: str) -> str:
    return f"{particle}.{group}"
